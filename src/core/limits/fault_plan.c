/* SPDX-License-Identifier: MIT
 *
 * See fault_plan.h.
 */
#include "core/limits/fault_plan.h"

static uint64_t load(const _Atomic uint64_t *value)
{
    return atomic_load_explicit(value, memory_order_relaxed);
}

static void store(_Atomic uint64_t *value, uint64_t number)
{
    atomic_store_explicit(value, number, memory_order_relaxed);
}

/* The n-th number of a splitmix64 generator with this seed. */
static uint64_t hash(uint64_t seed, uint64_t n)
{
    uint64_t mixed = seed + n * UINT64_C(0x9E3779B97F4A7C15);
    mixed = (mixed ^ (mixed >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
    mixed = (mixed ^ (mixed >> 27)) * UINT64_C(0x94D049BB133111EB);
    return mixed ^ (mixed >> 31);
}

/* 2^64 · numerator / denominator - 1 in two steps of 32 bits, for 0 < numerator <= denominator. */
static uint64_t threshold_of(uint32_t numerator, uint32_t denominator)
{
    uint64_t high = ((uint64_t)numerator << 32) / denominator;
    uint64_t rest = ((uint64_t)numerator << 32) % denominator;
    return (high << 32) + (rest << 32) / denominator - 1; /* 1/1: 2^64 - 1, by wrapping round */
}

bool fault_rules_valid(const struct fault_rules *rules)
{
    if (rules->levels >> BUDGET_LEVELS != 0 || rules->kinds >> FAULT_KINDS != 0) {
        return false;
    }
    return rules->numerator == 0 ||
           (rules->numerator <= rules->denominator && rules->levels != 0 && rules->kinds != 0);
}

void fault_plan_set(struct fault_plan *plan, const struct fault_rules *rules)
{
    atomic_store_explicit(&plan->levels, 0, memory_order_relaxed);
    if (rules->numerator == 0) {
        return;
    }
    store(&plan->seed, rules->seed);
    store(&plan->threshold, threshold_of(rules->numerator, rules->denominator));
    store(&plan->minimum, rules->minimum);
    store(&plan->skip, rules->skip);
    store(&plan->left, rules->count != 0 ? rules->count : UINT64_MAX);
    store(&plan->numbers, 0);
    atomic_store_explicit(&plan->kinds, rules->kinds, memory_order_relaxed);
    /* Pairs with the acquire in fault_plan_decide: who sees the levels sees these rules. */
    atomic_store_explicit(&plan->levels, rules->levels, memory_order_release);
}

/* One of the refusals that are left. */
static bool take_one(struct fault_plan *plan)
{
    uint64_t left = load(&plan->left);
    while (left != 0 &&
           !atomic_compare_exchange_weak_explicit(&plan->left, &left, left - 1,
                                                  memory_order_relaxed, memory_order_relaxed)) {
    }
    return left != 0;
}

bool fault_plan_decide(struct fault_plan *plan, enum budget_level level, enum fault_kind kind,
                       size_t bytes)
{
    uint32_t levels = atomic_load_explicit(&plan->levels, memory_order_acquire);
    uint32_t kinds = atomic_load_explicit(&plan->kinds, memory_order_relaxed);
    if ((levels >> level & 1) == 0 || (kinds >> kind & 1) == 0 || bytes < load(&plan->minimum)) {
        return false;
    }
    uint64_t n = atomic_fetch_add_explicit(&plan->numbers, 1, memory_order_relaxed) + 1;
    if (n <= load(&plan->skip) || hash(load(&plan->seed), n) > load(&plan->threshold) ||
        !take_one(plan)) {
        return false;
    }
    atomic_fetch_add_explicit(&plan->refused[level], 1, memory_order_relaxed);
    return true;
}

uint64_t fault_plan_refused(const struct fault_plan *plan, enum budget_level level)
{
    return load(&plan->refused[level]);
}
