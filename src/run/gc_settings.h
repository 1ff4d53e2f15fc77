/* SPDX-License-Identifier: MIT
 *
 * What the garbage collector is told through its environment variables, which the runtime reads
 * when it starts and which win over a runtimeconfig.json.
 *
 * With a commit limit a collector that knows GCHeapHardLimit (3.0 and later) is given one of the
 * same size, unless the user has set it, there or in the runtimeconfig.json. It then reserves no
 * more than it may use, and collects and compacts before it reports that it is out of memory. The
 * heap never gets as far as that limit: code, metadata and the native heap come out of the same
 * budget, so it is the manager that refuses, at the right moment. Smaller values were tried and only
 * keep the program from memory that it could have.
 *
 * An x86 collector that does not know it (before 3.0) has segments of 16 MiB. A full one is left for
 * another, and a collection that must commit that one first fails where it would have freed all: in
 * 64 MiB 2.1.8 then says that it is out of memory at the first object. So it is given GCSegmentSize, a
 * power of two in which the whole limit finds room: oom.exe gets 57 to 60 MiB each of 100 times, where it
 * got 0 to 59. Up to 32 MiB segments of that size help as often as they harm, and are left as they are.
 *
 * Nothing else is set. On 10.0.9 a program that takes 24 MiB without a limit (azmcp.exe tools list; 14
 * of the 24 are code in sections, which no collection gives back) completes in 25 MiB ten times of ten,
 * in 24 MiB 18 times of 20, in 23 MiB never; and in 23 MiB never either with GCConserveMemory=9,
 * GCgen0size=40000, TieredPGO=0, EnableWriteXorExecute=0, gcConcurrent=0 or TieredCompilation=0. Each
 * costs something that a user should choose: pauses, or speed. (The heap count and its affinity mask
 * are for server collection only.)
 *
 * Every variable stands in AGENT_VARIABLES too: what the program starts is not to see it.
 */
#ifndef RUN_GC_SETTINGS_H
#define RUN_GC_SETTINGS_H

#include "options.h"
#include "runtime_locator.h"

/* What was set, in bytes; 0: nothing. */
struct gc_settings {
    UINT64 hard_limit;
    UINT64 segment;
};

/* Before the runtime starts. location  NULL: the .NET Framework, whose host knows better */
struct gc_settings gc_settings_apply(const struct options *options,
                                     const struct runtime_location *location);

/* Take back what depends on the limit: for another process, with another limit. */
void gc_settings_forget_limit(void);

#endif
