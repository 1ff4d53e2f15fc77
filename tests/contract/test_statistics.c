/* SPDX-License-Identifier: MIT
 *
 * IHostMemoryStatistics: the rules of the Size field, that every call is counted, that every page
 * is counted once (trap 9), the list of regions, and the comparison with what the OS says.
 */
#include "contract/contract.h"

#include <string.h>

static IHostMemoryStatistics *statistics_interface(IHostMemoryManager *manager)
{
    IHostMemoryStatistics *statistics = POISON_POINTER;
    EXPECT_OK(IHostMemoryManager_QueryInterface(manager, &IID_IHostMemoryStatistics,
                                                (void **)&statistics));
    return statistics;
}

/* ---- GetStatistics ---- */

static void only_sizes_that_a_version_had_are_known(void **state)
{
    static const UINT32 sizes[] = {
        0,    1,         4, 8, sizeof(HOSTMEM_STATISTICS) - 8, sizeof(HOSTMEM_STATISTICS) - 1,
        4097, 0xffffffff};
    IHostMemoryStatistics *statistics = statistics_interface(*state);
    struct {
        HOSTMEM_STATISTICS given;
        unsigned char behind[64];
    } buffer, before;
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        memset(&buffer, 0xad, sizeof(buffer));
        buffer.given.Size = sizes[i];
        before = buffer;
        EXPECT_CALL(IHostMemoryStatistics_GetStatistics(statistics, &buffer.given), E_INVALIDARG,
                    UNCHANGED);
        assert_memory_equal(&buffer, &before, sizeof(buffer));
    }
    memset(&buffer, 0xad, sizeof(buffer));
    buffer.given.Size = sizeof(HOSTMEM_STATISTICS);
    before = buffer;
    EXPECT_OK(IHostMemoryStatistics_GetStatistics(statistics, &buffer.given));
    assert_int_equal(buffer.given.Size, sizeof(HOSTMEM_STATISTICS));
    assert_int_equal(buffer.given.Reserved, 0);
    assert_memory_equal(buffer.behind, before.behind, sizeof(buffer.behind));
    memset(&buffer, 0xad, sizeof(buffer));
    buffer.given.Size = sizeof(HOSTMEM_STATISTICS) + 8; /* of a later version */
    EXPECT_OK(IHostMemoryStatistics_GetStatistics(statistics, &buffer.given));
    assert_int_equal(buffer.given.Size, sizeof(HOSTMEM_STATISTICS) + 8);
    assert_int_equal(buffer.given.Reserved, 0);
    assert_memory_equal(buffer.behind, (unsigned char[8]){0}, 8);
    assert_memory_equal(buffer.behind + 8, before.behind + 8, sizeof(buffer.behind) - 8);
    EXPECT_HR(IHostMemoryStatistics_GetStatistics(statistics, NULL), E_POINTER);
    IHostMemoryStatistics_Release(statistics);
}

static void a_new_manager_has_nothing_but_tables(void **state)
{
    HOSTMEM_STATISTICS statistics = statistics_of(*state);
    HOSTMEM_STATISTICS nothing = {.Size = sizeof(nothing), .TableBytes = statistics.TableBytes};
    assert_memory_equal(&statistics, &nothing, sizeof(statistics));
    assert_in_range(statistics.TableBytes, PAGE, 4 * 1024 * 1024);
}

static void every_method_is_counted_whatever_came_of_it(void **state)
{
    IHostMemoryManager *manager = *state;
    IHostMalloc *heap = POISON_POINTER;
    MEMORY_BASIC_INFORMATION info;
    SIZE_T size = POISON_SIZE;
    DWORD value = POISON_DWORD;
    void *memory = POISON_POINTER;
    EXPECT_OK(IHostMemoryManager_CreateMalloc(manager, MALLOC_THREADSAFE, &heap));
    /* Failures and successes; each method another number of times. */
    for (int i = 0; i < 2; i++) {
        EXPECT_HR(IHostMemoryManager_VirtualAlloc(manager, NULL, 0, MEM_RESERVE, PAGE_READWRITE,
                                                  eTaskCritical, &memory),
                  HRESULT_FROM_WIN32(ERROR_INVALID_PARAMETER));
    }
    for (int i = 0; i < 3; i++) {
        EXPECT_HR(IHostMemoryManager_VirtualFree(manager, NULL, 0, MEM_RELEASE),
                  HOST_E_INVALIDOPERATION);
    }
    for (int i = 0; i < 4; i++) {
        EXPECT_OK(IHostMemoryManager_VirtualQuery(manager, &info, &info, sizeof(info), &size));
    }
    for (int i = 0; i < 5; i++) {
        EXPECT_HR(IHostMemoryManager_VirtualProtect(manager, &info, 1, 0, &value),
                  HRESULT_FROM_WIN32(ERROR_INVALID_PARAMETER));
    }
    for (int i = 0; i < 6; i++) {
        EXPECT_OK(IHostMemoryManager_GetMemoryLoad(manager, &value, &size));
    }
    for (int i = 0; i < 7; i++) {
        EXPECT_OK(IHostMemoryManager_RegisterMemoryNotificationCallback(manager, NULL));
    }
    for (int i = 0; i < 8; i++) {
        EXPECT_HR(IHostMemoryManager_NeedsVirtualAddressSpace(manager, NULL, 0), E_OUTOFMEMORY);
    }
    for (int i = 0; i < 9; i++) {
        EXPECT_OK(IHostMemoryManager_AcquiredVirtualAddressSpace(manager, (void *)0x10000, 1));
    }
    for (int i = 0; i < 10; i++) {
        EXPECT_OK(IHostMemoryManager_ReleasedVirtualAddressSpace(manager, (void *)0x10000));
    }
    for (int i = 0; i < 11; i++) {
        EXPECT_HR(IHostMalloc_Alloc(heap, SIZE_MAX, eTaskCritical, &memory), E_OUTOFMEMORY);
    }
    for (int i = 0; i < 12; i++) {
        EXPECT_HR(IHostMalloc_DebugAlloc(heap, SIZE_MAX, eTaskCritical, NULL, 0, &memory),
                  E_OUTOFMEMORY);
    }
    for (int i = 0; i < 13; i++) {
        EXPECT_OK(IHostMalloc_Free(heap, NULL));
    }
    HOSTMEM_CALLS calls = statistics_of(manager).Calls;
    const HOSTMEM_CALLS expected = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13};
    assert_memory_equal(&calls, &expected, sizeof(calls));
    assert_int_equal(IHostMalloc_Release(heap), 0);
}

/* ---- pages: trap 9 ---- */

static void every_page_counts_once(void **state)
{
    IHostMemoryManager *manager = *state;
    char *memory = reserve(manager, 1024 * PAGE);
    static const struct {
        SIZE_T offset, size;
        SIZE_T pages; /* committed afterwards */
    } commits[] = {{100, 1, 1},        {0, 4096, 1},         {4095, 2, 2},
                   {8192, 8192, 4},    {4096, 8192, 4},      {40960, 4096, 5},
                   {20480, 40960, 14}, {0, 100 * 4096, 100}, {50 * 4096, 1, 100}};
    for (size_t i = 0; i < sizeof(commits) / sizeof(commits[0]); i++) {
        void *result = POISON_POINTER;
        EXPECT_OK(IHostMemoryManager_VirtualAlloc(manager, memory + commits[i].offset,
                                                  commits[i].size, MEM_COMMIT, PAGE_READWRITE,
                                                  eTaskCritical, &result));
        assert_int_equal(statistics_of(manager).CommitCurrentBytes, commits[i].pages * PAGE);
        EXPECT_EXACT_COMMIT(manager);
    }
    for (SIZE_T page = 0; page < 100; page += 2) {
        for (int twice = 0; twice < 2; twice++) {
            EXPECT_OK(
                IHostMemoryManager_VirtualFree(manager, memory + page * PAGE, 1, MEM_DECOMMIT));
        }
    }
    assert_int_equal(statistics_of(manager).CommitCurrentBytes, 50 * PAGE);
    assert_int_equal(statistics_of(manager).CommitPeakBytes, 100 * PAGE);
    EXPECT_EXACT_COMMIT(manager);
    EXPECT_OK(IHostMemoryManager_VirtualFree(manager, memory, 0, MEM_RELEASE));
    assert_int_equal(statistics_of(manager).CommitCurrentBytes, 0);
}

static void peaks_stay_where_they_were(void **state)
{
    IHostMemoryManager *manager = *state;
    char *first = reserve_committed(manager, 10 * PAGE), *second = reserve(manager, 30 * PAGE);
    EXPECT_OK(IHostMemoryManager_VirtualFree(manager, first, 0, MEM_RELEASE));
    EXPECT_OK(IHostMemoryManager_VirtualFree(manager, second, 0, MEM_RELEASE));
    char *third = reserve_committed(manager, PAGE);
    HOSTMEM_STATISTICS statistics = statistics_of(manager);
    assert_int_equal(statistics.CommitPeakBytes, 10 * PAGE);
    assert_int_equal(statistics.ReservePeakBytes, 40 * PAGE);
    assert_int_equal(statistics.RegionsPeak, 2);
    assert_int_equal(statistics.CommitCurrentBytes, PAGE);
    assert_int_equal(statistics.ReserveCurrentBytes, PAGE);
    assert_int_equal(statistics.RegionsCurrent, 1);
    EXPECT_OK(IHostMemoryManager_VirtualFree(manager, third, 0, MEM_RELEASE));
}

static void refused_requests_leave_the_peaks(void **state)
{
    IHostMemoryManager *manager = *state;
    char *memory = reserve(manager, 4 * PAGE);
    void *result = POISON_POINTER;
    HOSTMEM_STATISTICS before = statistics_of(manager);
    EXPECT_HR(IHostMemoryManager_VirtualAlloc(manager, memory, GRANULARITY,
                                              MEM_RESERVE | MEM_COMMIT, PAGE_READWRITE,
                                              eTaskCritical, &result),
              HRESULT_FROM_WIN32(ERROR_INVALID_ADDRESS));
    EXPECT_HR(IHostMemoryManager_VirtualAlloc(manager, memory + PAGE, 5 * PAGE, MEM_COMMIT,
                                              PAGE_READWRITE, eTaskCritical, &result),
              HRESULT_FROM_WIN32(ERROR_INVALID_ADDRESS));
    HOSTMEM_STATISTICS after = statistics_of(manager);
    assert_int_equal(after.ReservePeakBytes, before.ReservePeakBytes);
    assert_int_equal(after.CommitPeakBytes, before.CommitPeakBytes);
    assert_int_equal(after.RegionsPeak, before.RegionsPeak);
    EXPECT_OK(IHostMemoryManager_VirtualFree(manager, memory, 0, MEM_RELEASE));
}

/* trap 27 */
static void the_manager_s_own_tables_are_not_the_runtime_s(void **state)
{
    IHostMemoryManager *manager = *state;
    enum { COUNT = 2000 };
    static char *memory[COUNT];
    for (int i = 0; i < COUNT; i++) {
        memory[i] = reserve(manager, PAGE);
    }
    HOSTMEM_STATISTICS statistics = statistics_of(manager);
    assert_int_equal(statistics.RegionsCurrent, COUNT);
    assert_int_equal(statistics.ReserveCurrentBytes, COUNT * PAGE);
    assert_int_equal(statistics.CommitCurrentBytes, 0);
    assert_true(statistics.TableBytes >= COUNT * 64);
    for (int i = 0; i < COUNT; i++) {
        EXPECT_OK(IHostMemoryManager_VirtualFree(manager, memory[i], 0, MEM_RELEASE));
    }
    assert_int_equal(statistics_of(manager).ReserveCurrentBytes, 0);
}

static void measure_commit_asks_the_os(void **state)
{
    IHostMemoryManager *manager = *state;
    IHostMemoryStatistics *statistics = statistics_interface(manager);
    UINT64 counted = 0xdeadbeef, system = 0xdeadbeef;
    char *memory = reserve_committed(manager, 10 * PAGE);
    EXPECT_OK(IHostMemoryStatistics_MeasureCommit(statistics, &counted, &system));
    assert_int_equal(counted, 10 * PAGE);
    assert_int_equal(system, 10 * PAGE);
    /* Decommitted behind the manager's back: the difference shows. */
    assert_true(VirtualFree(memory + PAGE, 2 * PAGE, MEM_DECOMMIT));
    EXPECT_OK(IHostMemoryStatistics_MeasureCommit(statistics, &counted, &system));
    assert_int_equal(counted, 10 * PAGE);
    assert_int_equal(system, 8 * PAGE);
    EXPECT_HR(IHostMemoryStatistics_MeasureCommit(statistics, NULL, &system), E_POINTER);
    EXPECT_HR(IHostMemoryStatistics_MeasureCommit(statistics, &counted, NULL), E_POINTER);
    IHostMemoryStatistics_Release(statistics);
    EXPECT_OK(IHostMemoryManager_VirtualFree(manager, memory, 0, MEM_RELEASE));
}

/* ---- GetRegions ---- */

static void regions_are_listed_with_what_they_are(void **state)
{
    IHostMemoryManager *manager = *state;
    IHostMemoryStatistics *statistics = statistics_interface(manager);
    HOSTMEM_REGION region;
    UINT32 count = POISON_DWORD;
    void *memory = POISON_POINTER, *result = POISON_POINTER;
    EXPECT_OK(IHostMemoryStatistics_GetRegions(statistics, 0, 1, &region, &count));
    assert_int_equal(count, 0);
    EXPECT_OK(IHostMemoryManager_VirtualAlloc(manager, NULL, 12345, MEM_RESERVE | MEM_TOP_DOWN,
                                              PAGE_EXECUTE_READWRITE, eTaskCritical, &memory));
    EXPECT_OK(IHostMemoryManager_VirtualAlloc(manager, (char *)memory + 5000, 1, MEM_COMMIT,
                                              PAGE_READWRITE, eTaskCritical, &result));
    memset(&region, 0xad, sizeof(region));
    EXPECT_OK(IHostMemoryStatistics_GetRegions(statistics, 0, 1, &region, &count));
    assert_int_equal(count, 1);
    assert_int_equal(region.Base, (uintptr_t)memory);
    assert_int_equal(region.Size, 4 * PAGE);
    assert_int_equal(region.CommittedBytes, PAGE);
    assert_int_equal(region.AllocationType, MEM_RESERVE | MEM_TOP_DOWN);
    assert_int_equal(region.AllocationProtect, PAGE_EXECUTE_READWRITE);
    /* At or above: the base itself counts, one byte further does not. */
    EXPECT_OK(IHostMemoryStatistics_GetRegions(statistics, region.Base, 1, &region, &count));
    assert_int_equal(count, 1);
    EXPECT_OK(IHostMemoryStatistics_GetRegions(statistics, region.Base + 1, 1, &region, &count));
    assert_int_equal(count, 0);
    EXPECT_OK(IHostMemoryStatistics_GetRegions(statistics, UINT64_MAX, 1, &region, &count));
    assert_int_equal(count, 0);
    EXPECT_OK(IHostMemoryStatistics_GetRegions(statistics, 0, 0, NULL, &count));
    assert_int_equal(count, 0);
    EXPECT_HR(IHostMemoryStatistics_GetRegions(statistics, 0, 1, NULL, &count), E_POINTER);
    EXPECT_HR(IHostMemoryStatistics_GetRegions(statistics, 0, 1, &region, NULL), E_POINTER);
    IHostMemoryStatistics_Release(statistics);
    EXPECT_OK(IHostMemoryManager_VirtualFree(manager, memory, 0, MEM_RELEASE));
}

static void regions_are_listed_part_by_part_in_ascending_order(void **state)
{
    enum { COUNT = 300, CAPACITY = 7 };
    IHostMemoryManager *manager = *state;
    IHostMemoryStatistics *statistics = statistics_interface(manager);
    char *memory[COUNT];
    bool seen[COUNT] = {false};
    for (unsigned i = 0; i < COUNT; i++) {
        memory[i] = reserve_committed(manager, (i % 40 + 1) * PAGE);
    }
    HOSTMEM_REGION regions[CAPACITY + 1];
    UINT64 from = 0, last = 0;
    UINT32 count = POISON_DWORD, total = 0;
    do {
        memset(regions, 0xad, sizeof(regions));
        EXPECT_OK(IHostMemoryStatistics_GetRegions(statistics, from, CAPACITY, regions, &count));
        assert_in_range(count, 0, CAPACITY);
        assert_int_equal(regions[count].Base, 0xadadadadadadadad); /* nothing behind is written */
        for (UINT32 i = 0; i < count; i++) {
            assert_true(regions[i].Base > last);
            last = regions[i].Base;
            from = regions[i].Base + regions[i].Size;
            for (unsigned j = 0; j < COUNT; j++) {
                if (regions[i].Base == (uintptr_t)memory[j]) {
                    assert_false(seen[j]);
                    seen[j] = true;
                    assert_int_equal(regions[i].Size, (j % 40 + 1) * PAGE);
                    assert_int_equal(regions[i].CommittedBytes, regions[i].Size);
                    total++;
                }
            }
        }
    } while (count == CAPACITY);
    assert_int_equal(total, COUNT);
    for (unsigned i = 0; i < COUNT; i++) {
        EXPECT_OK(IHostMemoryManager_VirtualFree(manager, memory[i], 0, MEM_RELEASE));
    }
    IHostMemoryStatistics_Release(statistics);
}

/* ---- many threads ---- */

static DWORD WINAPI churn(void *context)
{
    IHostMemoryManager *manager = context;
    uint32_t random = GetCurrentThreadId() * 2654435761u | 1;
    for (int i = 0; i < 2000; i++) {
        SIZE_T pages = next_random(&random) % 64 + 1;
        void *memory = NULL, *result = NULL;
        if (IHostMemoryManager_VirtualAlloc(manager, NULL, pages * PAGE, MEM_RESERVE,
                                            PAGE_READWRITE, eTaskCritical, &memory) != S_OK ||
            IHostMemoryManager_VirtualAlloc(manager, memory, (pages + 1) / 2 * PAGE, MEM_COMMIT,
                                            PAGE_READWRITE, eTaskCritical, &result) != S_OK ||
            IHostMemoryManager_VirtualFree(manager, memory, PAGE, MEM_DECOMMIT) != S_OK ||
            IHostMemoryManager_VirtualFree(manager, memory, 0, MEM_RELEASE) != S_OK) {
            return 1;
        }
    }
    return 0;
}

static void nothing_is_lost_when_many_threads_allocate(void **state)
{
    IHostMemoryManager *manager = *state;
    char *kept = reserve_committed(manager, 3 * PAGE);
    run_threads(6, churn, manager);
    HOSTMEM_STATISTICS statistics = statistics_of(manager);
    assert_int_equal(statistics.CommitCurrentBytes, 3 * PAGE);
    assert_int_equal(statistics.ReserveCurrentBytes, 3 * PAGE);
    assert_int_equal(statistics.RegionsCurrent, 1);
    assert_int_equal(statistics.Calls.VirtualAlloc, 6 * 2000 * 2 + 1);
    assert_int_equal(statistics.Calls.VirtualFree, 6 * 2000 * 2);
    assert_int_equal(statistics.ForeignVirtualFree, 0);
    EXPECT_EXACT_COMMIT(manager);
    EXPECT_OK(IHostMemoryManager_VirtualFree(manager, kept, 0, MEM_RELEASE));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        manager_test(only_sizes_that_a_version_had_are_known),
        manager_test(a_new_manager_has_nothing_but_tables),
        manager_test(every_method_is_counted_whatever_came_of_it),
        manager_test(every_page_counts_once),
        manager_test(peaks_stay_where_they_were),
        manager_test(refused_requests_leave_the_peaks),
        manager_test(the_manager_s_own_tables_are_not_the_runtime_s),
        manager_test(measure_commit_asks_the_os),
        manager_test(regions_are_listed_with_what_they_are),
        manager_test(regions_are_listed_part_by_part_in_ascending_order),
        manager_test(nothing_is_lost_when_many_threads_allocate),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
