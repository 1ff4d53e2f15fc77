/* SPDX-License-Identifier: MIT
 *
 * A share of the heap's books, so that threads that allocate blocks do not meet on one cache line.
 *
 * A manager has HEAP_SHARES of them. A thread takes the one that its number points to, or the next
 * that is free; whoever finds none does without, on the books that all threads have in common. A
 * share is never waited for: a thread that was stopped or ended inside keeps nobody else.
 *
 * A freed block's bytes stay charged as the share's credit, and the next block of the same share is
 * paid with them: no common number changes. What is charged therefore is more than what is in use,
 * by the sum of all credits, and three rules keep that from being noticed:
 *
 *     never above the peak     credit comes from frees, or is taken below the peak so far; a charge
 *                              that would make a new peak takes all credit back first
 *     never near a limit       within CREDIT_ROOM of it a free gives back, and a charge that would
 *                              be refused takes all credit back and tries again
 *     never in a report        budget_in_use and budget_heap_in_use are without it
 *
 * So limits hold to the byte whatever happens. Peaks and refusals are exact as well unless threads
 * free blocks at that very moment: then a peak may come out too high, or a refusal too early, by no
 * more than those threads' credit, CREDIT_MOST each.
 *
 * Memory order: taking a share acquires what leaving it released, so everything in it is as the last
 * owner left it, and so are the block caches that it guards. The numbers are atomic because reports
 * read them at any time, relaxed because they guard no other memory; only the owner writes them, so
 * he needs no locked instruction but the one that takes the share.
 */
#ifndef HOSTMEM_CORE_HEAP_SHARE_H
#define HOSTMEM_CORE_HEAP_SHARE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define HEAP_SHARES 8
#define CREDIT_MOST ((size_t)128 * 1024)
#define CREDIT_ROOM (HEAP_SHARES * CREDIT_MOST)

struct heap_share {
    _Alignas(64) atomic_bool taken;
    _Atomic size_t credit; /* bytes charged and not in use */
    _Atomic size_t blocks; /* allocated less freed here, modulo the word */
    _Atomic uint64_t allocs;
    _Atomic uint64_t frees;
};

/* Take one share. */
static inline bool heap_share_try(struct heap_share *share)
{
    return !atomic_load_explicit(&share->taken, memory_order_relaxed) &&
           !atomic_exchange_explicit(&share->taken, true, memory_order_acquire);
}

/* Take any of `shares` for the thread of this number. NULL: none is free. */
static inline struct heap_share *heap_share_take(struct heap_share *shares, unsigned thread)
{
    for (unsigned i = 0; i < HEAP_SHARES; i++) {
        struct heap_share *share = &shares[(thread + i) % HEAP_SHARES];
        if (heap_share_try(share)) {
            return share;
        }
    }
    return NULL;
}

static inline void heap_share_leave(struct heap_share *share)
{
    atomic_store_explicit(&share->taken, false, memory_order_release);
}

static inline size_t heap_share_credit(const struct heap_share *share)
{
    return atomic_load_explicit(&share->credit, memory_order_relaxed);
}

/* ---- for the owner ---- */

static inline void heap_share_set_credit(struct heap_share *share, size_t credit)
{
    atomic_store_explicit(&share->credit, credit, memory_order_relaxed);
}

static inline void heap_share_count(struct heap_share *share, _Atomic uint64_t *calls,
                                    size_t blocks)
{
    atomic_store_explicit(calls, atomic_load_explicit(calls, memory_order_relaxed) + 1,
                          memory_order_relaxed);
    atomic_store_explicit(&share->blocks,
                          atomic_load_explicit(&share->blocks, memory_order_relaxed) + blocks,
                          memory_order_relaxed);
}

static inline void heap_share_count_alloc(struct heap_share *share)
{
    heap_share_count(share, &share->allocs, 1);
}

static inline void heap_share_count_free(struct heap_share *share)
{
    heap_share_count(share, &share->frees, (size_t)-1);
}

#endif
