/* SPDX-License-Identifier: MIT
 *
 * See budget.h and heap_share.h. Everything is relaxed, for the numbers guard no other memory, but
 * the end of a share's credit: whoever finds it gone must find it given back.
 */
#include "core/limits/budget.h"

#define BORROWED (CREDIT_MOST / 8) /* bytes: what a share without credit gets at least */

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

static void must(struct budget *budget, bool done)
{
    if (!done) {
        atomic_store_explicit(&budget->broken, true, memory_order_relaxed);
    }
}

void budget_deny(struct budget_line *line, enum budget_level level)
{
    atomic_fetch_add_explicit(&line->denied[level], 1, memory_order_relaxed);
}

/* Whether a charge would make a new peak. */
static bool is_new_peak(const struct usage *usage, size_t bytes)
{
    size_t now = usage_current(usage), peak = usage_peak(usage);
    return now > peak || bytes > peak - now;
}

/* Charge bytes of commit; the credit of heaps hinders nobody and raises no peak. */
static bool charge_commit(struct budget *budget, size_t bytes, enum budget_level level)
{
    if (is_new_peak(&budget->commit.used, bytes)) {
        budget_reclaim(budget);
    }
    /* Each time round some share's credit is given back; more often than there are shares, others
     * are freeing as fast as this, and what they free is theirs to allocate. */
    for (size_t round = 0; round <= HEAP_SHARES; round++) {
        if (budget_charge(&budget->commit, bytes, level)) {
            return true;
        }
        if (!budget_reclaim(budget)) {
            break;
        }
    }
    /* Perhaps another thread has just given it back. */
    return budget_charge(&budget->commit, bytes, level);
}

os_error budget_take(struct budget *budget, size_t reserve, size_t commit, enum budget_level level)
{
    size_t slots = whole_slots(reserve);
    if (!budget_charge(&budget->reserve, slots, level)) {
        return HM_OVER_RESERVE;
    }
    if (!charge_commit(budget, commit, level)) {
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
    must(budget, budget_refund(&budget->commit, commit));
    must(budget, budget_refund(&budget->reserve, whole_slots(reserve)));
}

bool budget_can_fit(const struct budget *budget, size_t reserve, size_t commit,
                    enum budget_level level)
{
    return commit <= load(&budget->commit.ceiling[level]) &&
           whole_slots(reserve) <= load(&budget->reserve.ceiling[level]);
}

/* ---- blocks of heaps ---- */

/* What can be added to a usage without a new peak and without passing `most`. */
static size_t room_in(const struct usage *usage, size_t most)
{
    size_t now = usage_current(usage), peak = usage_peak(usage);
    size_t bound = peak < most ? peak : most;
    return now < bound ? bound - now : 0;
}

static bool add_within(struct usage *usage, size_t bytes, size_t most)
{
    size_t now = usage_current(usage);
    do {
        size_t peak = usage_peak(usage);
        size_t bound = peak < most ? peak : most;
        if (now > bound || bytes > bound - now) {
            return false;
        }
    } while (!atomic_compare_exchange_weak_explicit(&usage->current, &now, now + bytes,
                                                    memory_order_relaxed, memory_order_relaxed));
    return true;
}

bool budget_borrow(struct budget *budget, struct heap_share *share, size_t bytes)
{
    size_t credit = heap_share_credit(share), missing = bytes - credit;
    size_t ceiling = load(&budget->commit.ceiling[BUDGET_TASK]);
    size_t most = ceiling > CREDIT_ROOM ? ceiling - CREDIT_ROOM : 0;
    size_t room = room_in(&budget->commit.used, most), heap_room = room_in(&budget->heap, SIZE_MAX);
    room = heap_room < room ? heap_room : room;
    if (missing > room) {
        return false;
    }
    /* A little more, for the next ones too. */
    size_t more = missing < BORROWED ? BORROWED : missing;
    more = more < room ? more : room;
    if (!add_within(&budget->commit.used, more, most)) {
        return false;
    }
    if (!add_within(&budget->heap, more, SIZE_MAX)) {
        must(budget, usage_subtract(&budget->commit.used, more));
        return false;
    }
    heap_share_set_credit(share, credit + more - bytes);
    return true;
}

void budget_return_credit(struct budget *budget, struct heap_share *share)
{
    size_t credit = heap_share_credit(share);
    must(budget, usage_subtract(&budget->heap, credit));
    must(budget, usage_subtract(&budget->commit.used, credit));
    /* Release: who finds no credit here finds it in the budget. */
    atomic_store_explicit(&share->credit, 0, memory_order_release);
}

void budget_heap_add(struct budget *budget, size_t bytes)
{
    if (is_new_peak(&budget->heap, bytes)) {
        budget_reclaim(budget);
    }
    usage_add(&budget->heap, bytes);
}

void budget_heap_subtract(struct budget *budget, size_t bytes)
{
    must(budget, usage_subtract(&budget->heap, bytes));
}

/* Long enough for whoever runs to leave a share; whoever was stopped inside is not waited for. */
#define RECLAIM_ATTEMPTS 200

static bool try_long(struct heap_share *share)
{
    for (int i = 0; i < RECLAIM_ATTEMPTS; i++) {
        if (heap_share_try(share)) {
            return true;
        }
    }
    return false;
}

bool budget_reclaim(struct budget *budget)
{
    bool any = false;
    for (size_t i = 0; i < HEAP_SHARES; i++) {
        struct heap_share *share = &budget->shares[i];
        /* Acquire: pairs with the release in budget_return_credit. */
        if (atomic_load_explicit(&share->credit, memory_order_acquire) != 0 && try_long(share)) {
            budget_return_credit(budget, share); /* another thread may have: no matter */
            heap_share_leave(share);
            any = true;
        }
    }
    return any;
}

/* A usage without all credit. */
static size_t without_credit(const struct budget *budget, const struct usage *usage)
{
    size_t now = usage_current(usage);
    for (size_t i = 0; i < HEAP_SHARES; i++) {
        size_t credit = heap_share_credit(&budget->shares[i]);
        now -= credit < now ? credit : now; /* which may have grown since */
    }
    return now;
}

size_t budget_heap_in_use(const struct budget *budget)
{
    return without_credit(budget, &budget->heap);
}

/* ---- reports ---- */

size_t budget_in_use(const struct budget *budget)
{
    return without_credit(budget, &budget->commit.used);
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
