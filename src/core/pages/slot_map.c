/* SPDX-License-Identifier: MIT
 *
 * See slot_map.h for the shape. Why readers need no lock:
 *
 * Words are stored with release and loaded with acquire, so whoever reads an id also sees what its
 * writer did before, and whoever reads the number of a node sees what the node was filled with: it is
 * filled first and then put into its word. A region that was alone in the unit stands in the node
 * before the node is there, so at no moment is it not to be found.
 *
 * A node leaves its word when no region is left in the unit, not when one is. A reader that has read
 * its number before may go on in it at any later time, when it is free (all zero) or in use for another
 * unit: it may read anything, 0, an id of anywhere, a node of anywhere. But then there was a moment
 * since its call began at which no region was in this unit, so the answer "none" is right; and if it
 * goes on with an id, that region itself says whether it contains the address (region_table.c). Nodes
 * of both levels come from one pool, so such a reader may also find the number of a node where only ids
 * can be: that is "none" too.
 *
 * Writers take the lock, so that a region that arrives and one that leaves agree on whether the unit
 * needs a node. A region is cleared after the OS has got its addresses back, and then they may
 * already lead to a successor, who has stored its own id over the old one: clear takes away only its
 * own. The old one's words go when it is cleared; that their unit keeps a node until then is all.
 */
#include "core/pages/slot_map.h"

#include <string.h>

/* Address bits that a top may span: that of a 57-bit machine would be 32 MiB. */
#define MAX_ADDRESS_BITS 48

#if UINTPTR_MAX > UINT32_MAX
#define MAX_NODES ((size_t)1 << 21) /* 4.1 GiB of address space */
#else
#define MAX_NODES ((size_t)1 + 128) /* 4 GiB of slots */
#endif

static size_t top_index(uintptr_t address)
{
    return (size_t)((uint64_t)address >> SLOT_TOP_SHIFT);
}

/* A unit of 2^shift bytes, as the bits of an address inside it; the top's is more than 32 bits have. */
static uintptr_t unit_mask(unsigned shift)
{
    return (uintptr_t)(((uint64_t)1 << shift) - 1);
}

static struct slot_node *node_of(const struct slot_map *map, uint32_t word)
{
    return &map->nodes[word & SLOT_MAP_MAX_ID];
}

/* The word for `address` whose unit is 2^shift bytes: of `node`, or of the top for NULL. */
static _Atomic uint32_t *word_at(const struct slot_map *map, struct slot_node *node,
                                 uintptr_t address, unsigned shift)
{
    return node == NULL ? &map->top[top_index(address)]
                        : &node->words[(address >> shift) & (SLOT_NODE_WORDS - 1)];
}

os_error slot_map_create(struct slot_map *map, struct table_memory *memory,
                         slot_map_range *range_of, const void *owner)
{
    uintptr_t last = memory->os->max_address;
#if UINTPTR_MAX > UINT32_MAX
    if (last >> MAX_ADDRESS_BITS != 0) {
        last = ((uintptr_t)1 << MAX_ADDRESS_BITS) - 1;
    }
#endif
    *map = (struct slot_map){
        .memory = memory, .range_of = range_of, .owner = owner, .top_count = top_index(last) + 1};
    map->nodes = table_memory_reserve(memory, MAX_NODES * sizeof(*map->nodes));
    map->top = map->nodes == NULL
                   ? NULL
                   : table_memory_map(
                         memory, table_memory_round(memory, map->top_count * sizeof(*map->top)));
    if (map->top == NULL) {
        slot_map_destroy(map);
        return OS_NOT_ENOUGH_MEMORY;
    }
    return OS_OK;
}

void slot_map_destroy(struct slot_map *map)
{
    if (map->top != NULL) {
        table_memory_release(map->memory, map->top,
                             table_memory_round(map->memory, map->top_count * sizeof(*map->top)));
    }
    if (map->nodes != NULL) {
        table_memory_release(map->memory, map->nodes, map->committed_bytes);
    }
}

/* ---- nodes ---- */

/* A node of zeros, as the word that leads to it; 0 for no memory. */
static uint32_t take_node_locked(struct slot_map *map)
{
    size_t page = map->memory->os->page_size;
    uint32_t number = map->free_head - 1;
    if (map->free_head != 0) {
        map->free_head = map->nodes[number].next_free;
    } else {
        number = map->node_count;
        if (number == MAX_NODES) {
            return 0;
        }
        while ((number + (size_t)1) * sizeof(*map->nodes) > map->committed_bytes) {
            if (!table_memory_commit(map->memory, (char *)map->nodes + map->committed_bytes,
                                     page)) {
                return 0;
            }
            map->committed_bytes += page;
        }
        map->node_count++;
    }
    map->nodes[number].used = 0;
    return number | SLOT_MAP_NODE;
}

static void give_node_locked(struct slot_map *map, struct slot_node *node)
{
    node->next_free = map->free_head;
    map->free_head = (uint32_t)(node - map->nodes) + 1;
}

/* ---- set and clear ---- */

static void store_locked(struct slot_node *node, _Atomic uint32_t *word, uint32_t value)
{
    uint32_t before = atomic_load_explicit(word, memory_order_relaxed);
    /* Release: pairs with the acquire in slot_map_get. */
    atomic_store_explicit(word, value, memory_order_release);
    if (node != NULL) {
        node->used += (uint32_t)(value != 0) - (uint32_t)(before != 0);
    }
}

/* The first and last address in the unit of a word of the region `id`, which stands there. */
static void range_in_unit(const struct slot_map *map, uint32_t id, uintptr_t unit, unsigned shift,
                          uintptr_t *first, uintptr_t *last)
{
    *first = unit;
    *last = UINTPTR_MAX;
    if (map->range_of != NULL) {
        map->range_of(map->owner, id, first, last);
    }
    *first = *first > unit ? *first : unit;
    *last = *last < (unit | unit_mask(shift)) ? *last : (unit | unit_mask(shift));
}

/* Put a node under a word, with all that the word has said until now. Not inlined: set_locked calls
 * itself, and has three frames at the end. */
static __attribute__((noinline)) bool install_locked(struct slot_map *map, struct slot_node *parent,
                                                     uintptr_t unit, unsigned shift)
{
    _Atomic uint32_t *word = word_at(map, parent, unit, shift);
    uint32_t id = atomic_load_explicit(word, memory_order_relaxed);
    uint32_t fresh = take_node_locked(map);
    if (fresh == 0) {
        return false;
    }
    if (id != 0) {
        struct slot_node *node = node_of(map, fresh);
        uintptr_t first, last;
        range_in_unit(map, id, unit, shift, &first, &last);
        shift -= SLOT_NODE_SHIFT;
        for (uintptr_t part = first >> shift; part <= last >> shift; part++) {
            store_locked(node, &node->words[part & (SLOT_NODE_WORDS - 1)], id);
        }
    }
    store_locked(parent, word, fresh);
    return true;
}

/* [first, last] in `node`, of whose words each stands for 2^shift bytes. */
static bool set_locked(struct slot_map *map, struct slot_node *node, unsigned shift,
                       uintptr_t first, uintptr_t last, uint32_t id)
{
    for (uintptr_t at = first, end;; at = end + 1) {
        _Atomic uint32_t *word = word_at(map, node, at, shift);
        uint32_t value = atomic_load_explicit(word, memory_order_relaxed);
        uintptr_t unit = at & ~unit_mask(shift);
        end = (at | unit_mask(shift)) < last ? at | unit_mask(shift) : last;
        bool whole = at == unit && end == (at | unit_mask(shift));
        bool alone = value == 0 && map->range_of != NULL;
        if ((value & SLOT_MAP_NODE) == 0 && (whole || alone)) {
            store_locked(node, word, id);
        } else {
            if ((value & SLOT_MAP_NODE) == 0 && !install_locked(map, node, unit, shift)) {
                return false;
            }
            value = atomic_load_explicit(word, memory_order_relaxed);
            if (!set_locked(map, node_of(map, value), shift - SLOT_NODE_SHIFT, at, end, id)) {
                return false;
            }
        }
        if (end == last) {
            return true;
        }
    }
}

static void clear_locked(struct slot_map *map, struct slot_node *node, unsigned shift,
                         uintptr_t first, uintptr_t last, uint32_t id)
{
    for (uintptr_t at = first, end;; at = end + 1) {
        _Atomic uint32_t *word = word_at(map, node, at, shift);
        uint32_t value = atomic_load_explicit(word, memory_order_relaxed);
        end = (at | unit_mask(shift)) < last ? at | unit_mask(shift) : last;
        if ((value & SLOT_MAP_NODE) != 0) {
            struct slot_node *child = node_of(map, value);
            clear_locked(map, child, shift - SLOT_NODE_SHIFT, at, end, id);
            if (child->used == 0) {
                store_locked(node, word, 0);
                give_node_locked(map, child);
            }
        } else if (value == id) {
            store_locked(node, word, 0);
        }
        if (end == last) {
            return;
        }
    }
}

os_error slot_map_set(struct slot_map *map, uintptr_t base, size_t size, uint32_t id)
{
    uintptr_t first = base & ~unit_mask(SLOT_SHIFT);
    uintptr_t last = (base + size - 1) | unit_mask(SLOT_SHIFT);
    if (top_index(last) >= map->top_count) {
        return OS_NOT_ENOUGH_MEMORY;
    }
    os_lock_acquire(&map->lock);
    bool done = set_locked(map, NULL, SLOT_TOP_SHIFT, first, last, id);
    if (!done) {
        clear_locked(map, NULL, SLOT_TOP_SHIFT, first, last, id);
    }
    os_lock_release(&map->lock);
    return done ? OS_OK : OS_NOT_ENOUGH_MEMORY;
}

void slot_map_clear(struct slot_map *map, uintptr_t base, size_t size, uint32_t id)
{
    uintptr_t last = (base + size - 1) | unit_mask(SLOT_SHIFT);
    os_lock_acquire(&map->lock);
    clear_locked(map, NULL, SLOT_TOP_SHIFT, base & ~unit_mask(SLOT_SHIFT), last, id);
    os_lock_release(&map->lock);
}

/* ---- get and next ---- */

/* The word that decides about `address`, and how much it stands for. */
static uint32_t look_up(const struct slot_map *map, uintptr_t address, unsigned *shift)
{
    /* Acquire: pairs with the release in store_locked. */
    *shift = SLOT_TOP_SHIFT;
    uint32_t word = atomic_load_explicit(&map->top[top_index(address)], memory_order_acquire);
    if ((word & SLOT_MAP_NODE) != 0) {
        *shift -= SLOT_NODE_SHIFT;
        word = atomic_load_explicit(word_at(map, node_of(map, word), address, *shift),
                                    memory_order_acquire);
    }
    if ((word & SLOT_MAP_NODE) != 0) {
        *shift -= SLOT_NODE_SHIFT;
        word = atomic_load_explicit(word_at(map, node_of(map, word), address, *shift),
                                    memory_order_acquire);
    }
    return (word & SLOT_MAP_NODE) == 0 ? word : 0;
}

uint32_t slot_map_get(const struct slot_map *map, uintptr_t address)
{
    unsigned shift;
    return top_index(address) < map->top_count ? look_up(map, address, &shift) : 0;
}

uint32_t slot_map_next(const struct slot_map *map, uintptr_t *address, uintptr_t end,
                       uintptr_t *last)
{
    for (uintptr_t at = *address; top_index(at) < map->top_count; at = *last + 1) {
        unsigned shift;
        uint32_t id = look_up(map, at, &shift);
        *last = at | unit_mask(shift);
        if (id != 0) {
            *address = at;
            return id;
        }
        if (*last >= end) {
            break;
        }
    }
    return 0;
}

/* ---- check ---- */

/* How many nodes there are in and below `node`; 0 when one of them is wrong. */
static size_t count_nodes(const struct slot_map *map, const struct slot_node *node, unsigned shift)
{
    size_t used = 0, nodes = 1;
    for (size_t i = 0; i < SLOT_NODE_WORDS; i++) {
        uint32_t word = atomic_load_explicit(&node->words[i], memory_order_relaxed);
        used += word != 0;
        if ((word & SLOT_MAP_NODE) != 0) {
            size_t below = shift > SLOT_SHIFT
                               ? count_nodes(map, node_of(map, word), shift - SLOT_NODE_SHIFT)
                               : 0;
            if (below == 0) {
                return 0;
            }
            nodes += below;
        }
    }
    return used != 0 && used == node->used ? nodes : 0;
}

const char *slot_map_check(struct slot_map *map)
{
    size_t nodes = 0;
    for (size_t i = 0; i < map->top_count; i++) {
        uint32_t word = atomic_load_explicit(&map->top[i], memory_order_relaxed);
        if ((word & SLOT_MAP_NODE) != 0) {
            size_t below = count_nodes(map, node_of(map, word), SLOT_TOP_SHIFT - SLOT_NODE_SHIFT);
            if (below == 0) {
                return "a node of the slot map has a wrong count or is empty";
            }
            nodes += below;
        }
    }
    for (uint32_t i = map->free_head; i != 0 && nodes <= map->node_count; nodes++) {
        i = map->nodes[i - 1].next_free;
    }
    return nodes == map->node_count ? NULL : "a node of the slot map is lost";
}
