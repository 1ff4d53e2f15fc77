/* SPDX-License-Identifier: MIT
 *
 * The address space of fake_os.h: the four Win32 functions on a sorted array of reservations. Every
 * check is in the order in which Windows makes it, each with the Win32 error that its NTSTATUS
 * turns into.
 */
#include "support/fake_space.h"

#include <stdlib.h>
#include <string.h>

#ifdef _WIN32
#include <windows.h>
#else
#include <sys/mman.h>
#endif

/* ---- real memory, if a test wants it ---- */

static uintptr_t map_real(size_t size, void **mapping, size_t *mapping_size)
{
    *mapping_size = size + GRANULARITY;
#ifdef _WIN32
    *mapping = VirtualAlloc(NULL, *mapping_size, MEM_RESERVE, PAGE_NOACCESS);
#else
    *mapping =
        mmap(NULL, *mapping_size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    *mapping = *mapping == MAP_FAILED ? NULL : *mapping;
#endif
    return ((uintptr_t)*mapping + GRANULARITY - 1) & ~(GRANULARITY - 1);
}

static void unmap_real(struct fake_region *region)
{
#ifdef _WIN32
    VirtualFree(region->mapping, 0, MEM_RELEASE);
#else
    munmap(region->mapping, region->mapping_size);
#endif
}

/* Pages that come back are zero, as a decommit and a commit make them. */
static void use_real(struct fake_region *region, uintptr_t begin, uintptr_t end, bool usable)
{
    if (region->mapping == NULL) {
        return;
    }
#ifdef _WIN32
    bool done = usable
                    ? VirtualAlloc((void *)begin, end - begin, MEM_COMMIT, PAGE_READWRITE) != NULL
                    : VirtualFree((void *)begin, end - begin, MEM_DECOMMIT);
#else
    bool done =
        (usable || madvise((void *)begin, end - begin, MADV_DONTNEED) == 0) &&
        mprotect((void *)begin, end - begin, usable ? PROT_READ | PROT_WRITE : PROT_NONE) == 0;
#endif
    if (!done) {
        fake_broken("no memory for a region");
    }
}

/* ---- the address space ---- */

static uintptr_t end_of(const struct fake_region *region)
{
    return region->base + region->page_count * PAGE_BYTES;
}

struct fake_region *fake_os_region(const struct fake_os *fake, uintptr_t address)
{
    for (size_t i = 0; i < fake->region_count; i++) {
        if (address >= fake->regions[i]->base && address < end_of(fake->regions[i])) {
            return fake->regions[i];
        }
    }
    return NULL;
}

static bool is_free(const struct fake_os *fake, uintptr_t base, size_t size)
{
    for (size_t i = 0; i < fake->region_count; i++) {
        if (base < end_of(fake->regions[i]) && fake->regions[i]->base < base + size) {
            return false;
        }
    }
    return true;
}

/* The lowest, or highest, free place for `size` bytes; 0 when there is none. */
static uintptr_t place(const struct fake_os *fake, size_t size, bool top_down)
{
    uintptr_t found = 0;
    uintptr_t low = fake->lowest;
    for (size_t i = 0; i <= fake->region_count; i++) {
        bool last = i == fake->region_count;
        /* One past the gap could be 0 at the end of the address space: count from its last byte. */
        uintptr_t high = last ? fake->os.max_address : fake->regions[i]->base - 1;
        if (high >= low && high - low >= size - 1) {
            found = top_down ? (high - size + 1) & ~(GRANULARITY - 1) : low;
            found = found >= low ? found : 0;
            if (found != 0 && !top_down) {
                break;
            }
        }
        if (!last) {
            low = (end_of(fake->regions[i]) + GRANULARITY - 1) & ~(GRANULARITY - 1);
            low = low > fake->lowest ? low : fake->lowest;
        }
    }
    return found;
}

static struct fake_region *insert(struct fake_os *fake, uintptr_t base, size_t size, uint32_t type,
                                  uint32_t protect)
{
    struct fake_region *region = fake_allocate(1, sizeof(*region));
    size_t at = fake->region_count;
    region->base = base;
    region->page_count = size / PAGE_BYTES;
    region->type = type;
    region->protect = protect;
    region->pages = fake_allocate(region->page_count, sizeof(*region->pages));
    fake->regions = realloc(fake->regions, (fake->region_count + 1) * sizeof(*fake->regions));
    for (; at > 0 && fake->regions[at - 1]->base > base; at--) {
        fake->regions[at] = fake->regions[at - 1];
    }
    fake->regions[at] = region;
    fake->region_count++;
    return region;
}

static void erase(struct fake_os *fake, struct fake_region *region)
{
    size_t at = 0;
    while (fake->regions[at] != region) {
        at++;
    }
    fake->region_count--;
    memmove(&fake->regions[at], &fake->regions[at + 1],
            (fake->region_count - at) * sizeof(*fake->regions));
    if (region->mapping != NULL) {
        unmap_real(region);
    }
    free(region->pages);
    free(region);
}

static bool protection_is_valid(uint32_t protect)
{
    uint32_t access = protect & 0xFF;
    return access != 0 && (access & (access - 1)) == 0 && (protect & ~(uint32_t)0x7FF) == 0;
}

static void set_pages(struct fake_region *region, uintptr_t begin, uintptr_t end, uint32_t protect)
{
    for (size_t i = (begin - region->base) / PAGE_BYTES; i < (end - region->base) / PAGE_BYTES;
         i++) {
        region->pages[i] = (uint16_t)protect;
    }
}

/* ---- VirtualAlloc ---- */

static os_error fake_reserve(struct fake_os *fake, uintptr_t address, size_t size, uint32_t type,
                             uint32_t protect, uintptr_t *result)
{
    uintptr_t base = address & ~(GRANULARITY - 1);
    uintptr_t end = (address + size + PAGE_BYTES - 1) & ~(PAGE_BYTES - 1);
    void *mapping = NULL;
    size_t mapping_size = 0;
    if (address == 0 && fake->real_memory) {
        base = map_real(end, &mapping, &mapping_size);
        if (mapping == NULL) {
            return OS_NOT_ENOUGH_MEMORY;
        }
        end += base;
    } else if (address == 0) {
        base = place(fake, end, (type & OS_MEM_TOP_DOWN) != 0);
        if (base == 0) {
            return OS_NOT_ENOUGH_MEMORY;
        }
        end += base;
    } else if (!is_free(fake, base, end - base)) {
        return OS_INVALID_ADDRESS;
    }
    struct fake_region *region = insert(fake, base, end - base, type, protect);
    region->mapping = mapping;
    region->mapping_size = mapping_size;
    if ((type & OS_MEM_COMMIT) != 0) {
        set_pages(region, base, end, protect);
        use_real(region, base, end, true);
    }
    *result = base;
    return OS_OK;
}

static os_error fake_commit(struct fake_os *fake, uintptr_t address, size_t size, uint32_t type,
                            uint32_t protect, uintptr_t *result)
{
    uintptr_t begin = address & ~(PAGE_BYTES - 1);
    uintptr_t end = ((address + size - 1) | (PAGE_BYTES - 1)) + 1;
    struct fake_region *region = fake_os_region(fake, begin);
    if (region == NULL || end > end_of(region)) {
        return OS_INVALID_ADDRESS;
    }
    if ((type & OS_MEM_COMMIT) != 0) {
        set_pages(region, begin, end, protect);
        use_real(region, begin, end, true);
    } else if (fake_os_committed(fake, begin, end - begin) != end - begin) {
        return OS_INVALID_ADDRESS; /* a reset of pages that are not there */
    }
    *result = begin;
    return OS_OK;
}

os_error fake_space_alloc(struct fake_os *fake, uintptr_t address, size_t size, uint32_t type,
                          uint32_t protect, uintptr_t *result)
{
    const uint32_t actions = OS_MEM_COMMIT | OS_MEM_RESERVE | OS_MEM_RESET | OS_MEM_RESET_UNDO;
    const uint32_t known = actions | OS_MEM_TOP_DOWN | FAKE_MEM_WRITE_WATCH;
    const uint32_t resets = type & (OS_MEM_RESET | OS_MEM_RESET_UNDO);
    if ((address != 0 && address < GRANULARITY) || (type & ~known) != 0 || (type & actions) == 0 ||
        (resets != 0 && type != OS_MEM_RESET && type != OS_MEM_RESET_UNDO) ||
        ((type & FAKE_MEM_WRITE_WATCH) != 0 && (type & OS_MEM_RESERVE) == 0) ||
        !protection_is_valid(protect)) {
        return OS_INVALID_PARAMETER;
    }
    if (address > fake->os.max_address || size == 0 || size - 1 > fake->os.max_address - address) {
        return OS_INVALID_PARAMETER;
    }
    if ((type & OS_MEM_RESERVE) != 0 || address == 0) {
        return resets != 0 ? OS_INVALID_PARAMETER
                           : fake_reserve(fake, address, size, type, protect, result);
    }
    return fake_commit(fake, address, size, type, protect, result);
}

/* ---- VirtualFree, VirtualProtect, VirtualQuery ---- */

os_error fake_space_free(struct fake_os *fake, uintptr_t address, size_t size, uint32_t type)
{
    uintptr_t begin = address & ~(PAGE_BYTES - 1);
    if ((type != OS_MEM_DECOMMIT && type != OS_MEM_RELEASE) ||
        (type == OS_MEM_RELEASE && size != 0) || address > fake->os.max_address ||
        (size != 0 && size - 1 > fake->os.max_address - address)) {
        return OS_INVALID_PARAMETER;
    }
    struct fake_region *region = fake_os_region(fake, begin);
    if (region == NULL || (size == 0 && begin != region->base)) {
        return OS_INVALID_ADDRESS;
    }
    if (type == OS_MEM_RELEASE) {
        erase(fake, region);
        return OS_OK;
    }
    uintptr_t end = size == 0 ? end_of(region) : ((address + size - 1) | (PAGE_BYTES - 1)) + 1;
    if (end > end_of(region)) {
        return OS_INVALID_PARAMETER; /* STATUS_UNABLE_TO_FREE_VM */
    }
    set_pages(region, begin, end, 0);
    use_real(region, begin, end, false);
    return OS_OK;
}

os_error fake_space_protect(struct fake_os *fake, uintptr_t address, size_t size, uint32_t protect,
                            uint32_t *old_protect)
{
    uintptr_t begin = address & ~(PAGE_BYTES - 1);
    if (!protection_is_valid(protect) || address > fake->os.max_address || size == 0 ||
        size - 1 > fake->os.max_address - address) {
        return OS_INVALID_PARAMETER;
    }
    uintptr_t end = ((address + size - 1) | (PAGE_BYTES - 1)) + 1;
    struct fake_region *region = fake_os_region(fake, begin);
    if (region == NULL || end > end_of(region) ||
        fake_os_committed(fake, begin, end - begin) != end - begin) {
        return OS_INVALID_ADDRESS;
    }
    *old_protect = region->pages[(begin - region->base) / PAGE_BYTES];
    set_pages(region, begin, end, protect);
    return OS_OK;
}

void fake_space_query(const struct fake_os *fake, uintptr_t begin, struct os_memory_info *info)
{
    const struct fake_region *region = fake_os_region(fake, begin);
    *info = (struct os_memory_info){.base = begin};
    if (region == NULL) {
        uintptr_t last = fake->os.max_address;
        for (size_t i = fake->region_count; i > 0 && fake->regions[i - 1]->base > begin; i--) {
            last = fake->regions[i - 1]->base - 1;
        }
        info->size = last - begin + 1;
        info->state = OS_MEM_FREE;
        info->protect = OS_PAGE_NOACCESS;
        return;
    }
    size_t first = (begin - region->base) / PAGE_BYTES, end = first;
    while (end < region->page_count && region->pages[end] == region->pages[first]) {
        end++;
    }
    info->allocation_base = region->base;
    info->allocation_protect = region->protect;
    info->size = (end - first) * PAGE_BYTES;
    info->state = region->pages[first] != 0 ? OS_MEM_COMMIT : OS_MEM_RESERVE;
    info->protect = region->pages[first];
    info->type = region->foreign ? OS_MEM_MAPPED : FAKE_MEM_PRIVATE;
}

void fake_space_clear(struct fake_os *fake)
{
    while (fake->region_count > 0) {
        erase(fake, fake->regions[fake->region_count - 1]);
    }
    free(fake->regions);
    fake->regions = NULL;
}

/* ---- the oracle ---- */

uintptr_t fake_os_add_foreign(struct fake_os *fake, uintptr_t address, size_t size)
{
    uintptr_t base;
    if (fake_space_alloc(fake, address, size, OS_MEM_RESERVE | OS_MEM_COMMIT, OS_PAGE_READWRITE,
                         &base) != OS_OK) {
        fake_broken("no place for a foreign area");
    }
    fake_os_region(fake, base)->foreign = true;
    return base;
}

void fake_os_forget(struct fake_os *fake, uintptr_t address)
{
    erase(fake, fake_os_region(fake, address));
}

size_t fake_os_committed(const struct fake_os *fake, uintptr_t base, size_t size)
{
    size_t pages = 0;
    for (size_t i = 0; i < fake->region_count; i++) {
        const struct fake_region *region = fake->regions[i];
        uintptr_t from = region->base > base ? region->base : base;
        uintptr_t to = end_of(region) < base + size ? end_of(region) : base + size;
        for (; from < to; from += PAGE_BYTES) {
            pages += region->pages[(from - region->base) / PAGE_BYTES] != 0;
        }
    }
    return pages * PAGE_BYTES;
}

void fake_os_totals(const struct fake_os *fake, size_t *reserved, size_t *committed)
{
    *reserved = 0;
    *committed = 0;
    for (size_t i = 0; i < fake->region_count; i++) {
        const struct fake_region *region = fake->regions[i];
        if (!region->foreign) {
            *reserved += region->page_count * PAGE_BYTES;
            for (size_t page = 0; page < region->page_count; page++) {
                *committed += region->pages[page] != 0 ? PAGE_BYTES : 0;
            }
        }
    }
}

uint64_t fake_os_picture(const struct fake_os *fake)
{
    uint64_t hash = fake->region_count;
    for (size_t i = 0; i < fake->region_count; i++) {
        const struct fake_region *region = fake->regions[i];
        hash = (hash ^ region->base) * UINT64_C(0x100000001B3);
        hash = (hash ^ region->type) * UINT64_C(0x100000001B3);
        hash = (hash ^ region->protect) * UINT64_C(0x100000001B3);
        for (size_t page = 0; page < region->page_count; page++) {
            hash = (hash ^ region->pages[page]) * UINT64_C(0x100000001B3);
        }
    }
    return hash;
}
