/* SPDX-License-Identifier: MIT
 *
 * The way of one request, from arguments to table, count and OS. See virtual_memory.h for the
 * rules, region_table.c for why a region is withdrawn before the OS releases it.
 */
#include "core/pages/virtual_memory.h"

os_error virtual_memory_create(struct virtual_memory *memory, const struct os *os,
                               struct budget *budget)
{
    *memory = (struct virtual_memory){.os = os, .table_memory = {.os = os}, .budget = budget};
    return region_table_create(&memory->regions, &memory->table_memory);
}

void virtual_memory_destroy(struct virtual_memory *memory)
{
    region_table_destroy(&memory->regions);
}

/* The whole pages that [address, address + size) touches, as bytes [*begin, *end). False for no
 * range at all: size 0, or past the end of the address space. The OS refuses those. */
static bool whole_pages(const struct os *os, uintptr_t address, size_t size, uintptr_t *begin,
                        uintptr_t *end)
{
    uintptr_t mask = os->page_size - 1;
    uintptr_t last = address + size - 1;
    if (size == 0 || last < address || last > os->max_address) {
        return false;
    }
    *begin = address & ~mask;
    *end = (last & ~mask) + os->page_size;
    return true;
}

/* The pages of a locked region that [address, address + size) touches. A range that leaves the
 * region is cut: the OS refuses it as a whole. */
static bool pages_of(const struct os *os, const struct region_guard *region, uintptr_t address,
                     size_t size, size_t *first, size_t *end)
{
    uintptr_t from, to;
    if (!whole_pages(os, address, size, &from, &to)) {
        return false;
    }
    *first = os_pages(os, from - region->base);
    *end = os_pages(os, to - region->base);
    *end = *end < region->page_count ? *end : region->page_count;
    return true;
}

/* ---- freed behind our back ---- */

/* Whether the OS has `address` in the reservation that starts at `base`; true if it does not say. */
static bool belongs_to(const struct os *os, uintptr_t address, uintptr_t base)
{
    struct os_memory_info info;
    size_t written;
    return os->virtual_query(os, address, &info, sizeof(info), &written) != OS_OK ||
           (info.state != OS_MEM_FREE && info.allocation_base == base);
}

/* Whether the OS no longer has the reservation that the table calls `region`, but nothing, or that of
 * somebody else. A frame of its own, for it is rare. */
static __attribute__((noinline)) bool is_gone(const struct os *os,
                                              const struct region_guard *region)
{
    return !belongs_to(os, region->base, region->base) ||
           !belongs_to(os, region->base + region->size - 1, region->base);
}

/* Take a withdrawn region off every count, and unlock it. */
static void forget(struct virtual_memory *memory, const struct region_guard *region)
{
    size_t committed = region->pages->committed * memory->os->page_size;
    region_table_discard(&memory->regions, region);
    budget_removed(memory->budget, BUDGET_PAGES, region->size, committed);
}

/* The same for one that others have released. */
static void drop(struct virtual_memory *memory, const struct region_guard *region)
{
    atomic_fetch_add_explicit(&memory->freed_behind, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&memory->freed_behind_bytes, region->size, memory_order_relaxed);
    forget(memory, region);
}

/* Drop a locked region that is gone, which unlocks it. False: it is there, and locked. */
static bool drop_if_gone(struct virtual_memory *memory, const struct region_guard *region)
{
    if (!is_gone(memory->os, region)) {
        return false;
    }
    region_table_withdraw(&memory->regions, region);
    drop(memory, region);
    return true;
}

/* Unlock a region after a commit or decommit, and drop it if that failed and it is gone: also when it
 * was the budget that refused, for its charge may be what is missing. */
static void unlock_or_drop(struct virtual_memory *memory, const struct region_guard *region,
                           os_error error)
{
    if (error == OS_OK || !drop_if_gone(memory, region)) {
        region_table_unlock(&memory->regions, region);
    }
}

/* The OS has given [base, base + size) to a new reservation: what the table has there is gone. */
static __attribute__((noinline)) void drop_overlapped(struct virtual_memory *memory, uintptr_t base,
                                                      size_t size)
{
    struct region_guard region;
    while (region_table_lock_overlap(&memory->regions, base, base + size - 1, &region)) {
        region_table_withdraw(&memory->regions, &region);
        drop(memory, &region);
    }
}

/* ---- VirtualAlloc ---- */

/* A new reservation, with all its pages committed or none. */
static os_error reserve(struct virtual_memory *memory, uintptr_t address, size_t size,
                        uint32_t type, uint32_t protect, enum budget_level level, uintptr_t *result)
{
    const struct os *os = memory->os;
    bool commit = (type & OS_MEM_COMMIT) != 0;
    struct region_snapshot region = {.type = type, .protect = protect};
    uintptr_t base, page_begin, end;
    /* Windows rounds the start down to the granularity and the end up to the page. */
    uintptr_t start = address & ~((uintptr_t)os->granularity - 1);
    if (!whole_pages(os, start, size + (address - start), &page_begin, &end) || end <= address) {
        return os->virtual_alloc(os, address, size, type, protect, result);
    }
    region.size = end - start;
    size_t committed = commit ? region.size : 0;

    uint32_t id = region_table_acquire(&memory->regions);
    if (id == 0) {
        return OS_NOT_ENOUGH_MEMORY;
    }
    os_error error = budget_take(memory->budget, region.size, committed, level);
    if (error != OS_OK) {
        goto no_budget;
    }
    error = os->virtual_alloc(os, address, size, type, protect, &base);
    if (error != OS_OK) {
        goto no_memory;
    }
    drop_overlapped(memory, base, region.size);
    /* Counted before anybody can find, and release, the region; not counted when refused, or the
     * peak would show it. */
    budget_added(memory->budget, BUDGET_PAGES, region.size, committed);
    region.base = base;
    error = region_table_publish(&memory->regions, id, &region, commit);
    if (error != OS_OK) {
        goto no_slots; /* what only the address could tell; nobody has seen it yet */
    }
    *result = base;
    return OS_OK;

no_slots:
    if (os->virtual_free(os, base, 0, OS_MEM_RELEASE) != OS_OK) {
        error = HM_BROKEN; /* and this reservation will never be freed */
    }
    budget_removed(memory->budget, BUDGET_PAGES, region.size, committed);
    goto no_budget;
no_memory:
    budget_give_back(memory->budget, region.size, committed);
no_budget:
    region_table_recycle(&memory->regions, id);
    return error;
}

/* Commit pages of a region that the caller has locked. */
static os_error commit_locked(struct virtual_memory *memory, const struct region_guard *region,
                              uintptr_t address, size_t size, uint32_t type, uint32_t protect,
                              enum budget_level level, uintptr_t *result)
{
    const struct os *os = memory->os;
    struct page_change change;
    size_t first, end;
    if (!pages_of(os, region, address, size, &first, &end)) {
        return os->virtual_alloc(os, address, size, type, protect, result);
    }
    struct page_pool *pool = &memory->regions.pool;
    if (!page_set_prepare_mark(region->pages, region->page_count, first, end, pool, &change)) {
        return OS_NOT_ENOUGH_MEMORY;
    }
    if (change.pages == 0) { /* committed again, which costs nothing and promised nothing */
        return os->virtual_alloc(os, address, size, type, protect, result);
    }
    size_t added = change.pages * os->page_size;
    os_error error = budget_take(memory->budget, 0, added, level);
    if (error != OS_OK) {
        page_set_cancel(&change, pool);
        return error;
    }
    error = os->virtual_alloc(os, address, size, type, protect, result);
    if (error != OS_OK) {
        page_set_cancel(&change, pool);
        budget_give_back(memory->budget, 0, added);
        return error;
    }
    budget_added(memory->budget, BUDGET_PAGES, 0, added);
    page_set_apply(region->pages, region->page_count, &change, pool);
    return OS_OK;
}

os_error virtual_memory_alloc(struct virtual_memory *memory, uintptr_t address, size_t size,
                              uint32_t type, uint32_t protect, enum budget_level level,
                              uintptr_t *result)
{
    struct region_guard region;
    bool commits = (type & OS_MEM_COMMIT) != 0;
    uint32_t resets = type & (OS_MEM_RESET | OS_MEM_RESET_UNDO);
    if (resets != 0 && type != OS_MEM_RESET && type != OS_MEM_RESET_UNDO) {
        return OS_INVALID_PARAMETER; /* some systems take it for a commit, and do not make one */
    }
    if ((type & OS_MEM_RESERVE) != 0 || (address == 0 && (commits || resets != 0))) {
        return reserve(memory, address, size, type, protect, level, result);
    }
    if (commits && region_table_lock(&memory->regions, address, &region)) {
        os_error error =
            commit_locked(memory, &region, address, size, type, protect, level, result);
        unlock_or_drop(memory, &region, error);
        return error;
    }
    return memory->os->virtual_alloc(memory->os, address, size, type, protect, result);
}

/* ---- VirtualFree ---- */

/* Give a locked region back. Unlocks it. The arguments leave the OS nothing to refuse, so nobody sees
 * a region come back: either it is gone, or others have released it, or nothing can be trusted. */
static os_error release_locked(struct virtual_memory *memory, const struct region_guard *region,
                               uintptr_t address)
{
    const struct os *os = memory->os;
#ifndef NDEBUG
    if (page_set_check(region->pages, region->page_count) != NULL) {
        region_table_unlock(&memory->regions, region);
        return HM_BROKEN; /* somebody else has written into our tables */
    }
#endif
    region_table_withdraw(&memory->regions, region);
    os_error error = os->virtual_free(os, address, 0, OS_MEM_RELEASE);
    if (error == OS_OK) {
        forget(memory, region);
        return OS_OK;
    }
    /* "Invalid address" is what Windows says of a base at which nothing is reserved, Wine says "invalid
     * parameter", and neither says it of a region that is there: the query would be too late, somebody
     * may have reserved there since. Otherwise it tells, asked while the region is withdrawn, for whoever
     * has the addresses now must not meet it. */
    if (error == OS_INVALID_ADDRESS || error == OS_INVALID_PARAMETER || is_gone(os, region)) {
        drop(memory, region);
        return error;
    }
    region_table_restore(&memory->regions, region);
    region_table_unlock(&memory->regions, region);
    return HM_BROKEN;
}

static os_error decommit_locked(struct virtual_memory *memory, const struct region_guard *region,
                                uintptr_t address, size_t size, uint32_t type)
{
    const struct os *os = memory->os;
    struct page_change change = {0};
    size_t first = 0, end = region->page_count;
    if (size == 0 || pages_of(os, region, address, size, &first, &end)) {
        page_set_prepare_clear(region->pages, region->page_count, first, end, &change);
    }
    os_error error = os->virtual_free(os, address, size, type);
    if (error == OS_OK) {
        size_t removed = change.pages * os->page_size;
        page_set_apply(region->pages, region->page_count, &change, &memory->regions.pool);
        budget_removed(memory->budget, BUDGET_PAGES, 0, removed);
    }
    return error;
}

/* What Windows refuses of any region. A decommit may not wrap around the end of the address space. */
static bool is_refused(uintptr_t address, size_t size, uint32_t type)
{
    return type == OS_MEM_RELEASE
               ? size != 0
               : type != OS_MEM_DECOMMIT || (size != 0 && size - 1 > UINTPTR_MAX - address);
}

os_error virtual_memory_free(struct virtual_memory *memory, uintptr_t address, size_t size,
                             uint32_t type)
{
    struct region_guard region;
    os_error error;
    if (!region_table_lock(&memory->regions, address, &region)) {
        return HM_FOREIGN;
    }
    /* Win32 rounds the address down to its page before it compares. */
    bool at_base = address - region.base < memory->os->page_size;
    if (type == OS_MEM_RELEASE && !at_base) {
        error = HM_FOREIGN; /* nothing of ours starts here */
    } else if (is_refused(address, size, type)) {
        error = OS_INVALID_PARAMETER;
    } else if (type == OS_MEM_RELEASE) {
        return release_locked(memory, &region, address);
    } else {
        error = decommit_locked(memory, &region, address, size, type);
        unlock_or_drop(memory, &region, error);
        return error;
    }
    region_table_unlock(&memory->regions, &region);
    return error;
}

/* ---- reports ---- */

bool virtual_memory_next(struct virtual_memory *memory, uintptr_t address, struct region_info *info)
{
    struct region_guard region;
    while (region_table_next(&memory->regions, address, &info->region)) {
        if (!region_table_lock(&memory->regions, info->region.base, &region)) {
            address = info->region.base + info->region.size; /* released meanwhile */
            continue;
        }
        /* By now another region may be there: what is found under its lock is all of one region. */
        bool found = region.base >= address &&
                     region_table_find(&memory->regions, region.base, &info->region);
        info->committed = region.pages->committed * memory->os->page_size;
        region_table_unlock(&memory->regions, &region);
        if (found) {
            return true;
        }
    }
    return false;
}

/* The MEM_COMMIT bytes that the OS has in [base, base + size). */
static size_t committed_by_os(const struct os *os, uintptr_t base, size_t size)
{
    size_t committed = 0, written;
    uintptr_t at = base, end = base + size;
    struct os_memory_info info;
    while (at < end && os->virtual_query(os, at, &info, sizeof(info), &written) == OS_OK) {
        uintptr_t stop = info.base + info.size < end ? info.base + info.size : end;
        if (info.state == OS_MEM_COMMIT) {
            committed += stop - at;
        }
        at = stop;
    }
    return committed;
}

void virtual_memory_measure(struct virtual_memory *memory, size_t *by_table, size_t *by_os)
{
    struct region_snapshot at = {0};
    struct region_guard region;
    *by_table = 0;
    *by_os = 0;
    while (region_table_next(&memory->regions, at.base + at.size, &at)) {
        if (region_table_lock(&memory->regions, at.base, &region) &&
            !drop_if_gone(memory, &region)) {
            *by_table += region.pages->committed * memory->os->page_size;
            *by_os += committed_by_os(memory->os, region.base, region.size);
            region_table_unlock(&memory->regions, &region);
        }
    }
}

const char *virtual_memory_check(struct virtual_memory *memory)
{
    const char *wrong = budget_check(memory->budget);
    return wrong != NULL
               ? wrong
               : region_table_check(&memory->regions, usage_current(&memory->budget->reserved),
                                    usage_current(&memory->budget->committed[BUDGET_PAGES]));
}
