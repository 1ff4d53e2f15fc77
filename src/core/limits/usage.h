/* SPDX-License-Identifier: MIT
 *
 * How much of one thing is in use now and was at most: bytes of commit, bytes of reserve, regions.
 * Two words, no lock. Both are in size_t because neither can exceed the address space.
 *
 * The peak is exact: the thread whose addition made the new maximum publishes it, whatever the
 * others do in between. Nothing is taken off that is not there: a count that wrapped would say 2^64,
 * and refuse everything for ever.
 */
#ifndef HOSTMEM_CORE_USAGE_H
#define HOSTMEM_CORE_USAGE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

struct usage {
    _Atomic size_t current;
    _Atomic size_t peak;
};

/* Publish `now` as the peak if it is a new one. */
static inline void usage_raise_peak(struct usage *usage, size_t now)
{
    size_t peak = atomic_load_explicit(&usage->peak, memory_order_relaxed);
    while (now > peak &&
           !atomic_compare_exchange_weak_explicit(&usage->peak, &peak, now, memory_order_relaxed,
                                                  memory_order_relaxed)) {
    }
}

static inline void usage_add(struct usage *usage, size_t amount)
{
    if (amount == 0) {
        return; /* a locked instruction less: a reservation commits nothing */
    }
    /* Relaxed: the numbers guard no other memory. */
    size_t now = atomic_fetch_add_explicit(&usage->current, amount, memory_order_relaxed) + amount;
    usage_raise_peak(usage, now);
}

/* False: so much is not in use, and nothing has changed. */
static inline bool usage_subtract(struct usage *usage, size_t amount)
{
    size_t now = atomic_load_explicit(&usage->current, memory_order_relaxed);
    while (amount != 0) {
        if (amount > now) {
            return false;
        }
        if (atomic_compare_exchange_weak_explicit(&usage->current, &now, now - amount,
                                                  memory_order_relaxed, memory_order_relaxed)) {
            break;
        }
    }
    return true;
}

static inline size_t usage_current(const struct usage *usage)
{
    return atomic_load_explicit(&usage->current, memory_order_relaxed);
}

static inline size_t usage_peak(const struct usage *usage)
{
    return atomic_load_explicit(&usage->peak, memory_order_relaxed);
}

#endif
