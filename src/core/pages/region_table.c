/* SPDX-License-Identifier: MIT
 *
 * Why a lookup needs no lock.
 *
 * A descriptor's seq is odd while it describes a live region, even while it does not, and never the
 * same twice (it wraps after 2^31 reuses of one id, which rests in a first-in-first-out list).
 *
 *   publish   fill base, size … while seq is even;  store the id in the slots;  seq + 1, odd
 *   withdraw  seq + 1, even;  only then the OS frees the addresses
 *   restore   seq + 1, odd: the OS has refused
 *   discard   clear the slots;  only then the id can be used again
 *   find      id from the slot; seq; base and size; seq again
 *
 * So the change of seq is the one moment at which a region comes or goes. From before the one to after
 * the other its id stands in its slots, and slots change when nobody can find it: publish can fail
 * without anybody having seen it, and restore has nothing to do that could fail. A thread that has
 * read the id of an earlier life and finds the new one can lock it and release it like any other.
 * Withdraw, restore and discard happen under the region's lock.
 *
 * If seq was odd and did not change, base and size belong to one life of the region and it was
 * alive at the second look, however old the id was. The loads of base and size are acquire loads so
 * that they cannot move behind the second look at seq (a fence would do, but thread sanitizers do
 * not know fences); likewise base and size are stored with release, so that a reader who sees a new
 * value also sees the even seq that was written before it.
 *
 * In any other case there is nothing at the address, and find says so without a second try. When it
 * read the slot, the region with this id was the only one that could be there. Either it was not, or it
 * was there and has been withdrawn since, for its id or its seq now mean something else; then there was
 * a moment at which nothing was there, because the OS gives the addresses to nobody before. Slots are
 * cleared before the id is used again, so a new life cannot stand in the slots of the last one. What a
 * reader finds who was left behind in a part of the map that has gone: slot_map.c.
 *
 * Between withdraw and the OS call the address is "not found" though the OS still has it; the only
 * ones who could notice are racing with the release of memory that they use. Discard comes after the OS
 * call, when the addresses may already have a successor in the table: clear leaves its slots alone.
 *
 * tests/model/slot_map.pml is this file and slot_map.c as a model: all interleavings are walked
 * through, and each of the orders above is shown to be needed.
 */
#include "core/pages/region_table.h"

#include <assert.h>

#define CACHE_LINE 64

struct region {
    _Alignas(CACHE_LINE) _Atomic uint32_t seq;
    struct os_lock lock;
    _Atomic uintptr_t base;
    _Atomic size_t size;
    _Atomic uint32_t type;
    _Atomic uint32_t protect;
    union {
        struct page_set pages; /* of a live region; guarded by `lock` */
        uint32_t next_free;    /* of one that is none; guarded by free_lock */
    };
};

_Static_assert(sizeof(struct region) == CACHE_LINE, "one cache line per region");

#if UINTPTR_MAX > UINT32_MAX
#define MAX_REGIONS ((size_t)1 << 22)
#else
#define MAX_REGIONS ((size_t)1 << 16) /* 4 GiB of 64 KiB slots */
#endif
#define GROW_BY ((size_t)1024) /* ids committed at a time: 64 KiB */

static size_t page_count_of(const struct region_table *table, size_t size)
{
    return os_pages(table->memory->os, size);
}

/* Of an id in the slot map. Its descriptor does not change before it has left the map. */
static void region_range(const void *owner, uint32_t id, uintptr_t *first, uintptr_t *last)
{
    const struct region *region = &((const struct region_table *)owner)->regions[id];
    *first = atomic_load_explicit(&region->base, memory_order_relaxed);
    *last = *first + atomic_load_explicit(&region->size, memory_order_relaxed) - 1;
}

os_error region_table_create(struct region_table *table, struct table_memory *memory)
{
    *table = (struct region_table){.memory = memory, .used_count = 1};
    if (slot_map_create(&table->slots, memory, region_range, table) != OS_OK) {
        return OS_NOT_ENOUGH_MEMORY;
    }
    if (page_pool_create(&table->pool, memory) != OS_OK) {
        slot_map_destroy(&table->slots);
        return OS_NOT_ENOUGH_MEMORY;
    }
    table->regions = table_memory_reserve(memory, MAX_REGIONS * sizeof(*table->regions));
    if (table->regions == NULL) {
        region_table_destroy(table);
        return OS_NOT_ENOUGH_MEMORY;
    }
    return OS_OK;
}

static bool is_live(const struct region *region)
{
    return (atomic_load_explicit(&region->seq, memory_order_relaxed) & 1) != 0;
}

void region_table_destroy(struct region_table *table)
{
    for (uint32_t id = 1; id < table->used_count; id++) {
        struct region *region = &table->regions[id];
        size_t size = atomic_load_explicit(&region->size, memory_order_relaxed);
        if (is_live(region)) {
            page_set_dispose(&region->pages, page_count_of(table, size), &table->pool);
        }
    }
    if (table->regions != NULL) {
        table_memory_release(table->memory, table->regions,
                             table->region_count * sizeof(*table->regions));
    }
    page_pool_destroy(&table->pool);
    slot_map_destroy(&table->slots);
}

/* ---- ids ---- */

static bool grow_locked(struct region_table *table)
{
    if (table->region_count + GROW_BY > MAX_REGIONS ||
        !table_memory_commit(table->memory, &table->regions[table->region_count],
                             GROW_BY * sizeof(*table->regions))) {
        return false;
    }
    table->region_count += GROW_BY;
    return true;
}

uint32_t region_table_acquire(struct region_table *table)
{
    uint32_t id = 0;
    os_lock_acquire(&table->free_lock);
    if (table->free_head != 0) {
        id = table->free_head;
        table->free_head = table->regions[id].next_free;
        table->free_tail = table->free_head == 0 ? 0 : table->free_tail;
    } else if (table->used_count < table->region_count || grow_locked(table)) {
        id = table->used_count++;
    }
    os_lock_release(&table->free_lock);
    return id;
}

void region_table_recycle(struct region_table *table, uint32_t id)
{
    os_lock_acquire(&table->free_lock);
    table->regions[id].next_free = 0;
    if (table->free_tail != 0) {
        table->regions[table->free_tail].next_free = id;
    } else {
        table->free_head = id;
    }
    table->free_tail = id;
    os_lock_release(&table->free_lock);
}

/* ---- publish and withdraw ---- */

static void bump_seq(struct region *region)
{
    uint32_t seq = atomic_load_explicit(&region->seq, memory_order_relaxed);
    /* Release: whoever sees the new seq sees what was written, or cleared, before it. */
    atomic_store_explicit(&region->seq, seq + 1, memory_order_release);
}

os_error region_table_publish(struct region_table *table, uint32_t id,
                              const struct region_snapshot *snapshot, bool committed)
{
    struct region *region = &table->regions[id];
    size_t page_count = page_count_of(table, snapshot->size);
    if (!page_set_init(&region->pages, page_count, committed, &table->pool)) {
        return OS_NOT_ENOUGH_MEMORY;
    }
    /* Release: pairs with the acquire loads in read_region; see the head of this file. */
    atomic_store_explicit(&region->base, snapshot->base, memory_order_release);
    atomic_store_explicit(&region->size, snapshot->size, memory_order_release);
    atomic_store_explicit(&region->type, snapshot->type, memory_order_release);
    atomic_store_explicit(&region->protect, snapshot->protect, memory_order_release);
    if (slot_map_set(&table->slots, snapshot->base, snapshot->size, id) != OS_OK) {
        page_set_dispose(&region->pages, page_count, &table->pool);
        return OS_NOT_ENOUGH_MEMORY;
    }
    usage_add(&table->live, 1);
    bump_seq(region);
    return OS_OK;
}

void region_table_withdraw(struct region_table *table, const struct region_guard *guard)
{
    bump_seq(&table->regions[guard->id]);
    usage_subtract(&table->live, 1);
}

void region_table_restore(struct region_table *table, const struct region_guard *guard)
{
    bump_seq(&table->regions[guard->id]);
    usage_add(&table->live, 1);
}

void region_table_discard(struct region_table *table, const struct region_guard *guard)
{
    slot_map_clear(&table->slots, guard->base, guard->size, guard->id);
    page_set_dispose(guard->pages, guard->page_count, &table->pool);
    region_table_unlock(table, guard);
    region_table_recycle(table, guard->id);
}

/* ---- lookup ---- */

/* Read one live incarnation of a descriptor. False when it is not live or changed meanwhile. */
static bool read_region(const struct region *region, struct region_snapshot *out, uint32_t *seq)
{
    /* Acquire: pairs with the release in bump_seq. The data loads are acquire so that the second
     * look at seq stays behind them. */
    *seq = atomic_load_explicit(&region->seq, memory_order_acquire);
    out->base = atomic_load_explicit(&region->base, memory_order_acquire);
    out->size = atomic_load_explicit(&region->size, memory_order_acquire);
    out->type = atomic_load_explicit(&region->type, memory_order_acquire);
    out->protect = atomic_load_explicit(&region->protect, memory_order_acquire);
    return (*seq & 1) != 0 && atomic_load_explicit(&region->seq, memory_order_relaxed) == *seq;
}

/* The live region that contains `address`: its id and seq, and a snapshot. 0 for none. */
static uint32_t find_id(const struct region_table *table, uintptr_t address,
                        struct region_snapshot *out, uint32_t *seq)
{
    uint32_t id = slot_map_get(&table->slots, address);
    bool found =
        id != 0 && read_region(&table->regions[id], out, seq) && address - out->base < out->size;
    return found ? id : 0;
}

bool region_table_find(const struct region_table *table, uintptr_t address,
                       struct region_snapshot *region)
{
    uint32_t seq = 0;
    return find_id(table, address, region, &seq) != 0;
}

bool region_table_next(const struct region_table *table, uintptr_t address,
                       struct region_snapshot *region)
{
    for (;;) {
        uint32_t seq;
        uintptr_t last;
        uint32_t id = slot_map_next(&table->slots, &address, UINTPTR_MAX, &last);
        if (id == 0) {
            return false;
        }
        bool live = read_region(&table->regions[id], region, &seq);
        if (live && region->base >= address && region->base <= last) {
            return true;
        }
        /* None begins in this part of the map: one that began below, or that died or moved meanwhile.
         * Go on behind it. */
        if (live && address - region->base < region->size &&
            region->base + region->size - 1 > last) {
            last = region->base + region->size - 1;
        }
        if (last == UINTPTR_MAX) {
            return false;
        }
        address = last + 1;
    }
}

static struct region_guard guard_of(const struct region_table *table, uint32_t id,
                                    const struct region_snapshot *snapshot)
{
    return (struct region_guard){
        .id = id,
        .base = snapshot->base,
        .size = snapshot->size,
        .page_count = page_count_of(table, snapshot->size),
        .pages = &table->regions[id].pages,
    };
}

bool region_table_lock(struct region_table *table, uintptr_t address, struct region_guard *guard)
{
    struct region_snapshot snapshot;
    uint32_t seq = 0;
    for (;;) {
        uint32_t id = find_id(table, address, &snapshot, &seq);
        if (id == 0) {
            return false;
        }
        struct region *region = &table->regions[id];
        os_lock_acquire(&region->lock);
        /* Only the holder of the lock turns seq, so this settles whether it is the same life. */
        if (atomic_load_explicit(&region->seq, memory_order_acquire) == seq) {
            *guard = guard_of(table, id, &snapshot);
            return true;
        }
        os_lock_release(&region->lock);
    }
}

static bool overlaps(const struct region_snapshot *region, uintptr_t first, uintptr_t last)
{
    return region->base <= last && region->base + region->size - 1 >= first;
}

/* By id and not by address: the address may lead to another region by now. */
bool region_table_lock_overlap(struct region_table *table, uintptr_t first, uintptr_t last,
                               struct region_guard *guard)
{
    struct region_snapshot snapshot;
    uintptr_t part_last;
    for (uintptr_t at = first;; at = part_last + 1) {
        uint32_t seq, id = slot_map_next(&table->slots, &at, last, &part_last);
        if (id == 0) {
            return false;
        }
        struct region *region = &table->regions[id];
        /* One that is withdrawn is on its way out and not waited for: its thread may be suspended. */
        if (read_region(region, &snapshot, &seq) && overlaps(&snapshot, first, last)) {
            os_lock_acquire(&region->lock);
            if (read_region(region, &snapshot, &seq) && overlaps(&snapshot, first, last)) {
                *guard = guard_of(table, id, &snapshot);
                return true;
            }
            os_lock_release(&region->lock);
        }
        if (part_last >= last) {
            return false;
        }
    }
}

void region_table_unlock(struct region_table *table, const struct region_guard *guard)
{
    os_lock_release(&table->regions[guard->id].lock);
}

/* ---- check ---- */

/* Every slot of the region leads back to it. */
static bool slots_lead_to(const struct region_table *table, uint32_t id, uintptr_t base,
                          size_t size)
{
    uintptr_t last = base + size - 1, part_last;
    for (uintptr_t at = base;; at = part_last + 1) {
        uintptr_t part = at;
        if (slot_map_next(&table->slots, &at, last, &part_last) != id || at != part) {
            return false;
        }
        if (part_last >= last) {
            return true;
        }
    }
}

const char *region_table_check(struct region_table *table, size_t reserved, size_t committed)
{
    size_t live = 0, page_size = table->memory->os->page_size;
    struct region_snapshot region = {0};
    const char *fault;
    uint32_t id, seq;
    for (id = 1; id < table->used_count; id++) {
        if (!read_region(&table->regions[id], &region, &seq)) {
            continue;
        }
        const struct page_set *pages = &table->regions[id].pages;
        fault = page_set_check(pages, page_count_of(table, region.size));
        if (fault != NULL) {
            return fault;
        }
        if (region.base % table->memory->os->granularity != 0 || region.size % page_size != 0) {
            return "a region is not aligned";
        }
        if (!slots_lead_to(table, id, region.base, region.size)) {
            return "a slot does not lead to its region";
        }
        live++;
        reserved -= region.size;
        committed -= pages->committed * page_size;
    }
    fault = slot_map_check(&table->slots);
    if (fault != NULL) {
        return fault;
    }
    for (uintptr_t at = 0, last;
         (id = slot_map_next(&table->slots, &at, UINTPTR_MAX, &last)) != 0;) {
        if (id >= table->used_count || !read_region(&table->regions[id], &region, &seq) ||
            region.base > last || region.base + region.size - 1 < at) {
            return "a slot leads to a region that does not exist";
        }
        if (last == UINTPTR_MAX) {
            break;
        }
        at = last + 1;
    }
    if (live != usage_current(&table->live)) {
        return "the count of live regions is not their number";
    }
    if (reserved != 0) {
        return "the reserved bytes are not the sum of the regions";
    }
    return committed == 0 ? NULL : "the committed bytes are not the sum of the pages";
}
