/* SPDX-License-Identifier: MIT
 *
 * The regions that the host has handed out: one per reservation.
 *
 * A region is a descriptor of 64 bytes, found by a 32-bit id in an array that is reserved once (4 Mi
 * regions: 256 MiB of address space; 64 Ki on 32-bit: 4 MiB) and committed as ids are used.
 * Descriptors are reused but never given back, so an id read a while ago can still be looked at:
 * readers take no lock and get a snapshot, never a pointer.
 *
 *     address --slot_map--> id --> { seq, base, size, …        odd seq: the region is live
 *                                    page_set }                guarded by the region's lock
 *
 * Takes no lock:         region_table_find, region_table_next
 * Takes one region's:    region_table_lock … region_table_unlock
 * Takes the slot map's:  region_table_publish, region_table_discard
 * Takes the free list's: region_table_acquire, region_table_recycle (inside no other lock of ours)
 * Lock order: a region's lock, then the slot map's, the pool's or the free list's; never two regions'.
 */
#ifndef HOSTMEM_CORE_REGION_TABLE_H
#define HOSTMEM_CORE_REGION_TABLE_H

#include "core/pages/page_set.h"
#include "core/pages/slot_map.h"
#include "core/pages/table_memory.h"
#include "os/os_lock.h"

struct region;

struct region_table {
    struct table_memory *memory;
    struct slot_map slots;
    struct page_pool pool;  /* of the page sets */
    struct region *regions; /* by id; 0 is no region */
    size_t region_count;    /* ids with a descriptor behind them; guarded by free_lock, */
    uint32_t used_count;    /* as are those handed out so far, 0 included */
    uint32_t free_head;     /* first in, first out, so that an id rests before its next use; */
    uint32_t free_tail;     /* guarded by free_lock */
    struct os_lock free_lock;
    struct usage live; /* regions published */
};

/* What was true of a live region at one moment during the call. Sizes in bytes. */
struct region_snapshot {
    uintptr_t base;
    size_t size;
    uint32_t type;    /* MEM_* of the reservation */
    uint32_t protect; /* PAGE_* of the reservation */
};

/* A region held by its lock. */
struct region_guard {
    uint32_t id;
    uintptr_t base;
    size_t size; /* bytes, whole pages */
    size_t page_count;
    struct page_set *pages; /* yours until unlock or discard */
};

/* OS_NOT_ENOUGH_MEMORY on failure. */
os_error region_table_create(struct region_table *table, struct table_memory *memory);
void region_table_destroy(struct region_table *table);

/* An id for a region to come, everything prepared that does not need its address. 0: no memory, or
 * as many regions as the table can hold. Give it back with region_table_recycle. */
uint32_t region_table_acquire(struct region_table *table);
void region_table_recycle(struct region_table *table, uint32_t id);

/* Make [base, base + size) a live region; `committed` says whether all or none of its pages are.
 * OS_NOT_ENOUGH_MEMORY, also for more than 16 TiB of committed pages: nothing was published, the id is
 * still the caller's. */
os_error region_table_publish(struct region_table *table, uint32_t id,
                              const struct region_snapshot *region, bool committed);

/* Find the live region that contains `address`, any value, and take its snapshot. A caller that
 * goes on to change the region must use region_table_lock. */
bool region_table_find(const struct region_table *table, uintptr_t address,
                       struct region_snapshot *region);

/* The live region with the lowest base at or above `address`. */
bool region_table_next(const struct region_table *table, uintptr_t address,
                       struct region_snapshot *region);

/* Lock the live region that contains `address`. While it is held nobody else commits, decommits or
 * releases in that region. False: no region there, nothing locked. */
bool region_table_lock(struct region_table *table, uintptr_t address, struct region_guard *guard);

/* Lock a live region that has any address of [first, last], for one to whom the OS has just given them.
 * False: there is none, nothing locked. */
bool region_table_lock_overlap(struct region_table *table, uintptr_t first, uintptr_t last,
                               struct region_guard *guard);

void region_table_unlock(struct region_table *table, const struct region_guard *guard);

/* Take a locked region out of the table, before the OS gets its addresses back and may hand them to
 * another thread. Then either the OS refuses to release it and restore puts it back, still locked;
 * or discard unlocks the descriptor and gives the id back. None of them can fail. */
void region_table_withdraw(struct region_table *table, const struct region_guard *guard);
void region_table_restore(struct region_table *table, const struct region_guard *guard);
void region_table_discard(struct region_table *table, const struct region_guard *guard);

/* At a quiet moment: NULL, or what is wrong. `reserved` and `committed` are the bytes that all live
 * regions must add up to. */
const char *region_table_check(struct region_table *table, size_t reserved, size_t committed);

#endif
