/* SPDX-License-Identifier: MIT
 *
 * From any address to the id of the region that may own it, without a lock.
 *
 * Every reservation starts on 64 KiB, so a 64 KiB slot of the address space has one owner at most. A
 * tree of three levels leads to it: a word of the top stands for 16 GiB, a word of a node below it for
 * 32 MiB, a word of a node below that for one slot.
 *
 *     address   aaa aaaa aaaa aabb bbbb bbbc cccc cccc dddd dddd dddd dddd
 *               top (13 bits)   node        node       inside the slot
 *
 * A word is 0, an id, or the number of a node. It holds the id of a region that covers its unit, and
 * also that of one that is alone in its unit: so a region costs nodes only where it has neighbours.
 * Whoever gets an id has to compare the address with what the region says of itself.
 *
 * The top of a 47-bit address space is 8,192 words, 32 KiB; a 32-bit space has one word. A node is 512
 * words, 2 KiB. 1,000 regions a GiB apart take 63 nodes, 131 KiB; 1,000 side by side take four; a
 * region of 256 GiB takes none, or two nodes at an end that lies next to another region. A node goes
 * back when no region is left in its unit; it is then used again, for any other unit, but is given back
 * to the system with the map only: a reader may still be looking at it (slot_map.c).
 *
 * Who may call: get and next, any thread at any time. set and clear, any thread at any time, for
 * regions of its own; they take the map's lock, inside any other lock.
 */
#ifndef HOSTMEM_CORE_SLOT_MAP_H
#define HOSTMEM_CORE_SLOT_MAP_H

#include "core/pages/table_memory.h"
#include "os/os_lock.h"

#define SLOT_SHIFT 16 /* 64 KiB, the allocation granularity of Windows */
#define SLOT_NODE_SHIFT 9
#define SLOT_NODE_WORDS ((size_t)1 << SLOT_NODE_SHIFT)
#define SLOT_TOP_SHIFT                                                                             \
    (SLOT_SHIFT + 2 * SLOT_NODE_SHIFT) /* 16 GiB, what a word of the top is for */

#define SLOT_MAP_NODE ((uint32_t)1 << 31) /* in a word: the rest is the number of a node */
#define SLOT_MAP_MAX_ID (SLOT_MAP_NODE - 1)

struct slot_node {
    _Alignas(64) _Atomic uint32_t words[SLOT_NODE_WORDS];
    union {
        uint32_t used; /* words that are not 0; guarded by the map's lock, as is */
        uint32_t next_free;
    };
};

/* The first and the last address of the region `id`, which is in the map. */
typedef void slot_map_range(const void *owner, uint32_t id, uintptr_t *first, uintptr_t *last);

struct slot_map {
    struct table_memory *memory;
    slot_map_range *range_of;
    const void *owner;
    size_t top_count;
    _Atomic uint32_t *top;
    struct slot_node *nodes;
    struct os_lock lock;    /* guards what follows, and is held by who changes a word */
    size_t committed_bytes; /* of nodes */
    uint32_t node_count;    /* that were ever taken */
    uint32_t free_head;     /* number of the first free one, plus 1; 0 for none */
};

/* Covers addresses up to os->max_address, 48 bits at most. OS_NOT_ENOUGH_MEMORY on failure.
 * `range_of` is asked, under the map's lock, where a region lies that was alone in its unit when
 * another one comes. Without it (NULL) the map is exact: an id stands in the slots of its region and
 * nowhere else, and a region that is alone takes two nodes at either end. */
os_error slot_map_create(struct slot_map *map, struct table_memory *memory,
                         slot_map_range *range_of, const void *owner);
void slot_map_destroy(struct slot_map *map);

/* Let every slot that [base, base + size) touches lead to `id`. Whose the slots were before is gone:
 * the OS has given them to this region. OS_NOT_ENOUGH_MEMORY when there is no memory or the range lies
 * beyond the map: no slot leads to `id` then. */
os_error slot_map_set(struct slot_map *map, uintptr_t base, size_t size, uint32_t id);

/* The reverse, never fails. Slots that lead to another id by now stay as they are. */
void slot_map_clear(struct slot_map *map, uintptr_t base, size_t size, uint32_t id);

/* The id of the region that alone can contain `address`; 0: none does. */
uint32_t slot_map_get(const struct slot_map *map, uintptr_t address);

/* The first id at or after *address and not behind `end`, and of the addresses that this answer is for
 * the first, in *address, and the last. 0 when there is none. */
uint32_t slot_map_next(const struct slot_map *map, uintptr_t *address, uintptr_t end,
                       uintptr_t *last);

/* At a quiet moment: NULL, or what is wrong. */
const char *slot_map_check(struct slot_map *map);

#endif
