/* SPDX-License-Identifier: MIT
 *
 * Limits under load (trap 11). Where there is room for one, of many threads one gets it. Then four
 * threads allocate and free all they can get while a fifth reads the figures, and never sees more
 * than the limit; once more with a limit that changes all the time, and with requests that wait for
 * room. At the end everything is back. Of two threads that refund the same charge one is refused.
 *
 * test_limits_threads [seconds]   how long in all; without it HOSTMEM_SECONDS, or 3
 */
#include "contract/contract.h"

#include <stdlib.h>

#define LIMIT (8 * MIB)
#define CASES 5

enum { WORKERS = 4, SLOTS = 12, PAGES_PER_SLOT = 256 };

static ULONGLONG milliseconds; /* of each case */

struct load {
    IHostMemoryManager *manager;
    IHostMalloc *heap;
    UINT64 most; /* no limit is ever larger */
    HRESULT refusal;
    volatile LONG stop;
    LONG seed;
    LONG granted;
    LONG refused;
    LONG samples;
};

/* ---- room for one ---- */

struct single {
    IHostMemoryManager *manager;
    IHostMalloc *heap;
    char *pages; /* committed by one of the threads */
    ULONGLONG deadline;
    LONG threads;
    LONG holders; /* of the one page that the limit allows, between its request and its free */
    LONG granted;
    LONG refused;
};

static HRESULT take_page(struct single *single, bool from_heap, void **memory)
{
    return from_heap
               ? IHostMalloc_Alloc(single->heap, PAGE - 2 * sizeof(void *), eTaskCritical,
                                   memory) /* with its header */
               : IHostMemoryManager_VirtualAlloc(single->manager, single->pages, PAGE, MEM_COMMIT,
                                                 PAGE_READWRITE, eTaskCritical, memory);
}

static HRESULT give_page_back(struct single *single, bool from_heap, void *memory)
{
    return from_heap ? IHostMalloc_Free(single->heap, memory)
                     : IHostMemoryManager_VirtualFree(single->manager, memory, PAGE, MEM_DECOMMIT);
}

static DWORD WINAPI take_turns(void *context)
{
    struct single *single = context;
    bool from_heap = InterlockedIncrement(&single->threads) != 1;
    while (GetTickCount64() < single->deadline) {
        void *memory = POISON_POINTER;
        HRESULT hr = take_page(single, from_heap, &memory);
        if (hr != S_OK) {
            InterlockedIncrement(&single->refused);
            if (hr != E_OUTOFMEMORY || memory != NULL) {
                return 1;
            }
            continue;
        }
        if (InterlockedIncrement(&single->holders) != 1) {
            return 2; /* two had the last page */
        }
        InterlockedIncrement(&single->granted);
        for (int i = 0; i < 200; i++) { /* time for a second one to come out of the heap's lock */
            YieldProcessor();
        }
        InterlockedDecrement(&single->holders);
        if (give_page_back(single, from_heap, memory) != S_OK) {
            return 3;
        }
    }
    return 0;
}

static void of_many_requests_for_the_last_page_one_is_granted(void **state)
{
    IHostMemoryManager *manager = CREATE_MANAGER(.CommitLimit = PAGE);
    struct single single = {.manager = manager, .pages = reserve(manager, PAGE)};
    (void)state;
    EXPECT_OK(IHostMemoryManager_CreateMalloc(manager, MALLOC_THREADSAFE, &single.heap));
    single.deadline = GetTickCount64() + milliseconds;
    run_threads(WORKERS, take_turns, &single);
    HOSTMEM_STATISTICS statistics = statistics_of(manager);
    print_message("%ld granted, %ld refused\n", single.granted, single.refused);
    assert_true(single.granted > 0 && single.refused > 0);
    assert_int_equal(statistics.DeniedTask, single.refused);
    assert_int_equal(statistics.ChargedPeakBytes, PAGE);
    assert_int_equal(statistics.ChargedCurrentBytes, statistics.HeapCommitCurrentBytes);
    EXPECT_OK(IHostMemoryManager_VirtualFree(manager, single.pages, 0, MEM_RELEASE));
    assert_int_equal(IHostMalloc_Release(single.heap), 0);
    teardown_manager((void **)&manager);
}

/* ---- workers ---- */

/* What one worker holds: regions and blocks. */
struct holdings {
    struct load *load;
    uint32_t random;
    char *regions[SLOTS];
    void *blocks[SLOTS];
};

static uint32_t up_to(struct holdings *mine, uint32_t end)
{
    return next_random(&mine->random) % end;
}

/* Counts an answer; whether it is one that may come. */
static bool is_answer(struct holdings *mine, HRESULT hr, const void *memory)
{
    if (hr == S_OK) {
        InterlockedIncrement(&mine->load->granted);
        return memory != NULL;
    }
    InterlockedIncrement(&mine->load->refused);
    /* What the limit of the moment can never grant is not waited for. */
    return (hr == mine->load->refusal || hr == E_OUTOFMEMORY) && memory == NULL;
}

static bool allocate_pages(struct holdings *mine, char *address, SIZE_T size, DWORD type,
                           void **memory)
{
    EMemoryCriticalLevel level = (EMemoryCriticalLevel)up_to(mine, 3);
    *memory = POISON_POINTER;
    HRESULT hr = IHostMemoryManager_VirtualAlloc(mine->load->manager, address, size, type,
                                                 PAGE_READWRITE, level, memory);
    return is_answer(mine, hr, *memory);
}

/* One step on one region: reserve it, or commit, decommit or release. */
static bool step_region(struct holdings *mine, char **region)
{
    SIZE_T first = up_to(mine, PAGES_PER_SLOT), count = 1 + up_to(mine, PAGES_PER_SLOT / 2);
    IHostMemoryManager *manager = mine->load->manager;
    void *memory;
    count = first + count > PAGES_PER_SLOT ? PAGES_PER_SLOT - first : count;
    if (*region == NULL) {
        bool commit = up_to(mine, 2) == 0;
        bool fine = allocate_pages(mine, NULL, PAGES_PER_SLOT * PAGE,
                                   MEM_RESERVE | (commit ? MEM_COMMIT : 0), &memory);
        *region = memory;
        return fine;
    }
    switch (up_to(mine, 4)) {
    case 0:
        memory = *region;
        *region = NULL;
        return IHostMemoryManager_VirtualFree(manager, memory, 0, MEM_RELEASE) == S_OK;
    case 1:
        return IHostMemoryManager_VirtualFree(manager, *region + first * PAGE, count * PAGE,
                                              MEM_DECOMMIT) == S_OK;
    default:
        if (!allocate_pages(mine, *region + first * PAGE, count * PAGE, MEM_COMMIT, &memory)) {
            return false;
        }
        if (memory != NULL) {
            ((char *)memory)[count * PAGE - 1] = 1;
        }
        return true;
    }
}

static bool step_block(struct holdings *mine, void **block)
{
    IHostMalloc *heap = mine->load->heap;
    if (*block == NULL) {
        SIZE_T size = up_to(mine, 8) == 0 ? up_to(mine, MIB / 2) : up_to(mine, 2000);
        EMemoryCriticalLevel level = (EMemoryCriticalLevel)up_to(mine, 3);
        *block = POISON_POINTER;
        HRESULT hr = IHostMalloc_Alloc(heap, size, level, block);
        return is_answer(mine, hr, *block);
    }
    void *memory = *block;
    *block = NULL;
    return IHostMalloc_Free(heap, memory) == S_OK;
}

static bool free_all(struct holdings *mine)
{
    bool fine = true;
    for (int i = 0; i < SLOTS; i++) {
        if (mine->regions[i] != NULL) {
            fine &= IHostMemoryManager_VirtualFree(mine->load->manager, mine->regions[i], 0,
                                                   MEM_RELEASE) == S_OK;
        }
        if (mine->blocks[i] != NULL) {
            fine &= IHostMalloc_Free(mine->load->heap, mine->blocks[i]) == S_OK;
        }
    }
    return fine;
}

static DWORD WINAPI work(void *context)
{
    struct load *load = context;
    struct holdings mine = {.load = load,
                            .random = (uint32_t)InterlockedIncrement(&load->seed) * 2654435761u};
    while (load->stop == 0) {
        bool fine = up_to(&mine, 3) != 0 ? step_region(&mine, &mine.regions[up_to(&mine, SLOTS)])
                                         : step_block(&mine, &mine.blocks[up_to(&mine, SLOTS)]);
        if (!fine) {
            return 1;
        }
    }
    return free_all(&mine) ? 0 : 2;
}

/* ---- the others ---- */

static bool is_within_the_limit(const HOSTMEM_STATISTICS *statistics, UINT64 limit)
{
    return statistics->ChargedCurrentBytes <= limit && statistics->CommitCurrentBytes <= limit &&
           statistics->HeapCurrentBytes <= limit && statistics->ChargedPeakBytes <= limit &&
           statistics->OverdraftPeakBytes <= limit;
}

static DWORD WINAPI sample(void *context)
{
    struct load *load = context;
    IHostMemoryStatistics *interface_of_it = NULL;
    DWORD wrong = 0;
    if (IHostMemoryManager_QueryInterface(load->manager, &IID_IHostMemoryStatistics,
                                          (void **)&interface_of_it) != S_OK) {
        return 1;
    }
    while (load->stop == 0 && wrong == 0) {
        HOSTMEM_STATISTICS statistics = {.Size = sizeof(statistics)};
        if (IHostMemoryStatistics_GetStatistics(interface_of_it, &statistics) != S_OK ||
            !is_within_the_limit(&statistics, load->most)) {
            wrong = 2;
        }
        InterlockedIncrement(&load->samples);
        SwitchToThread();
    }
    IHostMemoryStatistics_Release(interface_of_it);
    return wrong;
}

/* Up and down, mostly below what is in use. */
static DWORD WINAPI change_limits(void *context)
{
    struct load *load = context;
    IHostMemoryLimits *setter = NULL;
    uint32_t random = 12345;
    DWORD wrong = 0;
    if (IHostMemoryManager_QueryInterface(load->manager, &IID_IHostMemoryLimits,
                                          (void **)&setter) != S_OK) {
        return 1;
    }
    while (load->stop == 0 && wrong == 0) {
        HOSTMEM_LIMITS limits = {.Size = sizeof(limits)}, now = {.Size = sizeof(now)};
        limits.CommitLimit = 1 + next_random(&random) % load->most;
        limits.EmergencyCommit = next_random(&random) % limits.CommitLimit;
        if (IHostMemoryLimits_SetLimits(setter, &limits) != S_OK ||
            IHostMemoryLimits_GetLimits(setter, &now) != S_OK ||
            now.CommitLimit != limits.CommitLimit ||
            now.EmergencyCommit != limits.EmergencyCommit) {
            wrong = 2;
        }
        SwitchToThread();
    }
    IHostMemoryLimits_Release(setter);
    return wrong;
}

static DWORD WINAPI keep_time(void *context)
{
    Sleep((DWORD)milliseconds);
    InterlockedExchange(&((struct load *)context)->stop, 1);
    return 0;
}

/* ---- a case ---- */

struct role {
    struct load *load;
    DWORD(WINAPI *const *functions)(void *context);
    LONG next;
};

static DWORD WINAPI take_a_role(void *context)
{
    struct role *role = context;
    DWORD code = role->functions[InterlockedIncrement(&role->next) - 1](role->load);
    InterlockedExchange(&role->load->stop, 1); /* who fails ends it for all */
    return code;
}

static void run_load(IHostMemoryManager *manager, HRESULT refusal, bool changing)
{
    DWORD(WINAPI *const functions[])
    (void *) = {work, work, work, work, keep_time, sample, change_limits};
    struct load load = {.manager = manager, .most = LIMIT, .refusal = refusal};
    struct role role = {.load = &load, .functions = functions};
    EXPECT_OK(IHostMemoryManager_CreateMalloc(manager, MALLOC_THREADSAFE, &load.heap));
    run_threads(WORKERS + (changing ? 3 : 2), take_a_role, &role);

    HOSTMEM_STATISTICS statistics = statistics_of(manager);
    print_message("%ld granted, %ld refused, %ld samples, at most %llu of %llu bytes\n",
                  load.granted, load.refused, load.samples,
                  (unsigned long long)statistics.ChargedPeakBytes, (unsigned long long)LIMIT);
    assert_true(load.granted > 0 && load.refused > 0 && load.samples > 0);
    assert_true(is_within_the_limit(&statistics, LIMIT));
    assert_int_equal(statistics.OverdraftPeakBytes, 0);
    assert_int_equal(statistics.DeniedTask + statistics.DeniedAppDomain + statistics.DeniedProcess,
                     load.refused);
    /* A heap keeps some pages without blocks. */
    assert_int_equal(statistics.ChargedCurrentBytes, statistics.HeapCommitCurrentBytes);
    assert_int_equal(statistics.CommitCurrentBytes, 0);
    assert_int_equal(statistics.ReserveCurrentBytes, 0);
    assert_int_equal(statistics.RegionsCurrent, 0);
    assert_int_equal(statistics.HeapCurrentBytes, 0);
    assert_int_equal(statistics.HeapCurrentBlocks, 0);
    assert_int_equal(statistics.ForeignVirtualFree, 0);
    assert_int_equal(statistics.ForeignFree, 0);
    EXPECT_EXACT_COMMIT(manager);
    assert_int_equal(IHostMalloc_Release(load.heap), 0);
    assert_int_equal(statistics_of(manager).ChargedCurrentBytes, 0);
    /* Not a byte of the limit was lost on the way. */
    SET_LIMITS(manager, .CommitLimit = LIMIT, .ReserveLimit = LIMIT);
    char *all = reserve_committed(manager, LIMIT);
    EXPECT_OK(IHostMemoryManager_VirtualFree(manager, all, 0, MEM_RELEASE));
    teardown_manager((void **)&manager);
}

static void the_limit_holds_to_the_byte(void **state)
{
    (void)state;
    run_load(CREATE_MANAGER(.CommitLimit = LIMIT, .EmergencyCommit = MIB), E_OUTOFMEMORY, false);
}

static void the_largest_limit_holds_while_it_changes(void **state)
{
    (void)state;
    run_load(CREATE_MANAGER(.CommitLimit = LIMIT), E_OUTOFMEMORY, true);
}

static void the_limit_holds_for_those_who_wait(void **state)
{
    (void)state;
    run_load(
        CREATE_MANAGER(.CommitLimit = LIMIT, .EmergencyCommit = MIB, .CommitWaitMilliseconds = 20),
        HOST_E_TIMEOUT, true);
}

/* ---- commit of others ---- */

struct refund {
    IHostMemoryCharge *charge;
    volatile LONG arrived; /* the two threads, round after round */
    LONG rounds;
    LONG refunded;
    LONG refused;
};

/* Each round both threads give back what was charged once. */
static DWORD WINAPI refund_the_same(void *context)
{
    struct refund *refund = context;
    for (LONG round = 0; round < refund->rounds; round++) {
        LONG all = 2 * round + 2;
        if (InterlockedIncrement(&refund->arrived) == all) {
            if (IHostMemoryCharge_ChargeCommit(refund->charge, MIB, eTaskCritical) != S_OK) {
                return 1;
            }
            InterlockedExchangeAdd(&refund->arrived, 1 << 30);
        }
        while (refund->arrived < (1 << 30) + all) { /* together, a moment later */
        }
        HRESULT hr = IHostMemoryCharge_RefundCommit(refund->charge, MIB);
        if (hr != S_OK && hr != E_INVALIDARG) {
            return 2;
        }
        InterlockedIncrement(hr == S_OK ? &refund->refunded : &refund->refused);
        if (InterlockedIncrement(&refund->arrived) == (1 << 30) + all + 2) {
            InterlockedExchangeAdd(&refund->arrived, -(1 << 30) - 2);
        }
        while (refund->arrived >= 1 << 30) {
        }
    }
    return 0;
}

static void of_two_who_refund_the_same_one_is_refused(void **state)
{
    IHostMemoryManager *manager = CREATE_MANAGER(.CommitLimit = LIMIT);
    struct refund refund = {.charge = INTERFACE_OF(manager, IHostMemoryCharge), .rounds = 20000};
    (void)state;
    run_threads(2, refund_the_same, &refund);
    assert_int_equal(refund.refunded, refund.rounds);
    assert_int_equal(refund.refused, refund.rounds);
    assert_int_equal(statistics_of(manager).ForeignCommitCurrentBytes, 0);
    assert_int_equal(statistics_of(manager).ChargedCurrentBytes, 0);
    IHostMemoryCharge_Release(refund.charge);
    assert_int_equal(IHostMemoryManager_Release(manager), 0);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[CASES] = {
        cmocka_unit_test(of_many_requests_for_the_last_page_one_is_granted),
        cmocka_unit_test(the_limit_holds_to_the_byte),
        cmocka_unit_test(the_largest_limit_holds_while_it_changes),
        cmocka_unit_test(the_limit_holds_for_those_who_wait),
        cmocka_unit_test(of_two_who_refund_the_same_one_is_refused),
    };
    const char *seconds = argc > 1 ? argv[1] : getenv("HOSTMEM_SECONDS");
    milliseconds = (seconds != NULL ? strtoull(seconds, NULL, 10) : 3) * 1000 / CASES;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
