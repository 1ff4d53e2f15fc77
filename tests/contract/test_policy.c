/* SPDX-License-Identifier: MIT
 *
 * Limits that change while memory is in use: IHostMemoryLimits::SetLimits and GetLimits, and the
 * reserve limit. What the commit limit does at a fixed value is in test_limits.c.
 */
#include "contract/contract.h"

#include <string.h>

/* VirtualAlloc without an address; NULL when it was refused for lack of budget. */
static char *take(IHostMemoryManager *manager, SIZE_T size, DWORD type, EMemoryCriticalLevel level)
{
    void *memory = POISON_POINTER;
    SetLastError(MARKER);
    HRESULT hr =
        IHostMemoryManager_VirtualAlloc(manager, NULL, size, type, PAGE_READWRITE, level, &memory);
    expect_call(hr, GetLastError(), memory != NULL ? S_OK : E_OUTOFMEMORY,
                memory != NULL ? UNCHANGED : ERROR_NOT_ENOUGH_MEMORY, "VirtualAlloc", __FILE__,
                __LINE__);
    return memory;
}

static char *take_committed(IHostMemoryManager *manager, SIZE_T size, EMemoryCriticalLevel level)
{
    return take(manager, size, MEM_RESERVE | MEM_COMMIT, level);
}

static void release(IHostMemoryManager *manager, char *memory)
{
    EXPECT_OK(IHostMemoryManager_VirtualFree(manager, memory, 0, MEM_RELEASE));
}

static HOSTMEM_LIMITS limits_of(IHostMemoryManager *manager)
{
    IHostMemoryLimits *setter = INTERFACE_OF(manager, IHostMemoryLimits);
    HOSTMEM_LIMITS limits;
    memset(&limits, 0xad, sizeof(limits));
    limits.Size = sizeof(limits);
    EXPECT_OK(IHostMemoryLimits_GetLimits(setter, &limits));
    IHostMemoryLimits_Release(setter);
    return limits;
}

static void expect_limits(IHostMemoryManager *manager, HOSTMEM_LIMITS expected)
{
    HOSTMEM_LIMITS limits = limits_of(manager);
    expected.Size = sizeof(expected);
    assert_memory_equal(&limits, &expected, sizeof(limits));
}

/* ---- SetLimits and GetLimits ---- */

static void limits_start_as_the_options_say(void **state)
{
    IHostMemoryManager *manager =
        CREATE_MANAGER(.Flags = HOSTMEM_FLAG_OVERDRAFT, .CommitLimit = 100 * MIB,
                       .ReserveLimit = 300 * MIB, .EmergencyCommit = 10 * MIB);
    expect_limits(manager, (HOSTMEM_LIMITS){.Flags = HOSTMEM_FLAG_OVERDRAFT,
                                            .CommitLimit = 100 * MIB,
                                            .ReserveLimit = 300 * MIB,
                                            .EmergencyCommit = 10 * MIB});
    assert_int_equal(IHostMemoryManager_Release(manager), 0);
    expect_limits(*state, (HOSTMEM_LIMITS){0}); /* the defaults: none */
}

static void what_is_set_is_what_is_got(void **state)
{
    static const HOSTMEM_LIMITS given[] = {
        {.CommitLimit = 1},
        {.CommitLimit = 4097, .ReserveLimit = 5, .EmergencyCommit = 4097},
        {.Flags = HOSTMEM_FLAG_OVERDRAFT},
        {.CommitLimit = 1ull << 47, .ReserveLimit = 1ull << 47, .EmergencyCommit = 1ull << 47},
        {.CommitLimit = 1ull << 32, .ReserveLimit = (1ull << 32) + 1, .EmergencyCommit = 1},
        {0}};
    for (size_t i = 0; i < sizeof(given) / sizeof(given[0]); i++) {
        HOSTMEM_LIMITS limits = given[i];
        limits.Size = sizeof(limits);
        set_limits(*state, &limits);
        expect_limits(*state, limits);
    }
}

static void limits_that_make_no_sense_are_refused_and_change_nothing(void **state)
{
    enum { SIZE = sizeof(HOSTMEM_LIMITS) };
    static const HOSTMEM_LIMITS wrong[] = {
        {.Size = 0},
        {.Size = 4},
        {.Size = SIZE - 8},
        {.Size = SIZE - 1},
        {.Size = 4097},
        {.Size = 0xffffffff},
        {.Size = SIZE, .CommitLimit = (1ull << 47) + 1},
        {.Size = SIZE, .CommitLimit = UINT64_MAX},
        {.Size = SIZE, .ReserveLimit = (1ull << 47) + 1},
        {.Size = SIZE, .ReserveLimit = (UINT64)(INT64)(INT32)0xc0000000}, /* 3 GiB in an int */
        {.Size = SIZE, .CommitLimit = 99, .EmergencyCommit = 100},
        {.Size = SIZE, .ReserveLimit = 100, .EmergencyCommit = 1},
    };
    IHostMemoryManager *manager = *state;
    IHostMemoryLimits *setter = INTERFACE_OF(manager, IHostMemoryLimits);
    const HOSTMEM_LIMITS in_force = {.CommitLimit = 64 * MIB, .EmergencyCommit = 8 * MIB};
    SET_LIMITS(manager, .CommitLimit = 64 * MIB, .EmergencyCommit = 8 * MIB);
    EXPECT_CALL(IHostMemoryLimits_SetLimits(setter, NULL), E_POINTER, UNCHANGED);
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        EXPECT_CALL(IHostMemoryLimits_SetLimits(setter, &wrong[i]), E_INVALIDARG, UNCHANGED);
    }
    for (unsigned bit = 0; bit < 32; bit++) {
        HOSTMEM_LIMITS limits = {.Size = SIZE, .Flags = (UINT32)1 << bit};
        if (limits.Flags != HOSTMEM_FLAG_OVERDRAFT) {
            EXPECT_CALL(IHostMemoryLimits_SetLimits(setter, &limits), E_INVALIDARG, UNCHANGED);
        }
    }
    expect_limits(manager, in_force);
    assert_null(take_committed(manager, 60 * MIB, eTaskCritical));
    assert_int_equal(IHostMemoryLimits_Release(setter), 1);
}

static void no_more_than_the_given_size_is_filled(void **state)
{
    static const UINT32 sizes[] = {0, 1, 8, sizeof(HOSTMEM_LIMITS) - 1, 4097, 0xffffffff};
    IHostMemoryLimits *setter = INTERFACE_OF(*state, IHostMemoryLimits);
    struct {
        HOSTMEM_LIMITS given;
        unsigned char behind[64];
    } buffer, before;
    EXPECT_CALL(IHostMemoryLimits_GetLimits(setter, NULL), E_POINTER, UNCHANGED);
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        memset(&buffer, 0xad, sizeof(buffer));
        buffer.given.Size = sizes[i];
        before = buffer;
        EXPECT_CALL(IHostMemoryLimits_GetLimits(setter, &buffer.given), E_INVALIDARG, UNCHANGED);
        assert_memory_equal(&buffer, &before, sizeof(buffer));
    }
    buffer.given.Size = sizeof(HOSTMEM_LIMITS);
    EXPECT_OK(IHostMemoryLimits_GetLimits(setter, &buffer.given));
    assert_memory_equal(buffer.behind, before.behind, sizeof(buffer.behind));
    /* A host of a later version: what we do not know is 0 when it asks, and must be when it sets. */
    buffer.given.Size = sizeof(HOSTMEM_LIMITS) + 16;
    EXPECT_CALL(IHostMemoryLimits_SetLimits(setter, &buffer.given), E_INVALIDARG, UNCHANGED);
    EXPECT_OK(IHostMemoryLimits_GetLimits(setter, &buffer.given));
    assert_int_equal(buffer.given.Size, sizeof(HOSTMEM_LIMITS) + 16);
    assert_memory_equal(buffer.behind, (unsigned char[16]){0}, 16);
    assert_memory_equal(buffer.behind + 16, before.behind + 16, sizeof(buffer.behind) - 16);
    EXPECT_OK(IHostMemoryLimits_SetLimits(setter, &buffer.given));
    assert_int_equal(IHostMemoryLimits_Release(setter), 1);
}

/* ---- changes ---- */

static void a_limit_below_what_is_in_use_takes_nothing_away(void **state)
{
    IHostMemoryManager *manager = *state;
    struct picture before, after;
    char *first = take_committed(manager, 6 * MIB, eTaskCritical);
    char *second = take_committed(manager, 4 * MIB, eTaskCritical);
    memset(first, 0x5a, 6 * MIB);
    take_picture(&before, first, 6 * MIB);
    SET_LIMITS(manager, .CommitLimit = 5 * MIB);
    take_picture(&after, first, 6 * MIB);
    EXPECT_SAME_PICTURE(&before, &after);
    first[0] = 1;
    first[6 * MIB - 1]++;
    assert_int_equal(first[6 * MIB - 1], 0x5b);
    /* Nothing new. */
    assert_int_equal(statistics_of(manager).ChargedCurrentBytes, 10 * MIB);
    assert_null(take_committed(manager, 1, eTaskCritical));
    assert_null(take_committed(manager, 1, eProcessCritical));
    /* Still too much: 6 of 5 MiB. */
    release(manager, second);
    assert_null(take_committed(manager, 1, eProcessCritical));
    EXPECT_OK(IHostMemoryManager_VirtualFree(manager, first, 2 * MIB, MEM_DECOMMIT));
    assert_null(take_committed(manager, MIB + PAGE, eTaskCritical));
    second = take_committed(manager, MIB, eTaskCritical);
    assert_non_null(second);
    assert_null(take_committed(manager, 1, eTaskCritical));
    assert_int_equal(statistics_of(manager).OverdraftPeakBytes, 0); /* nobody overdrew */
    release(manager, first);
    release(manager, second);
}

static void a_raised_limit_lets_the_next_request_through(void **state)
{
    IHostMemoryManager *manager = *state;
    char *memory[8];
    for (SIZE_T i = 0; i < 8; i++) {
        SET_LIMITS(manager, .CommitLimit = i * MIB + 1);
        assert_null(take_committed(manager, MIB, eProcessCritical));
        SET_LIMITS(manager, .CommitLimit = (i + 1) * MIB);
        memory[i] = take_committed(manager, MIB, eTaskCritical);
        assert_non_null(memory[i]);
        assert_null(take_committed(manager, 1, eProcessCritical));
    }
    SET_LIMITS(manager, .ReserveLimit = 0); /* none at all */
    char *more = take_committed(manager, 64 * MIB, eTaskCritical);
    assert_non_null(more);
    for (SIZE_T i = 0; i < 8; i++) {
        release(manager, memory[i]);
    }
    release(manager, more);
}

static void the_emergency_part_and_the_flag_change_as_well(void **state)
{
    IHostMemoryManager *manager = *state;
    SET_LIMITS(manager, .CommitLimit = 8 * MIB, .EmergencyCommit = 8 * MIB);
    assert_null(take_committed(manager, 1, eTaskCritical));
    char *half = take_committed(manager, 4 * MIB, eAppDomainCritical);
    assert_non_null(half);
    assert_null(take_committed(manager, 1, eAppDomainCritical));
    SET_LIMITS(manager, .CommitLimit = 8 * MIB, .EmergencyCommit = 2 * MIB);
    char *task = take_committed(manager, 2 * MIB, eTaskCritical);
    assert_non_null(task);
    assert_null(take_committed(manager, 1, eTaskCritical));
    assert_null(take_committed(manager, 3 * MIB, eProcessCritical));
    SET_LIMITS(manager, .Flags = HOSTMEM_FLAG_OVERDRAFT, .CommitLimit = 8 * MIB);
    char *over = take_committed(manager, 3 * MIB, eProcessCritical);
    assert_non_null(over);
    assert_int_equal(statistics_of(manager).OverdraftPeakBytes, MIB);
    SET_LIMITS(manager, .CommitLimit = 8 * MIB);
    assert_null(take_committed(manager, 1, eProcessCritical));
    release(manager, half);
    release(manager, task);
    release(manager, over);
}

/* In a process of 32 bits; in one of 64 these are limits like others. */
static void a_limit_beyond_the_address_space_is_none(void **state)
{
    static const UINT64 limits[] = {1ull << 32, (1ull << 32) + 1, 1ull << 40, 1ull << 47};
    IHostMemoryManager *manager = *state;
    for (size_t i = 0; i < sizeof(limits) / sizeof(limits[0]); i++) {
        SET_LIMITS(manager, .CommitLimit = limits[i], .ReserveLimit = limits[i],
                   .EmergencyCommit = sizeof(void *) == 4 ? limits[i] : 0);
        char *memory = take_committed(manager, 16 * MIB, eTaskCritical);
        assert_non_null(memory);
        release(manager, memory);
    }
    assert_int_equal(statistics_of(manager).DeniedTask, 0);
}

/* ---- the reserve limit ---- */

static void reserve_has_a_limit_of_its_own(void **state)
{
    IHostMemoryManager *manager = *state;
    SET_LIMITS(manager, .ReserveLimit = 4 * MIB, .Flags = HOSTMEM_FLAG_OVERDRAFT);
    char *memory = take(manager, 3 * MIB, MEM_RESERVE, eTaskCritical);
    assert_non_null(memory);
    assert_null(take(manager, MIB + 1, MEM_RESERVE, eTaskCritical));
    assert_null(take(manager, MIB + 1, MEM_RESERVE, eAppDomainCritical));
    assert_null(take(manager, MIB + 1, MEM_COMMIT, eProcessCritical)); /* never overdrawn */
    char *rest = take(manager, MIB, MEM_RESERVE, eTaskCritical);
    assert_non_null(rest);
    assert_null(take(manager, 1, MEM_RESERVE, eProcessCritical));
    HOSTMEM_STATISTICS statistics = statistics_of(manager);
    assert_int_equal(statistics.ReserveCurrentBytes, 4 * MIB);
    assert_int_equal(statistics.ReservePeakBytes, 4 * MIB);
    assert_int_equal(statistics.DeniedReserve, 4);
    assert_int_equal(statistics.DeniedTask, 1);
    assert_int_equal(statistics.DeniedAppDomain, 1);
    assert_int_equal(statistics.DeniedProcess, 2);
    assert_int_equal(statistics.RegionsCurrent, 2);
    release(manager, rest);
    rest = take(manager, MIB, MEM_RESERVE | MEM_COMMIT, eTaskCritical);
    assert_non_null(rest);
    release(manager, rest);
    release(manager, memory);
}

/* trap 10: address space that is used up says nothing of commit. */
static void commits_and_heap_blocks_do_not_touch_the_reserve_limit(void **state)
{
    IHostMemoryManager *manager = *state;
    IHostMalloc *heap = POISON_POINTER;
    void *result = POISON_POINTER;
    EXPECT_OK(IHostMemoryManager_CreateMalloc(manager, MALLOC_THREADSAFE, &heap));
    char *memory = take(manager, 4 * MIB, MEM_RESERVE, eTaskCritical);
    for (UINT64 limit = 4 * MIB; limit > 0; limit /= 2) { /* also below what is reserved */
        SET_LIMITS(manager, .ReserveLimit = limit);
        EXPECT_OK(IHostMemoryManager_VirtualAlloc(manager, memory, 2 * MIB, MEM_COMMIT,
                                                  PAGE_READWRITE, eTaskCritical, &result));
        EXPECT_OK(IHostMalloc_Alloc(heap, MIB, eTaskCritical, &result));
        EXPECT_OK(IHostMalloc_Free(heap, result));
        EXPECT_OK(IHostMemoryManager_VirtualFree(manager, memory, 0, MEM_DECOMMIT));
        assert_null(take(manager, 1, MEM_RESERVE, eProcessCritical));
    }
    assert_int_equal(IHostMalloc_Release(heap), 0);
    release(manager, memory);
}

static void a_commit_that_is_refused_gives_its_reserve_back(void **state)
{
    IHostMemoryManager *manager = *state;
    SET_LIMITS(manager, .CommitLimit = MIB, .ReserveLimit = 4 * MIB);
    for (int i = 0; i < 10; i++) {
        assert_null(take(manager, 4 * MIB, MEM_RESERVE | MEM_COMMIT, eProcessCritical));
    }
    assert_int_equal(statistics_of(manager).DeniedProcess, 10);
    assert_int_equal(statistics_of(manager).DeniedReserve, 0);
    char *memory = take(manager, 4 * MIB, MEM_RESERVE, eTaskCritical);
    assert_non_null(memory);
    release(manager, memory);
}

/* ---- Commit that the manager does not make ---- */

static void foreign_commit_counts_against_the_limit(void **state)
{
    IHostMemoryManager *manager =
        CREATE_MANAGER(.CommitLimit = 4 * MIB, .EmergencyCommit = 2 * MIB);
    IHostMemoryCharge *charge = INTERFACE_OF(manager, IHostMemoryCharge);
    (void)state;
    EXPECT_OK(IHostMemoryCharge_ChargeCommit(charge, 2 * MIB, eTaskCritical));
    EXPECT_HR(IHostMemoryCharge_ChargeCommit(charge, 1, eTaskCritical), E_OUTOFMEMORY);
    assert_null(take_committed(manager, MIB, eTaskCritical));
    EXPECT_OK(IHostMemoryCharge_ChargeCommit(charge, 2 * MIB, eProcessCritical));
    EXPECT_HR(IHostMemoryCharge_ChargeCommit(charge, 1, eProcessCritical), E_OUTOFMEMORY);
    EXPECT_HR(IHostMemoryCharge_ChargeCommit(charge, UINT64_MAX, eProcessCritical), E_OUTOFMEMORY);
    HOSTMEM_STATISTICS now = statistics_of(manager);
    assert_int_equal(now.ForeignCommitCurrentBytes, 4 * MIB);
    assert_int_equal(now.ChargedCurrentBytes, 4 * MIB);
    assert_int_equal(now.CommitCurrentBytes, 0);

    EXPECT_HR(IHostMemoryCharge_RefundCommit(charge, 4 * MIB + 1), E_INVALIDARG);
    EXPECT_OK(IHostMemoryCharge_RefundCommit(charge, 4 * MIB));
    EXPECT_HR(IHostMemoryCharge_RefundCommit(charge, 1), E_INVALIDARG);
    now = statistics_of(manager);
    assert_int_equal(now.ForeignCommitCurrentBytes, 0);
    assert_int_equal(now.ForeignCommitPeakBytes, 4 * MIB);
    assert_int_equal(now.ChargedCurrentBytes, 0);
    release(manager, take_committed(manager, MIB, eTaskCritical));
    shut_down(manager);
    EXPECT_HR(IHostMemoryCharge_ChargeCommit(charge, 1, eTaskCritical), HOST_E_CLRNOTAVAILABLE);
    IHostMemoryCharge_Release(charge);
    EXPECT_REF(manager, 1);
    IHostMemoryManager_Release(manager);
}

#define REFUNDS 2000

struct refunder {
    IHostMemoryCharge *charge;
    LONG *refunded;
    HANDLE go;
};

static DWORD WINAPI refund_all(void *context)
{
    struct refunder *refunder = context;
    WaitForSingleObject(refunder->go, INFINITE);
    for (int i = 0; i < REFUNDS; i++) {
        if (IHostMemoryCharge_RefundCommit(refunder->charge, PAGE) == S_OK) {
            InterlockedIncrement(refunder->refunded);
        }
    }
    return 0;
}

/* Two threads refund what was charged once: each page is refunded once, and the rest refused. */
static void what_is_refunded_twice_is_refused_once(void **state)
{
    IHostMemoryManager *manager = CREATE_MANAGER(.CommitLimit = 64 * MIB);
    IHostMemoryCharge *charge = INTERFACE_OF(manager, IHostMemoryCharge);
    LONG refunded = 0;
    (void)state;
    struct refunder refunder = {charge, &refunded, CreateEventW(NULL, TRUE, FALSE, NULL)};
    HANDLE threads[2];
    char *memory = take_committed(manager, MIB, eTaskCritical);
    EXPECT_OK(IHostMemoryCharge_ChargeCommit(charge, REFUNDS * PAGE, eTaskCritical));
    for (int i = 0; i < 2; i++) {
        threads[i] = CreateThread(NULL, 0, refund_all, &refunder, 0, NULL);
        assert_non_null(threads[i]);
    }
    SetEvent(refunder.go);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(WaitForSingleObject(threads[i], 60000), WAIT_OBJECT_0);
        CloseHandle(threads[i]);
    }
    CloseHandle(refunder.go);
    assert_int_equal(refunded, REFUNDS);
    HOSTMEM_STATISTICS now = statistics_of(manager);
    assert_int_equal(now.ForeignCommitCurrentBytes, 0);
    assert_int_equal(now.ChargedCurrentBytes, MIB);
    release(manager, memory);
    IHostMemoryCharge_Release(charge);
    IHostMemoryManager_Release(manager);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        manager_test(limits_start_as_the_options_say),
        manager_test(what_is_set_is_what_is_got),
        manager_test(limits_that_make_no_sense_are_refused_and_change_nothing),
        manager_test(no_more_than_the_given_size_is_filled),
        manager_test(a_limit_below_what_is_in_use_takes_nothing_away),
        manager_test(a_raised_limit_lets_the_next_request_through),
        manager_test(the_emergency_part_and_the_flag_change_as_well),
        manager_test(a_limit_beyond_the_address_space_is_none),
        manager_test(reserve_has_a_limit_of_its_own),
        manager_test(commits_and_heap_blocks_do_not_touch_the_reserve_limit),
        manager_test(a_commit_that_is_refused_gives_its_reserve_back),
        manager_test(foreign_commit_counts_against_the_limit),
        cmocka_unit_test(what_is_refunded_twice_is_refused_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
