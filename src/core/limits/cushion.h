/* SPDX-License-Identifier: MIT
 *
 * Address space kept back for NeedsVirtualAddressSpace.
 *
 * When the runtime cannot map a file it asks the host for room and tries once more. A cushion is a
 * reservation made early, when there still was room, that can be given up then. Windows releases
 * reservations only as a whole, so it is made of up to 16 parts, side by side wherever possible: of
 * 64 MiB, 16 parts of 4 MiB, and a request for 10 MiB gets three neighbours, 12 MiB. It lies at the
 * top of the address space, out of the way of the addresses that images prefer.
 *
 * A part that was given up is reserved again when there is room for it, but not within the first
 * second, in which the runtime wants to use the room it was given.
 *
 * The cushion is not charged to any budget and in no region table. Any thread may call anything at
 * any time; no lock is taken.
 */
#ifndef HOSTMEM_CORE_CUSHION_H
#define HOSTMEM_CORE_CUSHION_H

#include "os/os.h"

#include <stdatomic.h>

#define CUSHION_PARTS 16
#define CUSHION_REST_MS 1000

struct cushion {
    const struct os *os;
    size_t part_size; /* bytes, a multiple of the granularity */
    size_t part_count;
    uintptr_t home[CUSHION_PARTS];          /* where each part was at first, ascending */
    _Atomic uintptr_t parts[CUSHION_PARTS]; /* where each part is; 0: given up */
    _Atomic uint64_t rest_until;            /* milliseconds; 0: all parts are there */
};

/* Reserve at least `size` bytes in all; 0 makes a cushion that never has anything to give.
 * OS_NOT_ENOUGH_MEMORY: there is no such room, and nothing stays reserved. */
os_error cushion_create(struct cushion *cushion, const struct os *os, uint64_t size);
void cushion_destroy(struct cushion *cushion);

/* Give up neighbours of `size` bytes in all; everything for 0 and where there are not enough: the
 * runtime tries once. `now` is a clock in milliseconds. False: there was nothing left to give. */
bool cushion_give_up(struct cushion *cushion, size_t size, uint64_t now);

/* Reserve again what was given up, as far as there is room. To be called when address space was
 * released; one comparison if nothing is missing. May change the thread's LastError. */
void cushion_restore(struct cushion *cushion, uint64_t now);

/* Whether something was given up and is not back yet. */
static inline bool cushion_is_short(const struct cushion *cushion)
{
    return atomic_load_explicit(&cushion->rest_until, memory_order_relaxed) != 0;
}

/* Bytes that are reserved now. */
size_t cushion_bytes(const struct cushion *cushion);

#endif
