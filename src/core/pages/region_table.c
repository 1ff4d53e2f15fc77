/* SPDX-License-Identifier: MIT
 *
 * Why a lookup needs no lock.
 *
 * A descriptor's seq is odd while it describes a live region, even while it does not, and never the
 * same twice (it wraps after 2^31 reuses of one id, which rests in a first-in-first-out list).
 *
 *   publish   fill base, size … while seq is even;  seq + 1, odd (release);  store the id in the slots
 *   withdraw  clear the slots;  seq + 1, even (release);  only then the OS frees the addresses
 *   find      id from the slot; seq; base and size; seq again
 *
 * Publish and withdraw hold the region's lock. Publish needs it too: a thread that has read the id
 * of an earlier life finds the new one as soon as seq is odd, and if it were let in to release it,
 * the slots would be cleared first and filled afterwards, with an id that stays dead.
 *
 * If seq was odd and did not change, base and size belong to one life of the region and it was
 * alive at the second look, however old the id was. The loads of base and size are acquire loads so
 * that they cannot move behind the second look at seq (a fence would do, but thread sanitizers do
 * not know fences); likewise base and size are stored with release, so that a reader who sees a new
 * value also sees the even seq that was written before it.
 *
 * If seq was even or changed, somebody has withdrawn the region, and because slots are cleared
 * before seq turns even the slot says something new when it is read again: a reader never waits for
 * a thread that is suspended, and each retry means that another thread finished something. The one
 * case where id and seq stay and the address is still outside is the tail of a last slot (a region
 * of 4 KiB owns a slot of 64 KiB): nothing is there.
 *
 * Between withdraw and the OS call the address is "not found" though the OS still has it; the only
 * ones who could notice are racing with the release of memory that they use.
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

os_error region_table_create(struct region_table *table, struct table_memory *memory)
{
    *table = (struct region_table){.memory = memory, .used_count = 1};
    if (slot_map_create(&table->slots, memory) != OS_OK) {
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
    if (slot_map_prepare(&table->slots, snapshot->base, snapshot->size) != OS_OK) {
        page_set_dispose(&region->pages, page_count, &table->pool);
        return OS_NOT_ENOUGH_MEMORY;
    }
    /* Release: pairs with the acquire loads in read_region; see the head of this file. */
    atomic_store_explicit(&region->base, snapshot->base, memory_order_release);
    atomic_store_explicit(&region->size, snapshot->size, memory_order_release);
    atomic_store_explicit(&region->type, snapshot->type, memory_order_release);
    atomic_store_explicit(&region->protect, snapshot->protect, memory_order_release);
    os_lock_acquire(&region->lock);
    bump_seq(region);
    slot_map_set(&table->slots, snapshot->base, snapshot->size, id);
    os_lock_release(&region->lock);
    usage_add(&table->live, 1);
    return OS_OK;
}

void region_table_withdraw(struct region_table *table, const struct region_guard *guard)
{
    slot_map_set(&table->slots, guard->base, guard->size, 0);
    bump_seq(&table->regions[guard->id]);
    usage_subtract(&table->live, 1);
}

void region_table_restore(struct region_table *table, const struct region_guard *guard)
{
    bump_seq(&table->regions[guard->id]);
    slot_map_set(&table->slots, guard->base, guard->size, guard->id);
    usage_add(&table->live, 1);
}

void region_table_discard(struct region_table *table, const struct region_guard *guard)
{
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
    while (id != 0) {
        const struct region *region = &table->regions[id];
        bool live = read_region(region, out, seq);
        if (live && address - out->base < out->size) {
            return id;
        }
        uint32_t again = slot_map_get(&table->slots, address);
        /* Acquire on both loads of the slot keeps this look at seq behind them. */
        if (live && again == id &&
            atomic_load_explicit(&region->seq, memory_order_relaxed) == *seq) {
            return 0; /* the tail of a last slot */
        }
        id = again;
    }
    return 0;
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
        uint32_t id = slot_map_next(&table->slots, &address);
        if (id == 0) {
            return false;
        }
        bool live = read_region(&table->regions[id], region, &seq);
        if (live && region->base == address) {
            return true;
        }
        if (live && region->base > address) {
            continue; /* the id lives elsewhere by now, so the slot has changed: look again */
        }
        /* A region that began below: go on behind it. One that died meanwhile: behind its slot. */
        uintptr_t slot_end = (address | (((uintptr_t)1 << SLOT_SHIFT) - 1)) + 1;
        uintptr_t end = live ? region->base + region->size : slot_end;
        address = end > address ? end : slot_end;
        if (address == 0) {
            return false; /* the last slot of the address space */
        }
    }
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
            *guard = (struct region_guard){
                .id = id,
                .base = snapshot.base,
                .size = snapshot.size,
                .page_count = page_count_of(table, snapshot.size),
                .pages = &region->pages,
            };
            return true;
        }
        os_lock_release(&region->lock);
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
    uintptr_t last = base + size - 1;
    for (uintptr_t slot = base >> SLOT_SHIFT; slot <= last >> SLOT_SHIFT; slot++) {
        if (slot_map_get(&table->slots, slot << SLOT_SHIFT) != id) {
            return false;
        }
    }
    return true;
}

const char *region_table_check(struct region_table *table, size_t reserved, size_t committed)
{
    size_t live = 0, page_size = table->memory->os->page_size;
    struct region_snapshot region = {0};
    uint32_t id, seq;
    for (id = 1; id < table->used_count; id++) {
        if (!read_region(&table->regions[id], &region, &seq)) {
            continue;
        }
        const struct page_set *pages = &table->regions[id].pages;
        const char *fault = page_set_check(pages, page_count_of(table, region.size));
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
    for (uintptr_t at = 0; (id = slot_map_next(&table->slots, &at)) != 0;) {
        if (id >= table->used_count || !read_region(&table->regions[id], &region, &seq) ||
            region.base != at) {
            return "a slot leads to a region that does not exist";
        }
        at = (region.base + region.size - 1) | (((uintptr_t)1 << SLOT_SHIFT) - 1);
        if (++at == 0) {
            break; /* the last slot of the address space */
        }
    }
    if (live != usage_current(&table->live)) {
        return "the count of live regions is not their number";
    }
    if (reserved != 0) {
        return "the reserved bytes are not the sum of the regions";
    }
    return committed == 0 ? NULL : "the committed bytes are not the sum of the pages";
}
