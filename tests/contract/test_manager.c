/* SPDX-License-Identifier: MIT
 *
 * HostMemCreateManager and the manager as a COM object: options, identity, reference counts, and
 * what is left of it when the last reference goes.
 */
#include "contract/contract.h"

#include <string.h>

static const IID IID_nobody_has = {0x12345678, 0x9abc, 0xdef0, {1, 2, 3, 4, 5, 6, 7, 8}};

/* ---- options ---- */

static void null_options_are_the_defaults(void **state)
{
    IHostMemoryManager *manager = POISON_POINTER;
    (void)state;
    EXPECT_OK(HostMemCreateManager(NULL, &manager));
    assert_non_null(manager);
    assert_ptr_not_equal(manager, POISON_POINTER);
    assert_int_equal(IHostMemoryManager_Release(manager), 0);
}

static void options_of_this_version_are_accepted(void **state)
{
    HOSTMEM_OPTIONS options = {.Size = sizeof(options)};
    IHostMemoryManager *manager = POISON_POINTER;
    (void)state;
    EXPECT_OK(HostMemCreateManager(&options, &manager));
    assert_int_equal(IHostMemoryManager_Release(manager), 0);
}

static void options_of_a_size_no_version_had_are_refused(void **state)
{
    static const UINT32 sizes[] = {0, 1, 4, sizeof(HOSTMEM_OPTIONS) - 1, 4097, 0xffffffff};
    (void)state;
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        struct {
            HOSTMEM_OPTIONS options;
            char later_fields[64];
        } given = {.options = {.Size = sizes[i]}};
        IHostMemoryManager *manager = POISON_POINTER;
        EXPECT_HR(HostMemCreateManager(&given.options, &manager), E_INVALIDARG);
        assert_null(manager);
    }
}

/* A host that was compiled with a later header, and uses or does not use what is new there. */
static void options_of_a_later_version_are_accepted_if_nothing_new_is_set(void **state)
{
    struct {
        HOSTMEM_OPTIONS options;
        char later_fields[64];
    } given = {.options = {.Size = sizeof(given), .CommitLimit = MIB}};
    IHostMemoryManager *manager = POISON_POINTER;
    (void)state;
    EXPECT_OK(HostMemCreateManager(&given.options, &manager));
    assert_int_equal(IHostMemoryManager_Release(manager), 0);
    for (size_t i = 0; i < sizeof(given.later_fields); i++) {
        manager = POISON_POINTER;
        given.later_fields[i] = 1;
        EXPECT_HR(HostMemCreateManager(&given.options, &manager), E_INVALIDARG);
        assert_null(manager);
        given.later_fields[i] = 0;
    }
}

static void expect_refused_options(HOSTMEM_OPTIONS options)
{
    IHostMemoryManager *manager = POISON_POINTER;
    options.Size = sizeof(options);
    EXPECT_HR(HostMemCreateManager(&options, &manager), E_INVALIDARG);
    assert_null(manager);
}

static void every_unknown_flag_is_refused(void **state)
{
    (void)state;
    for (unsigned bit = 0; bit < 32; bit++) {
        if ((UINT32)1 << bit != HOSTMEM_FLAG_OVERDRAFT) {
            expect_refused_options((HOSTMEM_OPTIONS){.Flags = (UINT32)1 << bit});
        }
    }
    assert_int_equal(IHostMemoryManager_Release(CREATE_MANAGER(.Flags = HOSTMEM_FLAG_OVERDRAFT)),
                     0);
}

static void the_emergency_part_is_a_part_of_the_limit(void **state)
{
    (void)state;
    expect_refused_options((HOSTMEM_OPTIONS){.CommitLimit = 99, .EmergencyCommit = 100});
    expect_refused_options((HOSTMEM_OPTIONS){.EmergencyCommit = 1}); /* of no limit */
    expect_refused_options((HOSTMEM_OPTIONS){.ReserveLimit = 9, .EmergencyCommit = 1});
    assert_int_equal(
        IHostMemoryManager_Release(CREATE_MANAGER(.CommitLimit = 100, .EmergencyCommit = 100)), 0);
}

/* -1, an int that overflowed, and what no 48-bit address space has room for. */
static void amounts_that_cannot_be_meant_are_refused(void **state)
{
    static const UINT64 amounts[] = {(1ull << 47) + 1, 1ull << 63, UINT64_MAX,
                                     (UINT64)(INT64)(INT32)0xc0000000};
    const UINT64 most = 1ull << 47;
    (void)state;
    for (size_t i = 0; i < sizeof(amounts) / sizeof(amounts[0]); i++) {
        expect_refused_options((HOSTMEM_OPTIONS){.CommitLimit = amounts[i]});
        expect_refused_options((HOSTMEM_OPTIONS){.ReserveLimit = amounts[i]});
        expect_refused_options((HOSTMEM_OPTIONS){.AddressSpaceCushion = amounts[i]});
        expect_refused_options(
            (HOSTMEM_OPTIONS){.CommitLimit = most, .EmergencyCommit = amounts[i]});
    }
    assert_int_equal(
        IHostMemoryManager_Release(
            CREATE_MANAGER(.CommitLimit = most, .ReserveLimit = most, .EmergencyCommit = most)),
        0);
}

static void what_is_reserved_has_to_be_zero(void **state)
{
    (void)state;
    expect_refused_options((HOSTMEM_OPTIONS){.Reserved = 1});
    expect_refused_options((HOSTMEM_OPTIONS){.Reserved = 0x80000000});
}

static void every_option_is_taken(void **state)
{
    IHostMemoryManager *manager =
        CREATE_MANAGER(.Flags = HOSTMEM_FLAG_OVERDRAFT, .CommitLimit = 64 * MIB,
                       .ReserveLimit = 1024 * MIB, .EmergencyCommit = 8 * MIB,
                       .AddressSpaceCushion = MIB, .CommitWaitMilliseconds = 1000);
    (void)state;
    assert_int_equal(IHostMemoryManager_Release(manager), 0);
}

static void null_out_pointer_is_e_pointer(void **state)
{
    HOSTMEM_OPTIONS wrong = {.Size = 1};
    (void)state;
    EXPECT_HR(HostMemCreateManager(NULL, NULL), E_POINTER);
    EXPECT_HR(HostMemCreateManager(&wrong, NULL), E_POINTER);
}

/* ---- COM ---- */

static void a_new_manager_has_one_reference(void **state)
{
    IHostMemoryManager *manager = *state;
    EXPECT_REF(manager, 1);
    assert_int_equal(IHostMemoryManager_AddRef(manager), 2);
    assert_int_equal(IHostMemoryManager_AddRef(manager), 3);
    assert_int_equal(IHostMemoryManager_Release(manager), 2);
    assert_int_equal(IHostMemoryManager_Release(manager), 1);
}

static void query_interface_knows_the_interfaces_and_no_other(void **state)
{
    IHostMemoryManager *manager = *state;
    EXPECT_INTERFACE(manager, &IID_IUnknown, true);
    EXPECT_INTERFACE(manager, &IID_IHostMemoryManager, true);
    EXPECT_INTERFACE(manager, &IID_IHostMemoryStatistics, true);
    EXPECT_INTERFACE(manager, &IID_IHostMemoryLimits, true);
    EXPECT_INTERFACE(manager, &IID_IHostMemoryPressure, true);
    EXPECT_INTERFACE(manager, &IID_IHostRuntimeLifetime, true);
    EXPECT_INTERFACE(manager, &IID_IHostMemoryFaults, true);
    EXPECT_INTERFACE(manager, &IID_IHostMemoryCharge, true);
    EXPECT_INTERFACE(manager, &IID_IHostMemoryEvents, true);
    EXPECT_INTERFACE(manager, &IID_IHostMemoryEventSink, false);
    EXPECT_INTERFACE(manager, &IID_IHostMalloc, false);
    EXPECT_INTERFACE(manager, &IID_IHostMallocBlocks, false);
    EXPECT_INTERFACE(manager, &IID_IHostControl, false);
    EXPECT_INTERFACE(manager, &IID_IClassFactory, false);
    EXPECT_INTERFACE(manager, &IID_NULL, false);
    EXPECT_INTERFACE(manager, &IID_nobody_has, false);
    EXPECT_REF(manager, 1);
}

static void query_interface_is_symmetric_and_transitive(void **state)
{
    static const IID *const known[] = {
        &IID_IUnknown,          &IID_IHostMemoryManager,  &IID_IHostMemoryStatistics,
        &IID_IHostMemoryLimits, &IID_IHostMemoryPressure, &IID_IHostRuntimeLifetime,
        &IID_IHostMemoryFaults, &IID_IHostMemoryCharge,   &IID_IHostMemoryEvents};
    enum { KNOWN = sizeof(known) / sizeof(known[0]) };
    IHostMemoryManager *manager = *state;
    for (size_t from = 0; from < KNOWN; from++) {
        for (size_t to = 0; to < KNOWN; to++) {
            IUnknown *first = POISON_POINTER, *second = POISON_POINTER, *back = POISON_POINTER;
            EXPECT_OK(IHostMemoryManager_QueryInterface(manager, known[from], (void **)&first));
            EXPECT_OK(IUnknown_QueryInterface(first, known[to], (void **)&second));
            EXPECT_OK(IUnknown_QueryInterface(second, known[from], (void **)&back));
            assert_ptr_equal(back, first);
            EXPECT_REF(manager, 4);
            assert_int_equal(IUnknown_Release(back), 3);
            assert_int_equal(IUnknown_Release(second), 2);
            assert_int_equal(IUnknown_Release(first), 1);
        }
    }
}

static void query_interface_for_null_is_e_pointer(void **state)
{
    IHostMemoryManager *manager = *state;
    IHostMemoryStatistics *statistics = POISON_POINTER;
    EXPECT_HR(IHostMemoryManager_QueryInterface(manager, &IID_IUnknown, NULL), E_POINTER);
    EXPECT_HR(IHostMemoryManager_QueryInterface(manager, &IID_nobody_has, NULL), E_POINTER);
    EXPECT_OK(IHostMemoryManager_QueryInterface(manager, &IID_IHostMemoryStatistics,
                                                (void **)&statistics));
    EXPECT_HR(IHostMemoryStatistics_QueryInterface(statistics, &IID_IUnknown, NULL), E_POINTER);
    assert_int_equal(IHostMemoryStatistics_Release(statistics), 1);
    IHostMemoryLimits *limits = INTERFACE_OF(manager, IHostMemoryLimits);
    EXPECT_HR(IHostMemoryLimits_QueryInterface(limits, &IID_IUnknown, NULL), E_POINTER);
    assert_int_equal(IHostMemoryLimits_Release(limits), 1);
}

static DWORD WINAPI add_and_release(void *context)
{
    IHostMemoryManager *manager = context;
    for (int i = 0; i < 20000; i++) {
        IUnknown *again;
        if (IHostMemoryManager_AddRef(manager) < 2 ||
            IHostMemoryManager_QueryInterface(manager, &IID_IUnknown, (void **)&again) != S_OK ||
            IUnknown_Release(again) < 1 || IHostMemoryManager_Release(manager) < 1) {
            return 1;
        }
    }
    return 0;
}

/* trap 22 */
static void references_are_counted_from_many_threads(void **state)
{
    IHostMemoryManager *manager = *state;
    run_threads(8, add_and_release, manager);
    EXPECT_REF(manager, 1);
}

/* ---- life and death ---- */

struct usage_of_process {
    UINT64 reserved;
    UINT64 committed;
};

static struct usage_of_process usage_of_process(void)
{
    struct usage_of_process usage = {0, 0};
    MEMORY_BASIC_INFORMATION info;
    char *at = NULL;
    while (VirtualQuery(at, &info, sizeof(info)) == sizeof(info)) {
        usage.reserved += info.State != MEM_FREE ? info.RegionSize : 0;
        usage.committed += info.State == MEM_COMMIT ? info.RegionSize : 0;
        at = (char *)info.BaseAddress + info.RegionSize;
    }
    return usage;
}

static void the_last_release_gives_back_all_the_tables(void **state)
{
    (void)state;
    /* Whatever the first calls map. */
    IHostMemoryManager *first = create_manager();
    usage_of_process();
    assert_int_equal(IHostMemoryManager_Release(first), 0);
    struct usage_of_process before = usage_of_process();
    for (int i = 0; i < 50; i++) {
        IHostMemoryManager *manager = create_manager();
        IHostMalloc *heap = POISON_POINTER;
        void *block = POISON_POINTER;
        char *memory = reserve_committed(manager, 16 * GRANULARITY);
        EXPECT_OK(IHostMemoryManager_CreateMalloc(manager, MALLOC_THREADSAFE, &heap));
        EXPECT_OK(IHostMalloc_DebugAlloc(heap, 1000, eTaskCritical, (char *)"file.c", 1, &block));
        EXPECT_OK(IHostMemoryManager_VirtualFree(manager, memory, 0, MEM_RELEASE));
        assert_int_equal(IHostMemoryManager_Release(manager), 1);
        assert_int_equal(IHostMalloc_Release(heap), 0);
    }
    struct usage_of_process after = usage_of_process();
    assert_in_range(after.reserved, 0, before.reserved + 1024 * 1024);
    assert_in_range(after.committed, 0, before.committed + 1024 * 1024);
}

static void memory_outlives_its_manager(void **state)
{
    IHostMemoryManager *manager = create_manager();
    char *memory = reserve_committed(manager, 3 * PAGE);
    struct picture before, after;
    (void)state;
    memset(memory, 0x5a, 3 * PAGE);
    take_picture(&before, memory, GRANULARITY);
    assert_int_equal(IHostMemoryManager_Release(manager), 0);
    take_picture(&after, memory, GRANULARITY);
    EXPECT_SAME_PICTURE(&before, &after);
    assert_int_equal(memory[3 * PAGE - 1], 0x5a);
    assert_true(VirtualFree(memory, 0, MEM_RELEASE));
}

/* trap 24: each CLR of a process has its own manager, and the memory of one is foreign to the
 * other; queries, protection and commits work on it as on all foreign memory. */
static void two_managers_keep_their_memory_apart(void **state)
{
    IHostMemoryManager *first = *state, *second = create_manager();
    char *memory = reserve(first, GRANULARITY);
    void *result = POISON_POINTER;
    DWORD old = POISON_DWORD;
    EXPECT_CALL(IHostMemoryManager_VirtualFree(second, memory, 0, MEM_RELEASE),
                HOST_E_INVALIDOPERATION, ERROR_INVALID_ADDRESS);
    EXPECT_CALL(IHostMemoryManager_VirtualFree(second, memory, PAGE, MEM_DECOMMIT),
                HOST_E_INVALIDOPERATION, ERROR_INVALID_ADDRESS);
    assert_int_equal(statistics_of(first).RegionsCurrent, 1);
    assert_int_equal(statistics_of(first).ForeignVirtualFree, 0);
    assert_int_equal(statistics_of(second).RegionsCurrent, 0);
    assert_int_equal(statistics_of(second).ForeignVirtualFree, 2);
    EXPECT_OK(IHostMemoryManager_VirtualAlloc(first, memory, PAGE, MEM_COMMIT, PAGE_READWRITE,
                                              eTaskCritical, &result));
    EXPECT_OK(IHostMemoryManager_VirtualProtect(second, memory, PAGE, PAGE_READONLY, &old));
    assert_int_equal(old, PAGE_READWRITE);
    assert_int_equal(statistics_of(second).CommitCurrentBytes, 0);
    EXPECT_OK(IHostMemoryManager_VirtualFree(first, memory, 0, MEM_RELEASE));
    assert_int_equal(IHostMemoryManager_Release(second), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(null_options_are_the_defaults),
        cmocka_unit_test(options_of_this_version_are_accepted),
        cmocka_unit_test(options_of_a_size_no_version_had_are_refused),
        cmocka_unit_test(options_of_a_later_version_are_accepted_if_nothing_new_is_set),
        cmocka_unit_test(every_unknown_flag_is_refused),
        cmocka_unit_test(the_emergency_part_is_a_part_of_the_limit),
        cmocka_unit_test(amounts_that_cannot_be_meant_are_refused),
        cmocka_unit_test(what_is_reserved_has_to_be_zero),
        cmocka_unit_test(every_option_is_taken),
        cmocka_unit_test(null_out_pointer_is_e_pointer),
        manager_test(a_new_manager_has_one_reference),
        manager_test(query_interface_knows_the_interfaces_and_no_other),
        manager_test(query_interface_is_symmetric_and_transitive),
        manager_test(query_interface_for_null_is_e_pointer),
        manager_test(references_are_counted_from_many_threads),
        cmocka_unit_test(the_last_release_gives_back_all_the_tables),
        cmocka_unit_test(memory_outlives_its_manager),
        manager_test(two_managers_keep_their_memory_apart),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
