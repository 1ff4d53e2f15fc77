/* SPDX-License-Identifier: MIT
 *
 * From any address to the id of the region that owns it, without a lock.
 *
 * Every reservation starts on 64 KiB, so a 64 KiB slot of the address space has one owner at most.
 * A root has one word per GiB: the id of a region that covers the whole GiB, and whether the GiB has
 * a leaf: 16,384 ids, one per slot. All leaves lie side by side in one reservation, each in its place
 * whether it is there or not, so no pointer leads to them. A leaf is 64 KiB of memory; the root of a
 * 47-bit address space is 131,072 words, 512 KiB, and the reservation 8 GiB; a 32-bit space has four
 * words and 256 KiB. A region of 256 GiB writes 255 words and at most two leaves.
 *
 *     address   000a aaaa aaaa aaaa aabb bbbb bbbb bbbb cccc cccc cccc cccc
 *                  root (17 bits)     slot of the leaf     inside the slot
 *
 * Who may call: get and next, any thread at any time. Writers of different regions never touch the
 * same slot, because the OS has given those addresses to one of them only; the writers of one
 * region are ordered by its owner (region_table.c).
 */
#ifndef HOSTMEM_CORE_SLOT_MAP_H
#define HOSTMEM_CORE_SLOT_MAP_H

#include "core/pages/table_memory.h"

#define SLOT_SHIFT 16 /* 64 KiB, the allocation granularity of Windows */
#define LEAF_SHIFT 30 /* 1 GiB, what one root entry stands for */
#define LEAF_SLOTS ((size_t)1 << (LEAF_SHIFT - SLOT_SHIFT))

#define SLOT_MAP_LEAF ((uint32_t)1 << 31) /* in a word of the root: the GiB has a leaf */
#define SLOT_MAP_MAX_ID (SLOT_MAP_LEAF - 1)

struct slot_leaf {
    _Atomic uint32_t ids[LEAF_SLOTS];
};

struct slot_map {
    struct table_memory *memory;
    size_t root_count;
    size_t root_bytes;
    _Atomic uint32_t *root;
    struct slot_leaf *leaves; /* by the index of their word */
};

/* Covers addresses up to os->max_address, 48 bits at most. OS_NOT_ENOUGH_MEMORY on failure. */
os_error slot_map_create(struct slot_map *map, struct table_memory *memory);
void slot_map_destroy(struct slot_map *map);

/* Install the leaves that [base, base + size) needs. After it, set and clear of this range cannot
 * fail. OS_NOT_ENOUGH_MEMORY when there is no memory or the range lies beyond the map. */
os_error slot_map_prepare(struct slot_map *map, uintptr_t base, size_t size);

/* Write `id`, or 0, into every slot that [base, base + size) touches. `base` lies on a slot. */
void slot_map_set(struct slot_map *map, uintptr_t base, size_t size, uint32_t id);

/* The id of the slot that contains `address`; 0 for none. */
uint32_t slot_map_get(const struct slot_map *map, uintptr_t address);

/* The first slot at or after *address that has an id: its id, and its first address in *address
 * (left as it is when it lies inside that slot). 0 when there is none. */
uint32_t slot_map_next(const struct slot_map *map, uintptr_t *address);

#endif
