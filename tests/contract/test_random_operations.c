/* SPDX-License-Identifier: MIT
 *
 * A million random operations on up to 96 regions through the interface, against a model so simple
 * that it tells the truth: one array entry per page. Result, error and figures are compared at
 * once, and now and then all regions with what VirtualQuery says. The seed is printed; HOSTMEM_SEED
 * repeats a run.
 */
#include "contract/contract.h"

#include <stdlib.h>

enum {
    OPERATIONS = 1000000,
    REGIONS = 96,
    MAX_PAGES = 70, /* more than one granule, and odd sizes */
    OPERATIONS_PER_WALK = 2500
};

struct model_region {
    char *base; /* NULL: not reserved */
    unsigned pages;
    DWORD protects[MAX_PAGES]; /* 0: reserved only */
};

static struct model_region regions[REGIONS];
static IHostMemoryManager *manager;
static IHostMemoryStatistics *statistics;
static uint32_t random_state;
static unsigned operation;
static UINT64 committed_pages, reserved_pages, live_regions, refused;

static unsigned below(unsigned limit)
{
    return next_random(&random_state) % limit;
}

#define EXPECT(condition)                                                                          \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fail_at(__FILE__, __LINE__, "operation %u: %s", operation, #condition);                \
        }                                                                                          \
    } while (0)

/* ---- the model ---- */

static DWORD random_protect(void)
{
    static const DWORD protects[] = {PAGE_READWRITE, PAGE_READWRITE, PAGE_READONLY,
                                     PAGE_EXECUTE_READWRITE, PAGE_NOACCESS};
    return protects[below(5)];
}

static void set_page(struct model_region *region, unsigned page, DWORD protect)
{
    committed_pages += (UINT64)(protect != 0) - (UINT64)(region->protects[page] != 0);
    region->protects[page] = protect;
}

/* A range of bytes in or near a region, and the pages it touches. */
struct range {
    SIZE_T offset;
    SIZE_T size;
    unsigned first;
    unsigned end;
    bool inside;
};

static struct range random_range(const struct model_region *region)
{
    struct range range = {.offset = below(region->pages * 4096), .size = 1 + below(12 * 4096)};
    if (below(2) == 0) { /* whole pages */
        range.offset &= ~(PAGE - 1);
        range.size = (range.size + PAGE - 1) & ~(PAGE - 1);
    }
    if (below(8) == 0) { /* all of it */
        range.offset = 0;
        range.size = region->pages * PAGE;
    }
    range.first = (unsigned)(range.offset / PAGE);
    range.end = (unsigned)((range.offset + range.size + PAGE - 1) / PAGE);
    range.inside = range.end <= region->pages;
    return range;
}

/* ---- operations ---- */

static void do_reserve(struct model_region *region)
{
    bool commit = below(4) == 0;
    DWORD protect = random_protect();
    void *memory = POISON_POINTER;
    *region = (struct model_region){.pages = 1 + below(MAX_PAGES)};
    SIZE_T size = region->pages * PAGE - below(4096);
    HRESULT hr = IHostMemoryManager_VirtualAlloc(manager, NULL, size,
                                                 commit ? MEM_RESERVE | MEM_COMMIT : MEM_RESERVE,
                                                 protect, (EMemoryCriticalLevel)below(3), &memory);
    EXPECT(hr == S_OK && memory != NULL && memory != POISON_POINTER);
    EXPECT((uintptr_t)memory % GRANULARITY == 0);
    region->base = memory;
    reserved_pages += region->pages;
    live_regions++;
    for (unsigned page = 0; commit && page < region->pages; page++) {
        set_page(region, page, protect);
    }
}

static void do_release(struct model_region *region)
{
    EXPECT(IHostMemoryManager_VirtualFree(manager, region->base, 0, MEM_RELEASE) == S_OK);
    for (unsigned page = 0; page < region->pages; page++) {
        set_page(region, page, 0);
    }
    reserved_pages -= region->pages;
    live_regions--;
    region->base = NULL;
}

static void do_commit(struct model_region *region)
{
    struct range range = random_range(region);
    DWORD protect = random_protect();
    void *memory = POISON_POINTER;
    SetLastError(MARKER);
    HRESULT hr = IHostMemoryManager_VirtualAlloc(manager, region->base + range.offset, range.size,
                                                 MEM_COMMIT, protect, eTaskCritical, &memory);
    if (range.inside) {
        EXPECT(hr == S_OK && memory == region->base + range.first * PAGE);
        EXPECT(GetLastError() == MARKER);
        for (unsigned page = range.first; page < range.end; page++) {
            set_page(region, page, protect);
        }
    } else {
        EXPECT(hr == HRESULT_FROM_WIN32(ERROR_INVALID_ADDRESS) && memory == NULL);
        EXPECT(GetLastError() == ERROR_INVALID_ADDRESS);
    }
}

static void do_decommit(struct model_region *region)
{
    struct range range = random_range(region);
    if (below(10) == 0) { /* size 0 at the base: the whole region */
        range = (struct range){.end = region->pages, .inside = true};
    }
    HRESULT hr = IHostMemoryManager_VirtualFree(manager, region->base + range.offset, range.size,
                                                MEM_DECOMMIT);
    EXPECT((hr == S_OK) == range.inside);
    EXPECT(hr == S_OK || HRESULT_FACILITY(hr) == FACILITY_WIN32);
    for (unsigned page = range.first; range.inside && page < range.end; page++) {
        set_page(region, page, 0);
    }
}

static void do_protect(struct model_region *region)
{
    struct range range = random_range(region);
    DWORD protect = random_protect(), old = POISON_DWORD;
    bool committed = range.inside;
    for (unsigned page = range.first; committed && page < range.end; page++) {
        committed = region->protects[page] != 0;
    }
    HRESULT hr = IHostMemoryManager_VirtualProtect(manager, region->base + range.offset, range.size,
                                                   protect, &old);
    EXPECT((hr == S_OK) == committed);
    EXPECT(old == (committed ? region->protects[range.first] : POISON_DWORD));
    for (unsigned page = range.first; committed && page < range.end; page++) {
        set_page(region, page, protect);
    }
}

static void do_wrong_call(struct model_region *region)
{
    HRESULT hr = S_OK;
    switch (below(3)) {
    case 0: /* release inside */
        if (region->pages > 1) {
            hr = IHostMemoryManager_VirtualFree(
                manager, region->base + PAGE + below((region->pages - 1) * 4096), 0, MEM_RELEASE);
            EXPECT(hr == HOST_E_INVALIDOPERATION);
            refused++;
        }
        break;
    case 1: /* release with a size */
        hr = IHostMemoryManager_VirtualFree(manager, region->base, region->pages * PAGE,
                                            MEM_RELEASE);
        EXPECT(hr == HRESULT_FROM_WIN32(ERROR_INVALID_PARAMETER));
        break;
    default: /* no such protection */
    {
        void *memory = POISON_POINTER;
        hr = IHostMemoryManager_VirtualAlloc(manager, region->base, PAGE, MEM_COMMIT, 3,
                                             eTaskCritical, &memory);
        EXPECT(hr == HRESULT_FROM_WIN32(ERROR_INVALID_PARAMETER) && memory == NULL);
        break;
    }
    }
}

/* ---- comparison ---- */

static void compare_figures(void)
{
    HOSTMEM_STATISTICS now = {.Size = sizeof(now)};
    EXPECT(IHostMemoryStatistics_GetStatistics(statistics, &now) == S_OK);
    EXPECT(now.CommitCurrentBytes == committed_pages * PAGE);
    EXPECT(now.ReserveCurrentBytes == reserved_pages * PAGE);
    EXPECT(now.RegionsCurrent == live_regions);
    EXPECT(now.ForeignVirtualFree == refused);
}

static void compare_region(const struct model_region *region)
{
    for (unsigned page = 0; page < region->pages;) {
        MEMORY_BASIC_INFORMATION info;
        SIZE_T written = POISON_SIZE;
        DWORD protect = region->protects[page];
        EXPECT(IHostMemoryManager_VirtualQuery(manager, region->base + page * PAGE, &info,
                                               sizeof(info), &written) == S_OK);
        EXPECT(written == sizeof(info) && info.AllocationBase == region->base);
        EXPECT(info.State == (protect != 0 ? (DWORD)MEM_COMMIT : (DWORD)MEM_RESERVE));
        EXPECT(info.Protect == protect);
        unsigned end = page + (unsigned)(info.RegionSize / PAGE);
        EXPECT(end <= region->pages);
        for (; page < end; page++) {
            EXPECT(region->protects[page] == protect);
        }
    }
}

static void compare_everything(void)
{
    HOSTMEM_REGION listed[REGIONS + 1];
    UINT32 count = 0, found = 0;
    compare_figures();
    EXPECT(IHostMemoryStatistics_GetRegions(statistics, 0, REGIONS + 1, listed, &count) == S_OK);
    EXPECT(count == live_regions);
    for (unsigned i = 0; i < REGIONS; i++) {
        if (regions[i].base == NULL) {
            continue;
        }
        UINT64 committed = 0;
        compare_region(&regions[i]);
        for (unsigned page = 0; page < regions[i].pages; page++) {
            committed += regions[i].protects[page] != 0 ? PAGE : 0;
        }
        for (UINT32 j = 0; j < count; j++) {
            if (listed[j].Base == (uintptr_t)regions[i].base) {
                EXPECT(listed[j].Size == regions[i].pages * PAGE);
                EXPECT(listed[j].CommittedBytes == committed);
                found++;
            }
        }
    }
    EXPECT(found == count);
    EXPECT_EXACT_COMMIT(manager);
}

static void a_million_operations_agree_with_the_model(void **state)
{
    char text[32] = "";
    manager = *state;
    EXPECT_OK(IHostMemoryManager_QueryInterface(manager, &IID_IHostMemoryStatistics,
                                                (void **)&statistics));
    DWORD length = GetEnvironmentVariableA("HOSTMEM_SEED", text, sizeof(text));
    uint32_t seed = length > 0 && length < sizeof(text) ? (uint32_t)strtoul(text, NULL, 0)
                                                        : GetTickCount() * 2654435761u;
    seed = seed != 0 ? seed : 1;
    print_message("HOSTMEM_SEED=%lu\n", (unsigned long)seed);
    random_state = seed;

    for (operation = 0; operation < OPERATIONS; operation++) {
        struct model_region *region = &regions[below(REGIONS)];
        unsigned choice = below(100);
        if (region->base == NULL) {
            do_reserve(region);
        } else if (choice < 4) {
            do_release(region);
        } else if (choice < 42) {
            do_commit(region);
        } else if (choice < 70) {
            do_decommit(region);
        } else if (choice < 92) {
            do_protect(region);
        } else {
            do_wrong_call(region);
        }
        if (operation % 16 == 0) {
            compare_figures();
        }
        if (operation % OPERATIONS_PER_WALK == 0) {
            compare_everything();
        }
    }
    compare_everything();
    for (unsigned i = 0; i < REGIONS; i++) {
        if (regions[i].base != NULL) {
            do_release(&regions[i]);
        }
    }
    compare_everything();
    assert_int_equal(committed_pages + reserved_pages + live_regions, 0);
    IHostMemoryStatistics_Release(statistics);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        manager_test(a_million_operations_agree_with_the_model),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
