/* SPDX-License-Identifier: MIT
 *
 * Random operations through the interfaces while calls of the OS fail by chance: pages and blocks
 * are taken, changed and given back, and every 100 operations there are other rates, from never to
 * every third call. What fails must say so as documented and have changed nothing; what no call
 * failed for must succeed. After each failure, and now and then, all is compared: the figures, the
 * tables, and what VirtualQuery finds in the regions that the test knows.
 *
 * When the OS refuses to take a region back, the manager is broken and says so from then on; the
 * test begins again with another one. Over a wrapped OS, as test_faults.c.
 *
 * HOSTMEM_SEED repeats a run, HOSTMEM_OPERATIONS sets its length.
 */
#include "contract/contract.h"
#include "contract/faulty_os.h"
#include "support/random.h"

#include "com/com_private.h"

#include <string.h>

enum {
    OPERATIONS = 30000,
    OPERATIONS_PER_PLAN = 100,
    OPERATIONS_PER_MANAGER = 3000,
    OPERATIONS_PER_LOOK = 50,
    REGIONS = 12,
    MAX_PAGES = 40,
    BLOCKS = 40,
    MAX_BLOCK = 3000
};

struct region {
    char *base; /* NULL: none */
    unsigned pages;
};

struct held_block {
    unsigned char *memory; /* NULL: none */
    SIZE_T size;           /* all bytes have its lowest byte as value */
};

static struct region regions[REGIONS];
static struct held_block blocks[BLOCKS];
static IHostMemoryManager *manager;
static IHostMalloc *heap;
static uint32_t random_state;
static unsigned long operation, broken, drifts;
static unsigned failures; /* before this operation */
static HOSTMEM_STATISTICS before;
static bool works; /* the manager is not broken */

#define EXPECT(condition)                                                                          \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            drifts++;                                                                              \
            fail_at(__FILE__, __LINE__, "operation %lu: %s", operation, #condition);               \
        }                                                                                          \
    } while (0)

static unsigned below(unsigned limit)
{
    return next_random(&random_state) % limit;
}

static void make_plan(void)
{
    static const unsigned rates[] = {0, 0, 3, 10, 30, 100};
    for (int kind = 0; kind < 2; kind++) {
        faulty.one_in[kind] = rates[below(sizeof(rates) / sizeof(rates[0]))];
    }
}

static void stop_failing(void)
{
    faulty.one_in[0] = faulty.one_in[1] = 0;
}

/* ---- comparison ---- */

/* The figures without those that a failed call may change: its own count, peaks and tables. */
static HOSTMEM_STATISTICS figures(void)
{
    HOSTMEM_STATISTICS statistics = statistics_of(manager);
    statistics.Calls = (HOSTMEM_CALLS){0};
    statistics.TableBytes = 0;
    statistics.RefusedBySystem = 0;
    statistics.LastBySystem = (HOSTMEM_REFUSAL){0};
    statistics.CommitPeakBytes = statistics.ReservePeakBytes = statistics.ChargedPeakBytes = 0;
    return statistics;
}

static UINT64 committed_in(const struct region *region)
{
    MEMORY_BASIC_INFORMATION info;
    UINT64 committed = 0;
    for (SIZE_T at = 0; at < region->pages * PAGE; at += info.RegionSize) {
        EXPECT(VirtualQuery(region->base + at, &info, sizeof(info)) == sizeof(info));
        EXPECT(info.AllocationBase == region->base);
        committed += info.State == MEM_COMMIT ? info.RegionSize : 0;
    }
    return committed;
}

static void compare(void)
{
    struct host_memory_manager *object =
        CONTAINING_RECORD(manager, struct host_memory_manager, IHostMemoryManager_iface);
    UINT64 reserved = 0, committed = 0, region_count = 0, block_count = 0;
    for (unsigned i = 0; i < REGIONS; i++) {
        if (regions[i].base != NULL) {
            reserved += regions[i].pages * PAGE;
            committed += committed_in(&regions[i]);
            region_count++;
        }
    }
    for (unsigned i = 0; i < BLOCKS; i++) {
        block_count += blocks[i].memory != NULL;
    }
    HOSTMEM_STATISTICS now = statistics_of(manager);
    EXPECT(now.ReserveCurrentBytes == reserved);
    EXPECT(now.CommitCurrentBytes == committed);
    EXPECT(now.RegionsCurrent == region_count);
    EXPECT(now.HeapCurrentBlocks == block_count);
    EXPECT(now.ChargedCurrentBytes == now.CommitCurrentBytes + now.HeapCommitCurrentBytes);
    EXPECT(virtual_memory_check(&object->memory) == NULL);
}

/* Whether the call succeeded, after checking that it had a reason not to. */
static bool succeeded(HRESULT hr)
{
    DWORD error = GetLastError();
    if (hr == S_OK) {
        EXPECT(faulty.failures == failures && error == MARKER);
        return true;
    }
    EXPECT(faulty.failures > failures);
    EXPECT(hr == (error == ERROR_INTERNAL_ERROR ? E_FAIL : hr_of_win32(error)));
    HOSTMEM_STATISTICS now = figures();
    EXPECT(memcmp(&now, &before, sizeof(now)) == 0);
    works = hr != E_FAIL;
    return false;
}

/* ---- operations ---- */

static HRESULT alloc(void *address, SIZE_T size, DWORD type, void **memory)
{
    *memory = POISON_POINTER;
    SetLastError(MARKER);
    return IHostMemoryManager_VirtualAlloc(manager, address, size, type, PAGE_READWRITE,
                                           (EMemoryCriticalLevel)below(3), memory);
}

/* A new reservation that could not be used, and that the OS did not take back. */
static void free_what_was_lost(void)
{
    if (!works) {
        EXPECT(VirtualFree((void *)faulty.last_reservation, 0, MEM_RELEASE));
        faulty.reservations--;
    }
}

static void do_reserve(struct region *region)
{
    void *memory;
    unsigned pages = 1 + below(MAX_PAGES);
    DWORD type = below(2) == 0 ? MEM_RESERVE : MEM_RESERVE | MEM_COMMIT;
    if (succeeded(alloc(NULL, pages * PAGE, type, &memory))) {
        *region = (struct region){.base = memory, .pages = pages};
        return;
    }
    EXPECT(memory == NULL);
    free_what_was_lost();
}

static void do_pages(struct region *region)
{
    unsigned first = below(region->pages), count = 1 + below(region->pages - first);
    char *begin = region->base + first * PAGE;
    void *memory;
    DWORD old = POISON_DWORD;
    UINT64 committed = committed_in(region);
    switch (below(3)) {
    case 0:
        if (succeeded(alloc(begin, count * PAGE, MEM_COMMIT, &memory))) {
            EXPECT(memory == begin);
            memset(begin, 1, count * PAGE);
        } else {
            EXPECT(memory == NULL);
        }
        break;
    case 1:
        SetLastError(MARKER);
        succeeded(IHostMemoryManager_VirtualFree(manager, begin, count * PAGE, MEM_DECOMMIT));
        break;
    default:
        if (committed == region->pages * PAGE) {
            SetLastError(MARKER);
            bool done = succeeded(IHostMemoryManager_VirtualProtect(manager, begin, count * PAGE,
                                                                    PAGE_READWRITE, &old));
            EXPECT(old == (done ? PAGE_READWRITE : POISON_DWORD));
        }
        break;
    }
}

static void do_release(struct region *region)
{
    SetLastError(MARKER);
    if (succeeded(IHostMemoryManager_VirtualFree(manager, region->base, 0, MEM_RELEASE))) {
        region->base = NULL;
    } else {
        EXPECT(!works);
    }
}

static void do_alloc(struct held_block *block)
{
    SIZE_T size = below(MAX_BLOCK);
    void *memory = POISON_POINTER;
    SetLastError(MARKER);
    if (succeeded(IHostMalloc_Alloc(heap, size, (EMemoryCriticalLevel)below(3), &memory))) {
        *block = (struct held_block){.memory = memory, .size = size};
        memset(memory, (int)(size & 0xff), size);
    } else {
        EXPECT(memory == NULL);
        free_what_was_lost();
    }
}

static void do_free(struct held_block *block)
{
    for (SIZE_T i = 0; i < block->size; i++) {
        EXPECT(block->memory[i] == (unsigned char)block->size);
    }
    SetLastError(MARKER);
    EXPECT(succeeded(IHostMalloc_Free(heap, block->memory)));
    block->memory = NULL;
}

static void operate(void)
{
    struct region *region = &regions[below(REGIONS)];
    struct held_block *block = &blocks[below(BLOCKS)];
    failures = faulty.failures;
    before = figures();
    switch (below(4)) {
    case 0:
        block->memory == NULL ? do_alloc(block) : do_free(block);
        break;
    case 1:
        if (region->base != NULL && below(3) == 0) {
            do_release(region);
        }
        break;
    default:
        region->base == NULL ? do_reserve(region) : do_pages(region);
        break;
    }
    if (faulty.failures != failures || operation % OPERATIONS_PER_LOOK == 0) {
        compare();
    }
}

/* ---- managers ---- */

/* False when there was no memory for one. */
static bool begin(void)
{
    static const HOSTMEM_OPTIONS options = {.Size = sizeof(options)};
    make_plan();
    failures = faulty.failures;
    manager = POISON_POINTER;
    if (host_memory_manager_create(&faulty.os, &options, &manager) != S_OK) {
        EXPECT(faulty.failures > failures && manager == NULL);
        return false;
    }
    stop_failing();
    EXPECT_OK(IHostMemoryManager_CreateMalloc(manager, MALLOC_THREADSAFE, &heap));
    return true;
}

/* A broken manager keeps what it has, and the test gives it back itself. */
static void end(void)
{
    stop_failing();
    compare();
    if (!works) {
        broken++;
        expect_unavailable(manager, heap);
    }
    for (unsigned i = 0; i < BLOCKS; i++) {
        if (blocks[i].memory != NULL && works) {
            EXPECT_OK(IHostMalloc_Free(heap, blocks[i].memory));
        }
        blocks[i].memory = NULL;
    }
    for (unsigned i = 0; i < REGIONS; i++) {
        if (regions[i].base != NULL && !works) {
            EXPECT(VirtualFree(regions[i].base, 0, MEM_RELEASE));
            faulty.reservations--;
        } else if (regions[i].base != NULL) {
            EXPECT_OK(IHostMemoryManager_VirtualFree(manager, regions[i].base, 0, MEM_RELEASE));
        }
        regions[i].base = NULL;
    }
    if (works) {
        compare();
    }
    EXPECT(IHostMalloc_Release(heap) == 0);
    EXPECT(IHostMemoryManager_Release(manager) == 0);
}

static void operations_agree_with_the_os_whatever_fails(void **state)
{
    unsigned long operations = (unsigned long)random_setting("HOSTMEM_OPERATIONS", OPERATIONS);
    random_state = (uint32_t)random_seed("test_random_faults") | 1;
    faulty.random = random_state;
    (void)state;
    arm(0, ERROR_COMMITMENT_LIMIT);
    while (operation < operations) {
        operation++;
        works = begin();
        for (int n = 0; n < OPERATIONS_PER_MANAGER && works; n++, operation++) {
            if (n % OPERATIONS_PER_PLAN == 0) {
                make_plan();
            }
            operate();
        }
        if (manager != NULL) {
            end();
        }
        EXPECT(faulty.reservations == 0 && faulty.table_reservations == 0);
    }
    assert_true(faulty.failures > 0 && broken > 0);
}

static int print_totals(void **state)
{
    (void)state;
    printf("totals: operations=%lu failures=%u broken=%lu drifts=%lu\n", operation, faulty.failures,
           broken, drifts);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(operations_agree_with_the_os_whatever_fails),
    };
    create_faulty_os(NULL);
    return cmocka_run_group_tests(tests, NULL, print_totals);
}
