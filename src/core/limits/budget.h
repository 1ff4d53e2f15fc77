/* SPDX-License-Identifier: MIT
 *
 * The one account of a manager's memory: how much there is, for what, how much there may be, and who
 * is refused first.
 *
 *                     taken               of that, there
 *     commit          `commit.used`   =   pages + heap + foreign
 *     address space   `reserve.used`  >=  `reserved`, which is not rounded up to slots
 *
 * Both amounts are taken before the OS is asked. Then either the OS refuses, and they are given back
 * (budget_give_back), or the memory is there and is added to its part (budget_added) until it has gone
 * (budget_removed). While requests are under way more is taken than is there; whenever none is, the two
 * sides of the table agree to the byte, which budget_check tells. Each take is one atomic step against
 * one limit, so the sum never exceeds the limit by a byte, whatever the number of threads, and a refused
 * one has changed nothing. The peaks of the parts never show what was refused.
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
 * Whoever would take more off a count than it holds changes nothing and breaks the budget: somebody
 * has lost count, and no figure can be trusted any more. budget_broken says which.
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

/* What committed memory is there for. */
enum budget_part {
    BUDGET_PAGES,   /* of regions */
    BUDGET_HEAP,    /* pages of heaps */
    BUDGET_FOREIGN, /* what others commit and ask the manager for */
    BUDGET_PARTS
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
    struct usage committed[BUDGET_PARTS]; /* bytes */
    struct usage reserved;                /* bytes of regions */
    _Atomic size_t commit_limit;          /* L, which an overdraft leaves behind */
    _Atomic size_t overdraft_peak;        /* the most that the flag has let be in use beyond it */
    _Atomic(const char *) broken;         /* which count would have fallen below zero, or NULL */
};

void budget_init(struct budget *budget);
void budget_set_limits(struct budget *budget, const struct budget_limits *limits);

/* Take `reserve` and `commit` bytes for a request of `level`, both or none. OS_OK, HM_OVER_RESERVE or
 * HM_OVER_COMMIT. */
os_error budget_take(struct budget *budget, size_t reserve, size_t commit, enum budget_level level);

/* What was taken is not there after all. */
void budget_give_back(struct budget *budget, size_t reserve, size_t commit);

/* What was taken is there. */
void budget_added(struct budget *budget, enum budget_part part, size_t reserve, size_t commit);

/* What was there has gone, and is given back. */
void budget_removed(struct budget *budget, enum budget_part part, size_t reserve, size_t commit);

/* The same for those who may ask for too much; false, and nothing has changed, if so much is not there.
 * In one step: of two threads that remove the same bytes one is refused. */
bool budget_remove(struct budget *budget, enum budget_part part, size_t commit);

/* Count a request that was refused for good; one that waits is taken for several times. */
void budget_deny(struct budget_line *line, enum budget_level level);

/* Whether a request of these amounts can ever be granted at this level with the limits in force. */
bool budget_can_fit(const struct budget *budget, size_t reserve, size_t commit,
                    enum budget_level level);

/* NULL, or what has broken it. */
static inline const char *budget_broken(const struct budget *budget)
{
    return atomic_load_explicit(&budget->broken, memory_order_relaxed);
}

/* NULL, or how the account contradicts itself. No request may be under way. */
const char *budget_check(const struct budget *budget);

/* Bytes of commit in use. */
size_t budget_in_use(const struct budget *budget);

/* Bytes of commit in use beyond the limit: an overdraft, or a limit that was lowered. */
size_t budget_overdraft(const struct budget *budget);

#endif
