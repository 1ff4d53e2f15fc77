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
 * Every variable stands in AGENT_VARIABLES too: what the program starts is not to see it.
 */
#ifndef RUN_GC_SETTINGS_H
#define RUN_GC_SETTINGS_H

#include "options.h"
#include "runtime_locator.h"

/* Before the runtime starts. location  NULL: the .NET Framework
 *
 * Returns the heap hard limit that was set; 0: none. */
UINT64 gc_settings_apply(const struct options *options, const struct runtime_location *location);

/* Take back what depends on the limit: for another process, with another limit. */
void gc_settings_forget_limit(void);

#endif
