/* SPDX-License-Identifier: MIT
 *
 * A trace, call by call, through a target.
 *
 * The calls are made one after the other, in the trace's total order, by one thread, whichever
 * threads made them. That order is what makes two replays comparable: the same calls meet the same
 * memory in both. Threads that call at once would need to be told whose turn it is before every
 * call, and handing over a turn takes longer than most calls; what is measured would be that. No
 * method asks which thread calls it.
 *
 * Not replayed are calls that were refused for lack of memory, unless the target keeps the limits
 * of the recorded manager; and Free of a block that is none, unless the target can tell. What
 * concerns memory of others is done to memory that stands for it, and what that answers is not
 * compared with the recording, but for refusals to free it. What others have freed behind the recorded
 * manager's back is freed behind the target's.
 */
#ifndef REPLAY_REPLAY_H
#define REPLAY_REPLAY_H

#include <stdio.h>

#include "replay/target.h"
#include "trace/trace_plan.h"

struct replay_method {
    UINT64 calls;
    UINT64 different; /* answered otherwise than in the recording */
    UINT64 recorded_ticks;
    UINT64 ticks;
};

struct replay {
    const struct trace *trace;
    const struct trace_plan *plan;
    struct target target;
    FILE *results; /* NULL, or where to write a line per call */
    struct replay_method methods[TRACE_METHOD_COUNT];
    UINT64 not_replayed;
    UINT64 first_different; /* the number of that call, if there is one */
    double ns_per_tick;
    UINT64 os_commit_bytes; /* of the regions at the end, as the OS has them */
    HOSTMEM_STATISTICS statistics;
    bool has_statistics;
};

/* Fills in the rest of a replay whose first fields, up to `results`, are set. False: no memory. */
bool replay_run(struct replay *replay);

#endif
