/* SPDX-License-Identifier: MIT
 *
 * See budget.h. Everything is relaxed, for the numbers guard no other memory.
 */
#include "core/limits/budget.h"

static const char over_commit[] = "more commit was given back than was charged";
static const char over_reserve[] = "more address space was given back than was charged";
static const char over_reserved[] = "more address space was released than was reserved";
static const char *const over_part[BUDGET_PARTS] = {
    [BUDGET_PAGES] = "more pages of regions were decommitted than were committed",
    [BUDGET_HEAP] = "more pages of heaps were decommitted than were committed",
    [BUDGET_FOREIGN] = "more commit of others was given back than was charged",
};

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

/* ---- take and give back ---- */

static bool take(struct budget_line *line, size_t bytes, enum budget_level level)
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

/* The first one stays: what comes after it may be its consequence. */
static void break_budget(struct budget *budget, const char *what)
{
    const char *none = NULL;
    atomic_compare_exchange_strong_explicit(&budget->broken, &none, what, memory_order_relaxed,
                                            memory_order_relaxed);
}

static void subtract(struct budget *budget, struct usage *usage, size_t bytes, const char *what)
{
    if (!usage_subtract(usage, bytes)) {
        break_budget(budget, what);
    }
}

/* What Windows takes for `bytes` of address space; SIZE_MAX for what it has not. */
static size_t whole_slots(size_t bytes)
{
    return bytes <= SIZE_MAX - BUDGET_SLOT ? (bytes + BUDGET_SLOT - 1) & ~(BUDGET_SLOT - 1)
                                           : SIZE_MAX;
}

os_error budget_take(struct budget *budget, size_t reserve, size_t commit, enum budget_level level)
{
    size_t slots = whole_slots(reserve);
    if (!take(&budget->reserve, slots, level)) {
        return HM_OVER_RESERVE;
    }
    if (!take(&budget->commit, commit, level)) {
        subtract(budget, &budget->reserve.used, slots, over_reserve);
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
    subtract(budget, &budget->commit.used, commit, over_commit);
    subtract(budget, &budget->reserve.used, whole_slots(reserve), over_reserve);
}

/* ---- what is there ---- */

void budget_added(struct budget *budget, enum budget_part part, size_t reserve, size_t commit)
{
    usage_add(&budget->reserved, reserve);
    usage_add(&budget->committed[part], commit);
}

void budget_removed(struct budget *budget, enum budget_part part, size_t reserve, size_t commit)
{
    subtract(budget, &budget->committed[part], commit, over_part[part]);
    subtract(budget, &budget->reserved, reserve, over_reserved);
    budget_give_back(budget, reserve, commit);
}

bool budget_remove(struct budget *budget, enum budget_part part, size_t commit)
{
    bool there = usage_subtract(&budget->committed[part], commit);
    if (there) {
        budget_give_back(budget, 0, commit);
    }
    return there;
}

/* ---- refusals ---- */

void budget_deny(struct budget_line *line, enum budget_level level)
{
    atomic_fetch_add_explicit(&line->denied[level], 1, memory_order_relaxed);
}

bool budget_can_fit(const struct budget *budget, size_t reserve, size_t commit,
                    enum budget_level level)
{
    return commit <= load(&budget->commit.ceiling[level]) &&
           whole_slots(reserve) <= load(&budget->reserve.ceiling[level]);
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

const char *budget_check(const struct budget *budget)
{
    size_t committed = 0;
    for (int part = 0; part < BUDGET_PARTS; part++) {
        committed += usage_current(&budget->committed[part]);
    }
    if (budget_broken(budget) != NULL) {
        return budget_broken(budget);
    }
    if (committed != budget_in_use(budget)) {
        return "the commit that is charged is not the sum of its parts";
    }
    return usage_current(&budget->reserved) <= usage_current(&budget->reserve.used)
               ? NULL
               : "more address space is reserved than is charged";
}
