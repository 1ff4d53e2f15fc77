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
 * Of two slots, or of a slot and `whole`, a reader may see one as it was and the other as it is. It
 * uses one answer only, and a region is in `whole` or in slots of a GiB, never in both: to read
 * `whole` before it was set and the slot after it was cleared takes a moment between two owners.
 *
 * A leaf is published by compare-and-swap with release after the OS has zeroed it, and stays until
 * the map is destroyed, so a reader that got the pointer may always read through it.
 */
#include "core/slot_map.h"

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
    size_t bytes = count * (sizeof(*map->leaves) + sizeof(*map->whole));
    bytes = (bytes + page - 1) & ~(page - 1);
    void *root = table_memory_map(memory, bytes);
    if (root == NULL) {
        return OS_NOT_ENOUGH_MEMORY;
    }
    map->memory = memory;
    map->root_count = count;
    map->root_bytes = bytes;
    map->leaves = root;
    map->whole = (_Atomic uint32_t *)(map->leaves + count);
    return OS_OK;
}

void slot_map_destroy(struct slot_map *map)
{
    for (size_t i = 0; i < map->root_count; i++) {
        struct slot_leaf *leaf = atomic_load_explicit(&map->leaves[i], memory_order_relaxed);
        if (leaf != NULL) {
            table_memory_release(map->memory, leaf, sizeof(*leaf));
        }
    }
    table_memory_release(map->memory, map->leaves, map->root_bytes);
}

static bool install_leaf(struct slot_map *map, size_t index)
{
    struct slot_leaf *_Atomic *entry = &map->leaves[index];
    struct slot_leaf *expected = NULL;
    struct slot_leaf *leaf;
    if (atomic_load_explicit(entry, memory_order_relaxed) != NULL) {
        return true;
    }
    leaf = table_memory_map(map->memory, sizeof(*leaf));
    if (leaf == NULL) {
        return false;
    }
    /* Release: pairs with the acquire of the leaf in slot_map_get. */
    if (!atomic_compare_exchange_strong_explicit(entry, &expected, leaf, memory_order_release,
                                                 memory_order_relaxed)) {
        table_memory_release(map->memory, leaf, sizeof(*leaf)); /* another thread was first */
    }
    return true;
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
            /* Release: pairs with the acquire in slot_map_get. */
            atomic_store_explicit(&map->whole[i], id, memory_order_release);
            continue;
        }
        struct slot_leaf *leaf = atomic_load_explicit(&map->leaves[i], memory_order_acquire);
        for (size_t slot = first; slot < end; slot++) {
            atomic_store_explicit(&leaf->ids[slot], id, memory_order_release);
        }
    }
}

uint32_t slot_map_get(const struct slot_map *map, uintptr_t address)
{
    size_t index = root_index(address);
    if (index >= map->root_count) {
        return 0;
    }
    /* Acquire: pairs with the releases in slot_map_set and install_leaf. */
    uint32_t id = atomic_load_explicit(&map->whole[index], memory_order_acquire);
    if (id != 0) {
        return id;
    }
    struct slot_leaf *leaf = atomic_load_explicit(&map->leaves[index], memory_order_acquire);
    if (leaf == NULL) {
        return 0;
    }
    return atomic_load_explicit(&leaf->ids[leaf_index(address)], memory_order_acquire);
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
        uint32_t id = atomic_load_explicit(&map->whole[i], memory_order_acquire);
        size_t slot = i == start ? leaf_index(*address) : 0;
        if (id == 0) {
            struct slot_leaf *leaf = atomic_load_explicit(&map->leaves[i], memory_order_acquire);
            slot = leaf == NULL ? LEAF_SLOTS : next_slot(leaf, slot, &id);
        }
        if (id != 0) {
            uintptr_t found = gib + ((uintptr_t)slot << SLOT_SHIFT);
            *address = found > *address ? found : *address;
            return id;
        }
    }
    return 0;
}
