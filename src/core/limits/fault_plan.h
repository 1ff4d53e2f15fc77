/* SPDX-License-Identifier: MIT
 *
 * Which requests are refused on purpose, to see what a program does without memory.
 *
 * The requests that the rules are for (by level, kind and size) are numbered from 1 in the order in
 * which they come. Number n is refused when a hash of the seed and n falls below the rate:
 *
 *     hash(seed, n) < 2^64 · numerator / denominator
 *
 * so the same seed and the same sequence of requests give the same refusals, and of a rate of 1/1000
 * one in a thousand is refused on average, the distance between two being anything from 1 on. The
 * first `skip` numbers are spared, and after `count` refusals it is over: rate 1/1, skip n - 1 and
 * count 1 refuse the n-th request alone.
 *
 * Off, it costs a request one load and one branch. Everything is relaxed but the publication of
 * rules. A request that races with a change of the rules is judged by the old ones, the new ones, or
 * some of each.
 */
#ifndef HOSTMEM_CORE_FAULT_PLAN_H
#define HOSTMEM_CORE_FAULT_PLAN_H

#include "core/limits/budget.h"

enum fault_kind {
    FAULT_PAGES,
    FAULT_BLOCK,
    FAULT_KINDS,
    FAULT_NOTHING = FAULT_KINDS /* a request that asks for no memory is never refused */
};

struct fault_rules {
    uint64_t seed;
    uint32_t numerator; /* 0: nothing is refused */
    uint32_t denominator;
    uint32_t levels;  /* bit 1 << enum budget_level */
    uint32_t kinds;   /* bit 1 << enum fault_kind */
    uint64_t minimum; /* bytes of the smallest request that the rules are for */
    uint64_t skip;
    uint64_t count; /* 0: without end */
};

struct fault_plan {
    _Atomic uint32_t levels; /* 0: off */
    _Atomic uint32_t kinds;
    _Atomic uint64_t seed;
    _Atomic uint64_t threshold; /* the largest hash that is refused */
    _Atomic uint64_t minimum;
    _Atomic uint64_t skip;
    _Atomic uint64_t left;    /* refusals to come */
    _Atomic uint64_t numbers; /* given so far */
    _Atomic uint64_t refused[BUDGET_LEVELS];
};

/* Whether rules make sense: a rate of at most 1, levels and kinds that there are, and at least one
 * of each unless the rate is 0. */
bool fault_rules_valid(const struct fault_rules *rules);

/* New rules, and numbers from 1 again; the count of what was refused goes on. One thread at a time.
 * The plan that is all zero is off. */
void fault_plan_set(struct fault_plan *plan, const struct fault_rules *rules);

bool fault_plan_decide(struct fault_plan *plan, enum budget_level level, enum fault_kind kind,
                       size_t bytes);

static inline bool fault_plan_is_on(const struct fault_plan *plan)
{
    return atomic_load_explicit(&plan->levels, memory_order_relaxed) != 0;
}

/* Whether this request is to be refused; if so, it is counted. */
static inline bool fault_plan_refuses(struct fault_plan *plan, enum budget_level level,
                                      enum fault_kind kind, size_t bytes)
{
    return fault_plan_is_on(plan) && fault_plan_decide(plan, level, kind, bytes);
}

/* Requests of a level that were refused so far. */
uint64_t fault_plan_refused(const struct fault_plan *plan, enum budget_level level);

#endif
