/* SPDX-License-Identifier: MIT
 *
 * What a replay has to know beforehand: which of the recorded addresses mean which memory. Every
 * region, block and heap of a trace gets a number in the order in which they were made, and each
 * record's address becomes a number and an offset. A replay then has an array lookup to do per call,
 * and whatever it calls gives the memory addresses of its own.
 *
 * Code in the process can release a region with a VirtualFree of its own, of which there is no record.
 * Two things tell: a new reservation has its addresses, or a call that an intact region cannot refuse is
 * refused and none has success after it. Such a region is freed by others before that call; one that no
 * call meets again is not known to be.
 *
 * A trace in which a block is given out twice, or memory is taken back by nobody's leave, is no trace of
 * a memory manager that worked and is refused.
 */
#ifndef TRACE_TRACE_PLAN_H
#define TRACE_TRACE_PLAN_H

#include "trace/trace_reader.h"

enum trace_place {
    TRACE_PLACE_NULL,    /* no address; or a wish that was granted, `offset` bytes above the base */
    TRACE_PLACE_REGION,  /* `number`, `offset` bytes from its base */
    TRACE_PLACE_BLOCK,   /* `number` */
    TRACE_PLACE_FOREIGN, /* memory of somebody else, which a replay does not have */
};

#define TRACE_NONE UINT32_MAX

struct trace_step {
    uint64_t offset;
    uint32_t number;
    uint32_t made; /* the region or block that the call made, or TRACE_NONE */
    enum trace_place place;
};

/* A region that others have freed before a call. */
struct trace_freed {
    size_t step;
    uint32_t region;
};

struct trace_plan {
    struct trace_step *steps; /* one per record of the trace; owned */
    uint32_t regions;         /* how many were made in all */
    uint32_t blocks;
    uint32_t heaps;            /* the highest number */
    struct trace_freed *freed; /* in the order of the steps; owned */
    uint32_t freed_count;
    uint64_t freed_bytes;
};

/* False: `error` says why, and there is nothing to free. */
bool trace_plan_make(const struct trace *trace, struct trace_plan *plan, struct trace_error *error);
void trace_plan_free(struct trace_plan *plan);

#endif
