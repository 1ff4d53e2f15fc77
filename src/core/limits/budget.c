/* SPDX-License-Identifier: MIT
 *
 * See budget.h. Everything is relaxed, for the numbers guard no other memory.
 */
#include "core/limits/budget.h"

static size_t load(const _Atomic size_t *value)
{
    return atomic_load_explicit(value, memory_order_relaxed);
}

static void store(_Atomic size_t *value, size_t bytes)
{
    atomic_store_explicit(value, bytes, memory_order_relaxed);
}

void budget_init(struct budget *budget)
{
    *budget = (struct budget){0};
    budget_set_limits(
        budget, &(struct budget_limits){.commit = BUDGET_UNLIMITED, .reserve = BUDGET_UNLIMITED});
}

void budget_set_limits(struct budget *budget, const struct budget_limits *limits)
{
    size_t commit = limits->commit;
    size_t emergency = limits->emergency < commit ? limits->emergency : commit;
    bool unlimited = commit == BUDGET_UNLIMITED;
    store(&budget->commit_limit, commit);
    store(&budget->commit.ceiling[BUDGET_TASK], unlimited ? commit : commit - emergency);
    store(&budget->commit.ceiling[BUDGET_APP_DOMAIN], unlimited ? commit : commit - emergency / 2);
    store(&budget->commit.ceiling[BUDGET_PROCESS], limits->overdraft ? BUDGET_UNLIMITED : commit);
    for (int level = 0; level < BUDGET_LEVELS; level++) {
        store(&budget->reserve.ceiling[level], limits->reserve);
    }
}

bool budget_charge(struct budget_line *line, size_t bytes, enum budget_level level)
{
    if (bytes == 0) {
        return true; /* above a ceiling too: pages committed again, a request for the other line */
    }
    size_t ceiling = load(&line->ceiling[level]);
    size_t now = load(&line->used.current);
    do {
        if (now > ceiling || bytes > ceiling - now) {
            return false;
        }
    } while (!atomic_compare_exchange_weak_explicit(&line->used.current, &now, now + bytes,
                                                    memory_order_relaxed, memory_order_relaxed));
    usage_raise_peak(&line->used, now + bytes);
    return true;
}

bool budget_refund(struct budget_line *line, size_t bytes)
{
    return usage_subtract(&line->used, bytes);
}

/* What Windows takes for `bytes` of address space; SIZE_MAX for what it has not. */
static size_t whole_slots(size_t bytes)
{
    return bytes <= SIZE_MAX - BUDGET_SLOT ? (bytes + BUDGET_SLOT - 1) & ~(BUDGET_SLOT - 1)
                                           : SIZE_MAX;
}

void budget_must(struct budget *budget, bool done)
{
    if (!done) {
        atomic_store_explicit(&budget->broken, true, memory_order_relaxed);
    }
}

void budget_deny(struct budget_line *line, enum budget_level level)
{
    atomic_fetch_add_explicit(&line->denied[level], 1, memory_order_relaxed);
}

os_error budget_take(struct budget *budget, size_t reserve, size_t commit, enum budget_level level)
{
    size_t slots = whole_slots(reserve);
    if (!budget_charge(&budget->reserve, slots, level)) {
        return HM_OVER_RESERVE;
    }
    if (!budget_charge(&budget->commit, commit, level)) {
        budget_refund(&budget->reserve, slots);
        return HM_OVER_COMMIT;
    }
    /* Only what the flag has granted: without it, more than the limit is in use because the limit
     * was lowered, perhaps since the charge. */
    if (level == BUDGET_PROCESS && commit > 0 &&
        load(&budget->commit.ceiling[BUDGET_PROCESS]) == BUDGET_UNLIMITED) {
        size_t over = budget_overdraft(budget), peak = load(&budget->overdraft_peak);
        while (over > peak &&
               !atomic_compare_exchange_weak_explicit(&budget->overdraft_peak, &peak, over,
                                                      memory_order_relaxed, memory_order_relaxed)) {
        }
    }
    return OS_OK;
}

void budget_give_back(struct budget *budget, size_t reserve, size_t commit)
{
    budget_must(budget, budget_refund(&budget->commit, commit));
    budget_must(budget, budget_refund(&budget->reserve, whole_slots(reserve)));
}

bool budget_can_fit(const struct budget *budget, size_t reserve, size_t commit,
                    enum budget_level level)
{
    return commit <= load(&budget->commit.ceiling[level]) &&
           whole_slots(reserve) <= load(&budget->reserve.ceiling[level]);
}

/* ---- heaps ---- */

void budget_heap_add(struct budget *budget, size_t bytes)
{
    usage_add(&budget->heap, bytes);
}

void budget_heap_subtract(struct budget *budget, size_t bytes)
{
    budget_must(budget, usage_subtract(&budget->heap, bytes));
}

/* ---- reports ---- */

size_t budget_in_use(const struct budget *budget)
{
    return usage_current(&budget->commit.used);
}

size_t budget_overdraft(const struct budget *budget)
{
    size_t limit = load(&budget->commit_limit), now = budget_in_use(budget);
    return now > limit ? now - limit : 0;
}

size_t budget_available(const struct budget *budget, enum budget_level level)
{
    size_t ceiling = load(&budget->commit.ceiling[level]);
    size_t now = budget_in_use(budget);
    return now < ceiling ? ceiling - now : 0;
}
