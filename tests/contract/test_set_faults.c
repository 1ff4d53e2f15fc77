/* SPDX-License-Identifier: MIT
 *
 * IHostMemoryFaults::SetFaults: requests refused on purpose look like requests beyond a limit, are
 * counted, change nothing, and are the same ones each time. Which number is refused at which rate is
 * in test_fault_plan.c.
 */
#include "contract/contract.h"

#include <string.h>

enum { ALL_LEVELS = HOSTMEM_FAULT_TASK | HOSTMEM_FAULT_APP_DOMAIN | HOSTMEM_FAULT_PROCESS };
enum { ALL_METHODS = HOSTMEM_FAULT_VIRTUAL_ALLOC | HOSTMEM_FAULT_ALLOC };

/* The fields of HOSTMEM_FAULTS behind Size; every request of the levels and methods unless the rate
 * is given. */
#define FAULTS(...)                                                                                \
    (HOSTMEM_FAULTS)                                                                               \
    {                                                                                              \
        .Size = sizeof(HOSTMEM_FAULTS), .Levels = ALL_LEVELS, .Methods = ALL_METHODS,              \
        .RateNumerator = 1, .RateDenominator = 1, __VA_ARGS__                                      \
    }

#pragma GCC diagnostic ignored "-Woverride-init" /* that is how FAULTS works */

static void set(IHostMemoryManager *manager, HOSTMEM_FAULTS faults)
{
    IHostMemoryFaults *setter = INTERFACE_OF(manager, IHostMemoryFaults);
    EXPECT_OK(IHostMemoryFaults_SetFaults(setter, &faults));
    IHostMemoryFaults_Release(setter);
}

static void set_none(IHostMemoryManager *manager)
{
    set(manager, (HOSTMEM_FAULTS){.Size = sizeof(HOSTMEM_FAULTS)});
}

/* A request and how it was answered; true when it was granted. */
static bool virtual_alloc(IHostMemoryManager *manager, void *address, SIZE_T size, DWORD type,
                          EMemoryCriticalLevel level, void **memory)
{
    *memory = POISON_POINTER;
    SetLastError(MARKER);
    HRESULT hr = IHostMemoryManager_VirtualAlloc(manager, address, size, type, PAGE_READWRITE,
                                                 level, memory);
    bool granted = *memory != NULL;
    expect_call(hr, GetLastError(), granted ? S_OK : E_OUTOFMEMORY,
                granted ? UNCHANGED : ERROR_NOT_ENOUGH_MEMORY, "VirtualAlloc", __FILE__, __LINE__);
    return granted;
}

static bool take(IHostMemoryManager *manager, SIZE_T size, EMemoryCriticalLevel level)
{
    void *memory;
    bool granted = virtual_alloc(manager, NULL, size, MEM_RESERVE | MEM_COMMIT, level, &memory);
    if (granted) {
        EXPECT_OK(IHostMemoryManager_VirtualFree(manager, memory, 0, MEM_RELEASE));
    }
    return granted;
}

static bool take_block(IHostMalloc *heap, SIZE_T size, EMemoryCriticalLevel level, bool debug)
{
    void *block = POISON_POINTER;
    SetLastError(MARKER);
    HRESULT hr = debug ? IHostMalloc_DebugAlloc(heap, size, level, (char *)"file.c", 1, &block)
                       : IHostMalloc_Alloc(heap, size, level, &block);
    bool granted = block != NULL;
    expect_call(hr, GetLastError(), granted ? S_OK : E_OUTOFMEMORY,
                granted ? UNCHANGED : ERROR_NOT_ENOUGH_MEMORY, "Alloc", __FILE__, __LINE__);
    if (granted) {
        EXPECT_OK(IHostMalloc_Free(heap, block));
    }
    return granted;
}

static void expect_counted(IHostMemoryManager *manager, UINT64 task, UINT64 app_domain,
                           UINT64 process)
{
    HOSTMEM_STATISTICS now = statistics_of(manager);
    assert_int_equal(now.FaultsTask, task);
    assert_int_equal(now.FaultsAppDomain, app_domain);
    assert_int_equal(now.FaultsProcess, process);
    assert_int_equal(now.DeniedTask + now.DeniedAppDomain + now.DeniedProcess, 0);
    assert_int_equal(now.NotificationsLow, 0);
}

/* ---- the call ---- */

static void rules_that_make_no_sense_are_refused_and_change_nothing(void **state)
{
    enum { SIZE = sizeof(HOSTMEM_FAULTS) };
    static const UINT32 sizes[] = {0, 1, 4, SIZE - 8, SIZE - 1, 4097, 0xffffffff};
    const HOSTMEM_FAULTS wrong[] = {FAULTS(.Reserved = 1), FAULTS(.RateDenominator = 0),
                                    FAULTS(.RateNumerator = 2), FAULTS(.Levels = 0),
                                    FAULTS(.Methods = 0)};
    IHostMemoryManager *manager = *state;
    IHostMemoryFaults *setter = INTERFACE_OF(manager, IHostMemoryFaults);
    set(manager, FAULTS(.Skip = 1));
    EXPECT_CALL(IHostMemoryFaults_SetFaults(setter, NULL), E_POINTER, UNCHANGED);
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        HOSTMEM_FAULTS faults = FAULTS(.Size = sizes[i]);
        EXPECT_CALL(IHostMemoryFaults_SetFaults(setter, &faults), E_INVALIDARG, UNCHANGED);
    }
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        EXPECT_CALL(IHostMemoryFaults_SetFaults(setter, &wrong[i]), E_INVALIDARG, UNCHANGED);
    }
    for (unsigned bit = 0; bit < 32; bit++) {
        HOSTMEM_FAULTS level = FAULTS(.Levels = (UINT32)1 << bit, .RateNumerator = 0);
        HOSTMEM_FAULTS method = FAULTS(.Methods = (UINT32)1 << bit, .RateNumerator = 0);
        if (bit > 2) {
            EXPECT_CALL(IHostMemoryFaults_SetFaults(setter, &level), E_INVALIDARG, UNCHANGED);
        }
        if (bit > 1) {
            EXPECT_CALL(IHostMemoryFaults_SetFaults(setter, &method), E_INVALIDARG, UNCHANGED);
        }
    }
    struct {
        HOSTMEM_FAULTS faults;
        UINT64 later_field;
    } later = {FAULTS(.Size = sizeof(later), .Skip = 1), 1};
    EXPECT_CALL(IHostMemoryFaults_SetFaults(setter, &later.faults), E_INVALIDARG, UNCHANGED);
    later.later_field = 0;
    EXPECT_OK(IHostMemoryFaults_SetFaults(setter, &later.faults));
    assert_int_equal(IHostMemoryFaults_Release(setter), 1);
    assert_true(take(manager, PAGE, eTaskCritical)); /* rules like the first */
    assert_false(take(manager, PAGE, eTaskCritical));
}

static void nothing_is_refused_until_it_is_asked_for_and_after_it_is_over(void **state)
{
    IHostMemoryManager *manager = *state;
    for (int i = 0; i < 1000; i++) {
        assert_true(take(manager, PAGE, eTaskCritical));
    }
    set(manager, FAULTS());
    assert_false(take(manager, PAGE, eTaskCritical));
    set_none(manager);
    for (int i = 0; i < 1000; i++) {
        assert_true(take(manager, PAGE, eTaskCritical));
    }
    expect_counted(manager, 1, 0, 0);
}

/* ---- a refusal ---- */

static void a_refused_request_has_changed_nothing(void **state)
{
    IHostMemoryManager *manager = *state;
    char *memory = reserve(manager, 64 * PAGE);
    struct picture before, after;
    void *result;
    assert_true(virtual_alloc(manager, memory, 3 * PAGE, MEM_COMMIT, eTaskCritical, &result));
    take_picture(&before, memory, 64 * PAGE);
    HOSTMEM_STATISTICS figures_before = statistics_of(manager);
    set(manager, FAULTS());

    assert_false(virtual_alloc(manager, NULL, PAGE, MEM_RESERVE, eTaskCritical, &result));
    assert_false(virtual_alloc(manager, NULL, PAGE, MEM_COMMIT, eTaskCritical, &result));
    assert_false(
        virtual_alloc(manager, memory + 2 * PAGE, 4 * PAGE, MEM_COMMIT, eTaskCritical, &result));

    take_picture(&after, memory, 64 * PAGE);
    EXPECT_SAME_PICTURE(&before, &after);
    HOSTMEM_STATISTICS figures_after = statistics_of(manager);
    assert_int_equal(figures_after.FaultsTask, 3);
    assert_int_equal(figures_after.Calls.VirtualAlloc, figures_before.Calls.VirtualAlloc + 3);
    figures_after.FaultsTask = 0;
    figures_after.Calls = figures_before.Calls;
    assert_memory_equal(&figures_before, &figures_after, sizeof(figures_before));
    EXPECT_EXACT_COMMIT(manager);
    set_none(manager);
    EXPECT_OK(IHostMemoryManager_VirtualFree(manager, memory, 0, MEM_RELEASE));
}

static void what_asks_for_no_memory_is_not_refused(void **state)
{
    IHostMemoryManager *manager = *state;
    char *memory = reserve_committed(manager, 4 * PAGE);
    MEMORY_BASIC_INFORMATION info;
    SIZE_T written = POISON_SIZE;
    DWORD old = POISON_DWORD;
    void *result;
    set(manager, FAULTS());
    assert_true(virtual_alloc(manager, memory, PAGE, MEM_RESET, eTaskCritical, &result));
    EXPECT_OK(IHostMemoryManager_VirtualProtect(manager, memory, PAGE, PAGE_READONLY, &old));
    EXPECT_OK(IHostMemoryManager_VirtualQuery(manager, memory, &info, sizeof(info), &written));
    EXPECT_OK(IHostMemoryManager_VirtualFree(manager, memory, PAGE, MEM_DECOMMIT));
    EXPECT_OK(IHostMemoryManager_VirtualFree(manager, memory, 0, MEM_RELEASE));
    expect_counted(manager, 0, 0, 0);
}

static void blocks_are_refused_like_pages(void **state)
{
    IHostMemoryManager *manager = *state;
    IHostMalloc *heap = POISON_POINTER;
    EXPECT_OK(IHostMemoryManager_CreateMalloc(manager, MALLOC_THREADSAFE, &heap));
    set(manager, FAULTS(.Methods = HOSTMEM_FAULT_ALLOC));
    assert_false(take_block(heap, 100, eTaskCritical, false));
    assert_false(take_block(heap, 100, eTaskCritical, true));
    assert_false(take_block(heap, 0, eTaskCritical, false));
    assert_true(take(manager, PAGE, eTaskCritical)); /* not these */
    set(manager, FAULTS(.Methods = HOSTMEM_FAULT_VIRTUAL_ALLOC));
    assert_true(take_block(heap, 100, eTaskCritical, false));
    assert_true(take_block(heap, 100, eTaskCritical, true));
    assert_false(take(manager, PAGE, eTaskCritical));
    expect_counted(manager, 4, 0, 0);
    assert_int_equal(statistics_of(manager).HeapCurrentBlocks, 0);
    set_none(manager);
    assert_int_equal(IHostMalloc_Release(heap), 0);
}

static void only_the_levels_named_are_refused(void **state)
{
    /* What is no level is task-critical, here as under a limit. */
    static const struct {
        EMemoryCriticalLevel level;
        UINT32 mask;
    } levels[] = {{eTaskCritical, HOSTMEM_FAULT_TASK},
                  {eAppDomainCritical, HOSTMEM_FAULT_APP_DOMAIN},
                  {eProcessCritical, HOSTMEM_FAULT_PROCESS},
                  {(EMemoryCriticalLevel)77, HOSTMEM_FAULT_TASK}};
    IHostMemoryManager *manager = *state;
    for (UINT32 mask = 1; mask <= ALL_LEVELS; mask++) {
        set(manager, FAULTS(.Levels = mask));
        for (size_t i = 0; i < sizeof(levels) / sizeof(levels[0]); i++) {
            assert_int_equal(take(manager, PAGE, levels[i].level), (mask & levels[i].mask) == 0);
        }
    }
    expect_counted(manager, 8, 4, 4); /* each level in four masks; the fourth row is the first's */
}

static void small_requests_can_be_spared(void **state)
{
    IHostMemoryManager *manager = *state;
    set(manager, FAULTS(.MinimumBytes = 10 * PAGE));
    assert_true(take(manager, 10 * PAGE - 1, eTaskCritical));
    assert_false(take(manager, 10 * PAGE, eTaskCritical));
    set(manager, FAULTS(.MinimumBytes = UINT64_MAX));
    assert_true(take(manager, 10 * PAGE, eTaskCritical));
}

/* ---- determinism ---- */

static void the_same_seed_and_calls_give_the_same_refusals_in_every_manager(void **state)
{
    enum { CALLS = 2000 };
    static bool granted[CALLS];
    unsigned refused = 0;
    (void)state;
    for (int round = 0; round < 3; round++) {
        IHostMemoryManager *manager = create_manager();
        set(manager, FAULTS(.Seed = 4711, .RateDenominator = 20));
        for (int i = 0; i < CALLS; i++) {
            bool now = take(manager, PAGE, (EMemoryCriticalLevel)(i % 3));
            refused += !now;
            if (round > 0) {
                assert_int_equal(now, granted[i]);
            }
            granted[i] = now;
        }
        HOSTMEM_STATISTICS figures = statistics_of(manager);
        assert_int_equal(figures.FaultsTask + figures.FaultsAppDomain + figures.FaultsProcess,
                         refused / (unsigned)(round + 1));
        assert_int_equal(IHostMemoryManager_Release(manager), 0);
    }
    assert_in_range(refused, 3 * 60, 3 * 140); /* of 2,000 calls 100 with a deviation of 10 */
}

/* A fault does not wait for room: nothing that anybody gives back would undo it. */
static void a_refusal_on_purpose_does_not_wait(void **state)
{
    IHostMemoryManager *manager = CREATE_MANAGER(.CommitWaitMilliseconds = 60000);
    ULONGLONG before = GetTickCount64();
    (void)state;
    set(manager, FAULTS());
    assert_false(take(manager, PAGE, eTaskCritical));
    assert_in_range(GetTickCount64() - before, 0, 30000);
    assert_int_equal(IHostMemoryManager_Release(manager), 0);
}

/* ---- threads ---- */

enum { THREADS = 4, REQUESTS = 5000 };

static DWORD WINAPI ask(void *context)
{
    IHostMemoryManager *manager = context;
    DWORD refused = 0;
    for (int i = 0; i < REQUESTS; i++) {
        void *memory = POISON_POINTER;
        if (IHostMemoryManager_VirtualAlloc(manager, NULL, PAGE, MEM_RESERVE, PAGE_NOACCESS,
                                            eTaskCritical, &memory) == S_OK) {
            IHostMemoryManager_VirtualFree(manager, memory, 0, MEM_RELEASE);
        } else {
            refused++;
        }
    }
    return refused > REQUESTS / 2; /* every tenth, not every second */
}

/* Which thread gets which number is chance; the numbers that are refused are not. */
static void however_many_threads_ask_the_number_of_refusals_is_the_same(void **state)
{
    UINT64 before = 0;
    for (int round = 0; round < 3; round++) {
        set(*state, FAULTS(.Seed = 99, .RateDenominator = 10));
        run_threads(THREADS, ask, *state);
        UINT64 refused = statistics_of(*state).FaultsTask / (UINT64)(round + 1);
        assert_in_range(refused, 1750, 2250); /* of 20,000 requests 2,000, deviation 42 */
        assert_true(round == 0 || refused == before);
        before = refused;
    }
    set(*state, FAULTS(.Count = 100));
    run_threads(THREADS, ask, *state);
    expect_counted(*state, 3 * before + 100, 0, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        manager_test(rules_that_make_no_sense_are_refused_and_change_nothing),
        manager_test(nothing_is_refused_until_it_is_asked_for_and_after_it_is_over),
        manager_test(a_refused_request_has_changed_nothing),
        manager_test(what_asks_for_no_memory_is_not_refused),
        manager_test(blocks_are_refused_like_pages),
        manager_test(only_the_levels_named_are_refused),
        manager_test(small_requests_can_be_spared),
        manager_test(the_same_seed_and_calls_give_the_same_refusals_in_every_manager),
        manager_test(a_refusal_on_purpose_does_not_wait),
        manager_test(however_many_threads_ask_the_number_of_refusals_is_the_same),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
