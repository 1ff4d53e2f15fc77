/* SPDX-License-Identifier: MIT
 *
 * See slot_map.h for the shape. The memory order:
 *
 * An id is stored with release and loaded with acquire, so whoever reads an id also sees what its
 * writer did before: the descriptor, filled and its seq odd.
 *
 * The clear of a slot, and the store of the next owner's id into it, come from different threads.
 * They are ordered by the OS: the clear comes before the release of the addresses, the store after
 * the reservation that got them, and the kernel gives an address away only after it has taken it
 * back. So the last value of a slot is that of its last owner, and no clear can hit a successor.
 *
 * Of two slots, or of a slot and its word, a reader may see one as it was and the other as it is. It
 * uses one answer only, and a region is in the words of the root or in the slots of a leaf of a GiB,
 * never in both: to read the word before the id was written there and the slot after it was cleared
 * takes a moment between two owners.
 *
 * A word's mark for its leaf is set with release after the OS has committed it as zeros, and stays
 * until the map is destroyed, so a reader that saw the mark may always read the leaf.
 */
#include "core/pages/slot_map.h"

/* Address bits that a root may span: the root of a 57-bit machine would be 1.5 GiB. */
#define MAX_ADDRESS_BITS 48

static size_t root_index(uintptr_t address)
{
    return (size_t)(address >> LEAF_SHIFT);
}

static size_t leaf_index(uintptr_t address)
{
    return (size_t)(address >> SLOT_SHIFT) & (LEAF_SLOTS - 1);
}

os_error slot_map_create(struct slot_map *map, struct table_memory *memory)
{
    uintptr_t last = memory->os->max_address;
#if UINTPTR_MAX > UINT32_MAX
    if (last >> MAX_ADDRESS_BITS != 0) {
        last = ((uintptr_t)1 << MAX_ADDRESS_BITS) - 1;
    }
#endif
    size_t count = root_index(last) + 1;
    size_t page = memory->os->page_size;
    size_t bytes = (count * sizeof(*map->root) + page - 1) & ~(page - 1);
    *map = (struct slot_map){.memory = memory, .root_count = count, .root_bytes = bytes};
    map->leaves = table_memory_reserve(memory, count * sizeof(*map->leaves));
    map->root = map->leaves == NULL ? NULL : table_memory_map(memory, bytes);
    if (map->root == NULL) {
        slot_map_destroy(map);
        return OS_NOT_ENOUGH_MEMORY;
    }
    return OS_OK;
}

void slot_map_destroy(struct slot_map *map)
{
    size_t leaves = 0;
    for (size_t i = 0; map->root != NULL && i < map->root_count; i++) {
        leaves += (atomic_load_explicit(&map->root[i], memory_order_relaxed) & SLOT_MAP_LEAF) != 0;
    }
    if (map->root != NULL) {
        table_memory_release(map->memory, map->root, map->root_bytes);
    }
    if (map->leaves != NULL) {
        table_memory_release(map->memory, map->leaves, leaves * sizeof(*map->leaves));
    }
}

static bool install_leaf(struct slot_map *map, size_t index)
{
    _Atomic uint32_t *word = &map->root[index];
    if ((atomic_load_explicit(word, memory_order_relaxed) & SLOT_MAP_LEAF) != 0) {
        return true;
    }
    if (!table_memory_commit(map->memory, &map->leaves[index], sizeof(map->leaves[index]))) {
        return false;
    }
    /* Release: pairs with the acquire of the word in slot_map_get. */
    uint32_t before = atomic_fetch_or_explicit(word, SLOT_MAP_LEAF, memory_order_release);
    if ((before & SLOT_MAP_LEAF) != 0) {
        /* Another thread was first. Pages that are committed twice are committed once. */
        usage_subtract(&map->memory->committed, sizeof(map->leaves[index]));
    }
    return true;
}

/* Write `id` into a word, whose mark others may be setting. */
static void set_word(_Atomic uint32_t *word, uint32_t id)
{
    uint32_t before = atomic_load_explicit(word, memory_order_relaxed);
    /* Release: pairs with the acquire in slot_map_get. */
    while (!atomic_compare_exchange_weak_explicit(word, &before, (before & SLOT_MAP_LEAF) | id,
                                                  memory_order_release, memory_order_relaxed)) {
    }
}

/* The part of [base, base + size) in the GiB `index`, as slots [first, end) of its leaf. */
static void slots_in(size_t index, uintptr_t base, uintptr_t last, size_t *first, size_t *end)
{
    *first = index == root_index(base) ? leaf_index(base) : 0;
    *end = index == root_index(last) ? leaf_index(last) + 1 : LEAF_SLOTS;
}

os_error slot_map_prepare(struct slot_map *map, uintptr_t base, size_t size)
{
    uintptr_t last = base + size - 1;
    if (root_index(last) >= map->root_count) {
        return OS_NOT_ENOUGH_MEMORY;
    }
    for (size_t i = root_index(base); i <= root_index(last); i++) {
        size_t first, end;
        slots_in(i, base, last, &first, &end);
        if (end - first < LEAF_SLOTS && !install_leaf(map, i)) {
            return OS_NOT_ENOUGH_MEMORY;
        }
    }
    return OS_OK;
}

void slot_map_set(struct slot_map *map, uintptr_t base, size_t size, uint32_t id)
{
    uintptr_t last = base + size - 1;
    for (size_t i = root_index(base); i <= root_index(last); i++) {
        size_t first, end;
        slots_in(i, base, last, &first, &end);
        if (end - first == LEAF_SLOTS) {
            set_word(&map->root[i], id);
            continue;
        }
        for (size_t slot = first; slot < end; slot++) {
            /* Release: pairs with the acquire in slot_map_get. */
            atomic_store_explicit(&map->leaves[i].ids[slot], id, memory_order_release);
        }
    }
}

uint32_t slot_map_get(const struct slot_map *map, uintptr_t address)
{
    size_t index = root_index(address);
    if (index >= map->root_count) {
        return 0;
    }
    /* Acquire: pairs with the releases in set_word, slot_map_set and install_leaf. */
    uint32_t word = atomic_load_explicit(&map->root[index], memory_order_acquire);
    if (word != SLOT_MAP_LEAF) {
        return word & SLOT_MAP_MAX_ID;
    }
    return atomic_load_explicit(&map->leaves[index].ids[leaf_index(address)], memory_order_acquire);
}

/* The first slot of `leaf` from `slot` on that has an id; LEAF_SLOTS for none. */
static size_t next_slot(const struct slot_leaf *leaf, size_t slot, uint32_t *id)
{
    for (; slot < LEAF_SLOTS; slot++) {
        *id = atomic_load_explicit(&leaf->ids[slot], memory_order_acquire);
        if (*id != 0) {
            break;
        }
    }
    return slot;
}

uint32_t slot_map_next(const struct slot_map *map, uintptr_t *address)
{
    size_t start = root_index(*address);
    for (size_t i = start; i < map->root_count; i++) {
        uintptr_t gib = (uintptr_t)i << LEAF_SHIFT;
        uint32_t word = atomic_load_explicit(&map->root[i], memory_order_acquire);
        uint32_t id = word & SLOT_MAP_MAX_ID;
        size_t slot = i == start ? leaf_index(*address) : 0;
        if (word == SLOT_MAP_LEAF) {
            slot = next_slot(&map->leaves[i], slot, &id);
        }
        if (id != 0) {
            uintptr_t found = gib + ((uintptr_t)slot << SLOT_SHIFT);
            *address = found > *address ? found : *address;
            return id;
        }
    }
    return 0;
}
