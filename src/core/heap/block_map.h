/* SPDX-License-Identifier: MIT
 *
 * Which addresses are live blocks of one heap: one byte for every address a block can start at.
 *
 * A heap must refuse a pointer that it did not hand out, and it may not look at what the pointer
 * points to, for that may be anything. So it asks this map: 1 is a block of this heap that is alive;
 * everything else (foreign, freed, inside a block, of another heap) is 0.
 *
 * A byte and not a bit, because of who writes it. A block that comes alive is in one hand, and its
 * byte is nobody else's: a plain store does. A bit would share its word with 31 others and need a
 * locked instruction, which is 15 % of what Alloc and Free take together. Only the end of a block
 * needs one, for two threads may free it at once.
 *
 * A radix tree over the address. A leaf is the map of 1 MiB: 64 KiB with blocks aligned to 16 bytes,
 * 128 KiB with 8 on 32-bit; that is 6 % (12 %) of the heap. Above it three levels of nodes of one
 * page, which has 512 entries; the whole 47-bit address space is 512 x 512 x 512 MiB. On 32-bit
 * systems it has 1024, of which one is used at the top level and four at the second.
 *
 *     address   aaaa aaaa abbb bbbb bbcc cccc ccc. .... .... .... .... 0000
 *               top       middle      bottom     byte of the leaf
 *
 * Any thread may call anything at any time; there is no lock. Nodes are installed by
 * compare-and-swap and stay until the map is destroyed.
 */
#ifndef HOSTMEM_CORE_BLOCK_MAP_H
#define HOSTMEM_CORE_BLOCK_MAP_H

#include "core/pages/table_memory.h"

/* Blocks start on multiples of this: two pointers, as the OS heap has it. */
#define BLOCK_ALIGNMENT (2 * sizeof(void *))

#define BLOCK_MAP_FANOUT (4096 / sizeof(void *))

struct block_map_node {
    void *_Atomic children[BLOCK_MAP_FANOUT];
};

struct block_map {
    struct table_memory *memory;
    struct block_map_node top;
};

void block_map_init(struct block_map *map, struct table_memory *memory);
void block_map_destroy(struct block_map *map);

/* Record a live block. False: no memory for the map, or an address it does not cover; nothing has
 * changed then. `address` is a multiple of BLOCK_ALIGNMENT and not live. */
bool block_map_add(struct block_map *map, uintptr_t address);

/* Take a live block out; of several threads that name the same block one succeeds. False when
 * `address`, any value, is no live block of this map. */
bool block_map_remove(struct block_map *map, uintptr_t address);

/* Whether `address`, any value, is a live block of this map. */
bool block_map_contains(const struct block_map *map, uintptr_t address);

/* The first live block at or above `from`, a multiple of BLOCK_ALIGNMENT; 0 when there is none. */
uintptr_t block_map_next(struct block_map *map, uintptr_t from);

#endif
