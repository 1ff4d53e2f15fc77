/* SPDX-License-Identifier: MIT
 *
 * See memory_load.h.
 */
#include "core/limits/memory_load.h"

/* Rounded down, so that 100 means that nothing is left. */
static uint32_t percent_of(struct memory_bound bound)
{
    if (bound.used >= bound.limit) {
        return 100;
    }
    /* Where used * 100 would overflow, a hundredth is large enough to be rounded itself. */
    return (uint32_t)(bound.used <= UINT64_MAX / 100 ? bound.used * 100 / bound.limit
                                                     : bound.used / (bound.limit / 100 + 1));
}

struct memory_load memory_load_within(struct memory_load load, struct memory_bound bound)
{
    if (bound.limit != MEMORY_UNBOUNDED) {
        uint32_t percent = percent_of(bound);
        uint64_t available = bound.used < bound.limit ? bound.limit - bound.used : 0;
        load.percent = percent > load.percent ? percent : load.percent;
        load.available = available < load.available ? available : load.available;
    }
    if (load.percent > 100 || load.available == 0) {
        load.percent = 100;
    }
    return load;
}

static struct memory_bound bound_of(const struct budget *budget)
{
    size_t limit = atomic_load_explicit(&budget->commit.ceiling[BUDGET_TASK], memory_order_relaxed);
    return (struct memory_bound){
        .limit = limit == BUDGET_UNLIMITED ? MEMORY_UNBOUNDED : limit,
        .used = budget_in_use(budget),
    };
}

os_error memory_load_get(const struct os *os, const struct budget *budget,
                         struct memory_load *result)
{
    struct memory_load load = {0};
    struct memory_bound job;
    os_error error = os->memory_load(os, &load.percent, &load.available);
    if (error != OS_OK) {
        return error;
    }
    if (os->job_memory(os, &job.limit, &job.used)) {
        load = memory_load_within(load, job);
    }
    *result = memory_load_within(load, bound_of(budget));
    return OS_OK;
}
