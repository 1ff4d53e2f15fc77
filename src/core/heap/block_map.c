/* SPDX-License-Identifier: MIT
 *
 * See block_map.h for the shape. Nodes are published with release and read with acquire, so that a
 * reader finds them zeroed. The bytes themselves order the memory of the blocks too: the remover of a
 * block acquires what its allocator released.
 */
#include "core/heap/block_map.h"

#define LEAF_SHIFT 20 /* 1 MiB */
#define NODE_SHIFT (sizeof(void *) == 8 ? 9 : 10)
#define LEAF_PLACES (((size_t)1 << LEAF_SHIFT) / BLOCK_ALIGNMENT)

struct leaf {
    _Atomic uint8_t live[LEAF_PLACES]; /* 1 where a live block starts */
};

_Static_assert(BLOCK_MAP_FANOUT == (size_t)1 << NODE_SHIFT, "a node has one entry per index");

/* The entry of `node` for `address` at a level: 2 top, 1 middle, 0 bottom. */
static void *_Atomic *entry_at(struct block_map_node *node, uintptr_t address, unsigned level)
{
    uintptr_t index = (address >> LEAF_SHIFT) >> (NODE_SHIFT * level);
    return &node->children[index & (BLOCK_MAP_FANOUT - 1)];
}

static bool covered(uintptr_t address)
{
    return (address >> LEAF_SHIFT) >> (NODE_SHIFT * 2) < BLOCK_MAP_FANOUT;
}

/* What an entry points to, installed first if `size` is not 0. */
static void *child_of(struct block_map *map, void *_Atomic *entry, size_t size)
{
    /* Acquire: pairs with the release below. */
    void *child = atomic_load_explicit(entry, memory_order_acquire);
    if (child != NULL || size == 0) {
        return child;
    }
    void *fresh = table_memory_map(map->memory, size);
    if (fresh == NULL) {
        return NULL;
    }
    if (!atomic_compare_exchange_strong_explicit(entry, &child, fresh, memory_order_acq_rel,
                                                 memory_order_acquire)) {
        table_memory_release(map->memory, fresh, size); /* another thread was first */
        return child;
    }
    return fresh;
}

static struct leaf *leaf_of(struct block_map *map, uintptr_t address, bool install)
{
    struct block_map_node *node = &map->top;
    if (!covered(address)) {
        return NULL;
    }
    for (unsigned level = 2; level > 0 && node != NULL; level--) {
        node = child_of(map, entry_at(node, address, level), install ? sizeof(*node) : 0);
    }
    return node == NULL
               ? NULL
               : child_of(map, entry_at(node, address, 0), install ? sizeof(struct leaf) : 0);
}

static _Atomic uint8_t *place_of(struct leaf *leaf, uintptr_t address)
{
    return &leaf->live[(address & (((uintptr_t)1 << LEAF_SHIFT) - 1)) / BLOCK_ALIGNMENT];
}

void block_map_init(struct block_map *map, struct table_memory *memory)
{
    *map = (struct block_map){.memory = memory};
}

static void release_children(struct block_map *map, struct block_map_node *node, unsigned level)
{
    for (size_t i = 0; i < BLOCK_MAP_FANOUT; i++) {
        void *child = atomic_load_explicit(&node->children[i], memory_order_relaxed);
        if (child != NULL) {
            if (level > 0) {
                release_children(map, child, level - 1);
            }
            table_memory_release(map->memory, child,
                                 level > 0 ? sizeof(struct block_map_node) : sizeof(struct leaf));
        }
    }
}

void block_map_destroy(struct block_map *map)
{
    release_children(map, &map->top, 2);
}

bool block_map_add(struct block_map *map, uintptr_t address)
{
    struct leaf *leaf = leaf_of(map, address, true);
    if (leaf == NULL) {
        return false;
    }
    atomic_store_explicit(place_of(leaf, address), 1, memory_order_release);
    return true;
}

bool block_map_remove(struct block_map *map, uintptr_t address)
{
    struct leaf *leaf = leaf_of(map, address, false);
    if (leaf == NULL || address % BLOCK_ALIGNMENT != 0) {
        return false;
    }
    return atomic_exchange_explicit(place_of(leaf, address), 0, memory_order_acq_rel) != 0;
}

static uintptr_t next_in_leaf(struct leaf *leaf, uintptr_t base, uintptr_t from)
{
    for (uintptr_t at = from; at - base < (uintptr_t)1 << LEAF_SHIFT; at += BLOCK_ALIGNMENT) {
        if (atomic_load_explicit(place_of(leaf, at), memory_order_acquire) != 0) {
            return at;
        }
    }
    return 0;
}

uintptr_t block_map_next(struct block_map *map, uintptr_t from)
{
    const uintptr_t leaf_bytes = (uintptr_t)1 << LEAF_SHIFT;
    for (uintptr_t at = from; covered(at);) {
        /* Step by the largest part of the tree that is not there. */
        struct block_map_node *node = &map->top;
        uintptr_t step = 0;
        for (unsigned level = 2; level > 0 && node != NULL; level--) {
            node = child_of(map, entry_at(node, at, level), 0);
            step = node == NULL ? leaf_bytes << (NODE_SHIFT * level) : leaf_bytes;
        }
        struct leaf *leaf = node != NULL ? child_of(map, entry_at(node, at, 0), 0) : NULL;
        uintptr_t found = leaf != NULL ? next_in_leaf(leaf, at & ~(leaf_bytes - 1), at) : 0;
        if (found != 0) {
            return found;
        }
        /* On 32-bit systems the top entry stands for more than there is, and its step is 0. */
        uintptr_t next = (at & ~(step - 1)) + step;
        if (next < at || step == 0) {
            return 0;
        }
        at = next;
    }
    return 0;
}

bool block_map_contains(const struct block_map *map, uintptr_t address)
{
    struct leaf *leaf = leaf_of((struct block_map *)map, address, false);
    return leaf != NULL && address % BLOCK_ALIGNMENT == 0 &&
           atomic_load_explicit(place_of(leaf, address), memory_order_acquire) != 0;
}
