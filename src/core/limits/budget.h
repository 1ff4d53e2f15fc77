/* SPDX-License-Identifier: MIT
 *
 * How much the runtime may take, and who is refused first.
 *
 * Two amounts are charged before the OS is asked, and refunded when it refuses or the memory goes:
 * commit (pages of regions and of heaps) and reserve (address space). Each charge is one atomic
 * step against one limit, so the sum never exceeds the limit by a byte, whatever the number of
 * threads, and a refused charge has changed nothing.
 *
 * Inside the commit limit L lies an emergency part E, kept for those whom a refusal would hurt more:
 *
 *     0 ────────────────────────────── L-E ─────── L-E/2 ─────── L
 *       any request                      │ AppDomain-   │ process-
 *                                        │ critical     │ critical only
 *
 * With the overdraft flag process-critical requests are granted beyond L as well: a start-up that is
 * refused once has failed for the life of the process.
 *
 * Address space is charged as Windows consumes it, in whole slots of 64 KiB: a region of one page
 * takes one.
 *
 * Refunds that are more than was charged change nothing and break the budget: somebody has lost
 * count, and no figure can be trusted any more. budget_is_broken tells.
 *
 * Limits change at any time from any thread, also below what is in use: then nothing new is granted
 * until enough has been given back. A charge that races with the change sees the old limit or the
 * new one.
 */
#ifndef HOSTMEM_CORE_BUDGET_H
#define HOSTMEM_CORE_BUDGET_H

#include "core/limits/usage.h"
#include "core/status.h"

#define BUDGET_UNLIMITED SIZE_MAX
#define BUDGET_SLOT ((size_t)65536)

/* The values of EMemoryCriticalLevel. */
enum budget_level { BUDGET_TASK, BUDGET_APP_DOMAIN, BUDGET_PROCESS, BUDGET_LEVELS };

struct budget_limits {
    size_t commit;    /* bytes, or BUDGET_UNLIMITED */
    size_t emergency; /* bytes of `commit`, at most all of it */
    size_t reserve;   /* bytes, or BUDGET_UNLIMITED */
    bool overdraft;
};

/* One amount and what it may rise to, by level. */
struct budget_line {
    struct usage used;
    _Atomic size_t ceiling[BUDGET_LEVELS];
    _Atomic uint64_t denied[BUDGET_LEVELS];
};

struct budget {
    struct budget_line commit;
    struct budget_line reserve;
    _Atomic size_t commit_limit;   /* L, which an overdraft leaves behind */
    _Atomic size_t overdraft_peak; /* the most that the flag has let be in use beyond it */
    atomic_bool broken;            /* a refund of more than was charged */
    struct usage heap;             /* of commit: pages of heaps */
};

void budget_init(struct budget *budget);
void budget_set_limits(struct budget *budget, const struct budget_limits *limits);

/* Take `bytes` for a request of `level`. False: not within the limit. */
bool budget_charge(struct budget_line *line, size_t bytes, enum budget_level level);
bool budget_refund(struct budget_line *line, size_t bytes); /* false: so much is not charged */

/* Count a request that was refused for good; one that waits is charged several times. */
void budget_deny(struct budget_line *line, enum budget_level level);

/* Charge `reserve` and `commit` bytes, both or none. OS_OK, HM_OVER_RESERVE or HM_OVER_COMMIT. */
os_error budget_take(struct budget *budget, size_t reserve, size_t commit, enum budget_level level);
void budget_give_back(struct budget *budget, size_t reserve, size_t commit);

/* What every subtraction from a count must be; if not, the budget is broken. */
void budget_must(struct budget *budget, bool done);

/* Whether a request of these amounts can ever be granted at this level with the limits in force. */
bool budget_can_fit(const struct budget *budget, size_t reserve, size_t commit,
                    enum budget_level level);

static inline bool budget_is_broken(const struct budget *budget)
{
    return atomic_load_explicit(&budget->broken, memory_order_relaxed);
}

/* Count pages of heaps, which budget_take was asked for, once they are there, and before they are given
 * back. */
void budget_heap_add(struct budget *budget, size_t bytes);
void budget_heap_subtract(struct budget *budget, size_t bytes);

/* Bytes of commit in use. */
size_t budget_in_use(const struct budget *budget);

/* Bytes of commit in use beyond the limit: an overdraft, or a limit that was lowered. */
size_t budget_overdraft(const struct budget *budget);

/* Bytes of commit that a request of `level` could still be granted. */
size_t budget_available(const struct budget *budget, enum budget_level level);

#endif
