/* SPDX-License-Identifier: MIT
 *
 * A mutual exclusion lock of one word, for what is held for a moment: a region while it changes, a
 * list while an entry is taken off. All zero is unlocked, and there is nothing to destroy.
 *
 *     0  free
 *     1  held
 *     2  held, and threads may be asleep until it is free: os_lock_win32.c
 *
 * Who finds it free, which is nearly always, takes and releases it by one locked instruction each,
 * inline: right after a system call, when the processor has forgotten everything, a call into the
 * system's own lock costs more than all the rest that hostmem does. Not recursive, not fair.
 */
#ifndef HOSTMEM_OS_LOCK_H
#define HOSTMEM_OS_LOCK_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct os_lock {
    _Atomic uint32_t word;
};

/* Once, before the first lock is waited for: what the system has to sleep by. */
void os_lock_find_functions(void);

/* Take a lock that is not free. */
void os_lock_wait(struct os_lock *lock);

/* Wake those who may be asleep; the lock is free already. */
void os_lock_wake(struct os_lock *lock);

static inline void os_lock_acquire(struct os_lock *lock)
{
    uint32_t word = 0;
    if (!atomic_compare_exchange_strong_explicit(&lock->word, &word, 1, memory_order_acquire,
                                                 memory_order_relaxed)) {
        os_lock_wait(lock);
    }
}

/* Whether the lock was free, and is the caller's now. */
static inline bool os_lock_try(struct os_lock *lock)
{
    uint32_t word = 0;
    return atomic_compare_exchange_strong_explicit(&lock->word, &word, 1, memory_order_acquire,
                                                   memory_order_relaxed);
}

static inline void os_lock_release(struct os_lock *lock)
{
    if (atomic_exchange_explicit(&lock->word, 0, memory_order_release) == 2) {
        os_lock_wake(lock);
    }
}

#endif
