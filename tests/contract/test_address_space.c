/* SPDX-License-Identifier: MIT
 *
 * What the CLR tells the host about address space it takes by itself: NeedsVirtualAddressSpace says
 * that a file could not be mapped, AcquiredVirtualAddressSpace that one was, and
 * ReleasedVirtualAddressSpace that it was unmapped. The manager says that it gave something back only
 * when its cushion did, records what it is told, and tolerates everything.
 */
#include "contract/contract.h"

static void expect_views(IHostMemoryManager *manager, UINT64 count, UINT64 bytes)
{
    HOSTMEM_STATISTICS statistics = statistics_of(manager);
    assert_int_equal(statistics.ViewsCurrent, count);
    assert_int_equal(statistics.ViewsCurrentBytes, bytes);
}

/* trap 30: any success would make the CLR map again, in vain, and hide its error. trap 19: the CLR
 * reads LastError after it. */
static void needs_is_always_out_of_memory_and_keeps_last_error(void **state)
{
    IHostMemoryManager *manager = *state;
    static const SIZE_T sizes[] = {0, 1, 4096, 0x7fffffff, SIZE_MAX};
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        EXPECT_CALL(IHostMemoryManager_NeedsVirtualAddressSpace(manager, NULL, sizes[i]),
                    E_OUTOFMEMORY, UNCHANGED);
        EXPECT_CALL(
            IHostMemoryManager_NeedsVirtualAddressSpace(manager, (void *)0x400000, sizes[i]),
            E_OUTOFMEMORY, UNCHANGED);
        EXPECT_CALL(
            IHostMemoryManager_NeedsVirtualAddressSpace(manager, (void *)UINTPTR_MAX, sizes[i]),
            E_OUTOFMEMORY, UNCHANGED);
    }
    expect_views(manager, 0, 0);
}

static UINT64 cushion_of(IHostMemoryManager *manager)
{
    return statistics_of(manager).CushionBytes;
}

static void a_cushion_is_given_back_once_and_made_again_later(void **state)
{
    (void)state;
    IHostMemoryManager *manager = CREATE_MANAGER(.AddressSpaceCushion = 16 * MIB);
    assert_int_equal(cushion_of(manager), 16 * MIB);
    assert_int_equal(statistics_of(manager).ReserveCurrentBytes, 0);
    EXPECT_OK(IHostMemoryManager_NeedsVirtualAddressSpace(manager, NULL, 2 * MIB + 1));
    assert_int_equal(cushion_of(manager), 13 * MIB); /* of 16 parts, three */
    EXPECT_OK(IHostMemoryManager_NeedsVirtualAddressSpace(manager, NULL, 0));
    assert_int_equal(cushion_of(manager), 0);
    EXPECT_CALL(IHostMemoryManager_NeedsVirtualAddressSpace(manager, NULL, 1), E_OUTOFMEMORY,
                UNCHANGED);
    /* The runtime uses the room it was given; only a second later it is taken again. */
    EXPECT_OK(IHostMemoryManager_ReleasedVirtualAddressSpace(manager, (void *)0x10000));
    assert_int_equal(cushion_of(manager), 0);
    Sleep(1100);
    EXPECT_OK(IHostMemoryManager_ReleasedVirtualAddressSpace(manager, (void *)0x10000));
    assert_int_equal(cushion_of(manager), 16 * MIB);
    assert_int_equal(IHostMemoryManager_Release(manager), 0);
}

/* Most address space comes back by VirtualFree. */
static void a_cushion_is_made_again_when_a_region_is_released(void **state)
{
    (void)state;
    IHostMemoryManager *manager = CREATE_MANAGER(.AddressSpaceCushion = 16 * MIB);
    char *memory = reserve(manager, MIB), *other = reserve(manager, MIB);
    EXPECT_OK(IHostMemoryManager_NeedsVirtualAddressSpace(manager, NULL, 0));
    EXPECT_OK(IHostMemoryManager_VirtualFree(manager, other, 0, MEM_RELEASE));
    assert_int_equal(cushion_of(manager), 0);
    Sleep(1100);
    EXPECT_OK(IHostMemoryManager_VirtualFree(manager, memory, 0, MEM_DECOMMIT));
    assert_int_equal(cushion_of(manager), 0); /* no address space */
    EXPECT_CALL(IHostMemoryManager_VirtualFree(manager, memory, 0, MEM_RELEASE), S_OK, UNCHANGED);
    assert_int_equal(cushion_of(manager), 16 * MIB);
    assert_int_equal(IHostMemoryManager_Release(manager), 0);
}

static void views_are_recorded_until_they_are_released(void **state)
{
    IHostMemoryManager *manager = *state;
    EXPECT_OK(IHostMemoryManager_AcquiredVirtualAddressSpace(manager, (void *)0x30000, 0x5000));
    expect_views(manager, 1, 0x5000);
    EXPECT_OK(IHostMemoryManager_AcquiredVirtualAddressSpace(manager, (void *)0x10000, 0x123));
    expect_views(manager, 2, 0x5123);
    EXPECT_OK(IHostMemoryManager_AcquiredVirtualAddressSpace(manager, (void *)0x77123, 1));
    expect_views(manager, 3, 0x5124);
    EXPECT_OK(IHostMemoryManager_ReleasedVirtualAddressSpace(manager, (void *)0x30000));
    expect_views(manager, 2, 0x124);
    EXPECT_OK(IHostMemoryManager_ReleasedVirtualAddressSpace(manager, (void *)0x77123));
    EXPECT_OK(IHostMemoryManager_ReleasedVirtualAddressSpace(manager, (void *)0x10000));
    expect_views(manager, 0, 0);
}

/* CLR 2.0 reports size 0; the OS knows better. */
static void size_zero_is_measured(void **state)
{
    IHostMemoryManager *manager = *state;
    struct foreign_memory foreign;
    foreign_memory_create(&foreign);
    EXPECT_OK(IHostMemoryManager_AcquiredVirtualAddressSpace(manager, foreign.view, 0));
    expect_views(manager, 1, 16 * PAGE);
    EXPECT_OK(IHostMemoryManager_AcquiredVirtualAddressSpace(manager, foreign.reserved, 0));
    expect_views(manager, 2, 32 * PAGE); /* two runs of pages, one allocation */
    EXPECT_OK(IHostMemoryManager_ReleasedVirtualAddressSpace(manager, foreign.view));
    expect_views(manager, 1, 16 * PAGE);
    EXPECT_OK(IHostMemoryManager_ReleasedVirtualAddressSpace(manager, foreign.reserved));
    expect_views(manager, 0, 0);
    foreign_memory_destroy(&foreign);
}

static void a_module_of_many_sections_is_measured_whole(void **state)
{
    IHostMemoryManager *manager = *state;
    char *module = (char *)GetModuleHandleW(NULL);
    const IMAGE_DOS_HEADER *dos = (const IMAGE_DOS_HEADER *)module;
    const IMAGE_NT_HEADERS *nt = (const IMAGE_NT_HEADERS *)(module + dos->e_lfanew);
    SIZE_T size = (nt->OptionalHeader.SizeOfImage + PAGE - 1) & ~(PAGE - 1);
    EXPECT_OK(IHostMemoryManager_AcquiredVirtualAddressSpace(manager, module, 0));
    expect_views(manager, 1, size);
    EXPECT_OK(IHostMemoryManager_ReleasedVirtualAddressSpace(manager, module));
    expect_views(manager, 0, 0);
}

/* trap 29 */
static void notifications_that_make_no_sense_are_tolerated(void **state)
{
    IHostMemoryManager *manager = *state;
    EXPECT_OK(IHostMemoryManager_ReleasedVirtualAddressSpace(manager, NULL));
    EXPECT_OK(IHostMemoryManager_ReleasedVirtualAddressSpace(manager, (void *)0x1230000));
    EXPECT_OK(IHostMemoryManager_ReleasedVirtualAddressSpace(manager, (void *)UINTPTR_MAX));
    expect_views(manager, 0, 0);
    /* Acquired twice: the second report counts. */
    EXPECT_OK(IHostMemoryManager_AcquiredVirtualAddressSpace(manager, (void *)0x1230000, 100));
    EXPECT_OK(IHostMemoryManager_AcquiredVirtualAddressSpace(manager, (void *)0x1230000, 300));
    expect_views(manager, 1, 300);
    /* Inside a view is not the view. */
    EXPECT_OK(IHostMemoryManager_ReleasedVirtualAddressSpace(manager, (void *)0x1230001));
    expect_views(manager, 1, 300);
    /* Overlapping: views of one file can be reported in pieces. */
    EXPECT_OK(IHostMemoryManager_AcquiredVirtualAddressSpace(manager, (void *)0x1230010, 300));
    expect_views(manager, 2, 600);
    EXPECT_OK(IHostMemoryManager_ReleasedVirtualAddressSpace(manager, (void *)0x1230000));
    EXPECT_OK(IHostMemoryManager_ReleasedVirtualAddressSpace(manager, (void *)0x1230000));
    EXPECT_OK(IHostMemoryManager_ReleasedVirtualAddressSpace(manager, (void *)0x1230010));
    expect_views(manager, 0, 0);
    /* Size 0 where there is nothing, no address, and the end of the address space. */
    EXPECT_OK(IHostMemoryManager_AcquiredVirtualAddressSpace(manager, NULL, 0));
    EXPECT_OK(IHostMemoryManager_AcquiredVirtualAddressSpace(manager, (void *)UINTPTR_MAX, 0));
    EXPECT_OK(
        IHostMemoryManager_AcquiredVirtualAddressSpace(manager, (void *)(UINTPTR_MAX - 5), 100));
    EXPECT_OK(IHostMemoryManager_ReleasedVirtualAddressSpace(manager, NULL));
    EXPECT_OK(IHostMemoryManager_ReleasedVirtualAddressSpace(manager, (void *)UINTPTR_MAX));
    EXPECT_OK(IHostMemoryManager_ReleasedVirtualAddressSpace(manager, (void *)(UINTPTR_MAX - 5)));
    expect_views(manager, 0, 0);
}

/* trap 28: address space, not commit; and never the manager's to free. */
static void views_are_no_memory_of_the_manager_s(void **state)
{
    IHostMemoryManager *manager = *state;
    struct foreign_memory foreign;
    foreign_memory_create(&foreign);
    EXPECT_OK(IHostMemoryManager_AcquiredVirtualAddressSpace(manager, foreign.view, 16 * PAGE));
    assert_int_equal(statistics_of(manager).CommitCurrentBytes, 0);
    assert_int_equal(statistics_of(manager).ReserveCurrentBytes, 0);
    assert_int_equal(statistics_of(manager).RegionsCurrent, 0);
    EXPECT_CALL(IHostMemoryManager_VirtualFree(manager, foreign.view, 0, MEM_RELEASE),
                HOST_E_INVALIDOPERATION, ERROR_INVALID_ADDRESS);
    foreign.view[0] = 1;
    EXPECT_OK(IHostMemoryManager_ReleasedVirtualAddressSpace(manager, foreign.view));
    foreign.view[0] = 2; /* the manager unmaps nothing */
    foreign_memory_destroy(&foreign);
}

static void a_view_that_covers_own_memory_changes_nothing_of_it(void **state)
{
    IHostMemoryManager *manager = *state;
    char *memory = reserve_committed(manager, 4 * PAGE);
    EXPECT_OK(IHostMemoryManager_AcquiredVirtualAddressSpace(manager, memory, 2 * GRANULARITY));
    assert_int_equal(statistics_of(manager).CommitCurrentBytes, 4 * PAGE);
    EXPECT_OK(IHostMemoryManager_ReleasedVirtualAddressSpace(manager, memory));
    assert_int_equal(statistics_of(manager).RegionsCurrent, 1);
    EXPECT_OK(IHostMemoryManager_VirtualFree(manager, memory, 0, MEM_RELEASE));
}

static void thousands_of_views_are_recorded_in_any_order(void **state)
{
    IHostMemoryManager *manager = *state;
    enum { COUNT = 5000 };
    for (uintptr_t i = 0; i < COUNT; i++) {
        void *base = (void *)((i * 2741 % COUNT + 1) * 0x10000);
        EXPECT_OK(IHostMemoryManager_AcquiredVirtualAddressSpace(manager, base, 0x1000));
    }
    expect_views(manager, COUNT, (UINT64)COUNT * 0x1000);
    for (uintptr_t i = 0; i < COUNT; i++) {
        void *base = (void *)((i * 1237 % COUNT + 1) * 0x10000);
        EXPECT_OK(IHostMemoryManager_ReleasedVirtualAddressSpace(manager, base));
    }
    expect_views(manager, 0, 0);
}

static LONG next_thread;

static DWORD WINAPI report_views(void *context)
{
    IHostMemoryManager *manager = context;
    uintptr_t base = (uintptr_t)InterlockedIncrement(&next_thread) * 0x1000000;
    for (int round = 0; round < 200; round++) {
        for (uintptr_t i = 0; i < 10; i++) {
            if (IHostMemoryManager_AcquiredVirtualAddressSpace(
                    manager, (void *)(base + i * 0x10000), 100 + i) != S_OK) {
                return 1;
            }
        }
        for (uintptr_t i = 0; i < 10; i++) {
            if (IHostMemoryManager_ReleasedVirtualAddressSpace(
                    manager, (void *)(base + i * 0x10000)) != S_OK) {
                return 2;
            }
        }
    }
    return 0;
}

static void many_threads_report_views(void **state)
{
    IHostMemoryManager *manager = *state;
    run_threads(4, report_views, manager);
    expect_views(manager, 0, 0);
    assert_int_equal(statistics_of(manager).Calls.AcquiredVirtualAddressSpace, 4 * 200 * 10);
    assert_int_equal(statistics_of(manager).Calls.ReleasedVirtualAddressSpace, 4 * 200 * 10);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        manager_test(needs_is_always_out_of_memory_and_keeps_last_error),
        manager_test(views_are_recorded_until_they_are_released),
        manager_test(size_zero_is_measured),
        manager_test(a_module_of_many_sections_is_measured_whole),
        cmocka_unit_test(a_cushion_is_made_again_when_a_region_is_released),
        cmocka_unit_test(a_cushion_is_given_back_once_and_made_again_later),
        manager_test(notifications_that_make_no_sense_are_tolerated),
        manager_test(views_are_no_memory_of_the_manager_s),
        manager_test(a_view_that_covers_own_memory_changes_nothing_of_it),
        manager_test(thousands_of_views_are_recorded_in_any_order),
        manager_test(many_threads_report_views),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
