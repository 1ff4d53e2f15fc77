/* SPDX-License-Identifier: MIT
 *
 * CommitWaitMilliseconds where one has to look inside: Windows' own refusal while its page file grows
 * is waited for as a refusal by the limit is, and a waiter costs the threads that free memory nothing
 * as long as they make too little room. Over a wrapped OS, as test_faults.c.
 */
#include "contract/contract.h"
#include "contract/faulty_os.h"

#include "com/com_private.h"

#define SHORT_WAIT 100
#define LONG_WAIT 60000 /* longer than a test may take */

static IHostMemoryManager *create(const HOSTMEM_OPTIONS *options)
{
    IHostMemoryManager *manager = POISON_POINTER;
    EXPECT_OK(host_memory_manager_create(&faulty.os, options, &manager));
    return manager;
}

static HRESULT allocate(IHostMemoryManager *manager, void **memory)
{
    *memory = POISON_POINTER;
    SetLastError(MARKER);
    return IHostMemoryManager_VirtualAlloc(manager, NULL, MIB, MEM_RESERVE | MEM_COMMIT,
                                           PAGE_READWRITE, eTaskCritical, memory);
}

/* ---- Windows has no commit left ---- */

/* Let the first region and block be the past: the manager's tables are not waited for. */
static void have_tables(IHostMemoryManager *manager, IHostMalloc *heap)
{
    void *memory, *block;
    EXPECT_OK(IHostMalloc_Alloc(heap, 100, eTaskCritical, &block));
    EXPECT_OK(IHostMalloc_Free(heap, block));
    assert_int_equal(allocate(manager, &memory), S_OK);
    EXPECT_OK(IHostMemoryManager_VirtualFree(manager, memory, 0, MEM_RELEASE));
}

static void a_page_file_that_grows_is_waited_for(void **state)
{
    const HOSTMEM_OPTIONS options = {.Size = sizeof(options), .CommitWaitMilliseconds = LONG_WAIT};
    IHostMemoryManager *manager = create(&options);
    void *memory, *block = POISON_POINTER;
    IHostMalloc *heap = POISON_POINTER;
    (void)state;
    EXPECT_OK(IHostMemoryManager_CreateMalloc(manager, MALLOC_THREADSAFE, &heap));
    have_tables(manager, heap);
    arm(1, ERROR_COMMITMENT_LIMIT);
    assert_int_equal(allocate(manager, &memory), S_OK);
    assert_true(faulty.failed && !faulty.failed_for_tables);
    EXPECT_OK(IHostMemoryManager_VirtualFree(manager, memory, 0, MEM_RELEASE));
    arm(1, ERROR_COMMITMENT_LIMIT);
    EXPECT_OK(IHostMalloc_Alloc(heap, MIB, eTaskCritical, &block));
    assert_true(faulty.failed && !faulty.failed_for_tables);
    EXPECT_OK(IHostMalloc_Free(heap, block));
    assert_int_equal(statistics_of(manager).RefusedBySystem, 0); /* served in the end */
    assert_int_equal(IHostMalloc_Release(heap), 0);
    assert_int_equal(statistics_of(manager).ChargedCurrentBytes, 0);
    assert_int_equal(IHostMemoryManager_Release(manager), 0);
}

static void a_page_file_that_stays_full_is_a_refusal_by_windows_in_the_end(void **state)
{
    const HOSTMEM_OPTIONS options = {.Size = sizeof(options), .CommitWaitMilliseconds = SHORT_WAIT};
    IHostMemoryManager *manager = create(&options);
    IHostMalloc *heap = POISON_POINTER;
    void *memory;
    (void)state;
    EXPECT_OK(IHostMemoryManager_CreateMalloc(manager, MALLOC_THREADSAFE, &heap));
    have_tables(manager, heap);
    assert_int_equal(IHostMalloc_Release(heap), 0);
    arm(0, ERROR_COMMITMENT_LIMIT);
    faulty.one_in[0] = 1;
    ULONGLONG start = GetTickCount64();
    assert_int_equal(allocate(manager, &memory), E_OUTOFMEMORY);
    assert_int_equal(GetLastError(), ERROR_COMMITMENT_LIMIT);
    assert_in_range(GetTickCount64() - start, SHORT_WAIT, 5000);
    faulty.one_in[0] = 0;
    assert_null(memory);
    assert_in_range(faulty.calls, 3, 1000); /* it has asked again, and not without a pause */
    HOSTMEM_STATISTICS statistics = statistics_of(manager);
    assert_int_equal(statistics.RefusedBySystem, 1);
    assert_int_equal(statistics.LastBySystem.Error, ERROR_COMMITMENT_LIMIT);
    assert_int_equal(statistics.LastBySystem.Bytes, MIB);
    assert_int_equal(statistics.DeniedTask, 0);
    assert_int_equal(statistics.ChargedCurrentBytes, 0);
    assert_int_equal(IHostMemoryManager_Release(manager), 0);
}

/* More time helps against nothing else, and without the option nothing is waited for. */
static void other_refusals_of_windows_are_answered_at_once(void **state)
{
    static const os_error errors[] = {ERROR_NOT_ENOUGH_MEMORY, ERROR_INVALID_ADDRESS};
    (void)state;
    for (size_t i = 0; i <= ARRAYSIZE(errors); i++) {
        bool other = i < ARRAYSIZE(errors);
        const HOSTMEM_OPTIONS options = {.Size = sizeof(options),
                                         .CommitWaitMilliseconds = other ? LONG_WAIT : 0};
        IHostMemoryManager *manager = create(&options);
        void *memory;
        arm(1, other ? errors[i] : ERROR_COMMITMENT_LIMIT);
        assert_true(FAILED(allocate(manager, &memory)));
        assert_int_equal(faulty.calls, 1);
        assert_int_equal(IHostMemoryManager_Release(manager), 0);
    }
}

/* ---- what a waiter costs the others ---- */

static DWORD WINAPI wait_for_3_mib(void *context)
{
    IHostMemoryManager *manager = context;
    void *memory = NULL;
    return (DWORD)IHostMemoryManager_VirtualAlloc(manager, NULL, 3 * MIB, MEM_RESERVE | MEM_COMMIT,
                                                  PAGE_READWRITE, eTaskCritical, &memory);
}

/* Nobody is woken, which an event for every free would be, until there is room. */
static void frees_that_make_too_little_room_wake_nobody(void **state)
{
    const HOSTMEM_OPTIONS options = {
        .Size = sizeof(options), .CommitLimit = 4 * MIB, .CommitWaitMilliseconds = LONG_WAIT};
    IHostMemoryManager *manager = create(&options);
    struct host_memory_manager *inside =
        CONTAINING_RECORD(manager, struct host_memory_manager, IHostMemoryManager_iface);
    void *full, *page = NULL;
    (void)state;
    EXPECT_OK(IHostMemoryManager_VirtualAlloc(manager, NULL, 2 * MIB, MEM_RESERVE | MEM_COMMIT,
                                              PAGE_READWRITE, eTaskCritical, &full));
    HANDLE thread = CreateThread(NULL, 0, wait_for_3_mib, manager, 0, NULL);
    while (atomic_load(&inside->wanted) == 0) {
        Sleep(1);
    }
    /* A wake-up takes the word away, until the thread has looked and says it again. */
    for (unsigned i = 0; i < 20000; i++) {
        EXPECT_OK(IHostMemoryManager_VirtualAlloc(manager, (char *)full + i % 100 * PAGE, PAGE,
                                                  MEM_COMMIT, PAGE_READWRITE, eTaskCritical,
                                                  &page));
        EXPECT_OK(IHostMemoryManager_VirtualFree(manager, page, PAGE, MEM_DECOMMIT));
        if (atomic_load(&inside->wanted) != MIB) {
            fail_at(__FILE__, __LINE__, "the waiter was woken by free %u", i);
        }
    }
    assert_int_equal(WaitForSingleObject(thread, 0), WAIT_TIMEOUT);
    EXPECT_OK(IHostMemoryManager_VirtualFree(manager, full, 0, MEM_RELEASE));
    DWORD answer = 1;
    assert_int_equal(WaitForSingleObject(thread, LONG_WAIT / 2), WAIT_OBJECT_0);
    assert_true(GetExitCodeThread(thread, &answer));
    assert_int_equal(answer, S_OK);
    CloseHandle(thread);
    assert_true(VirtualFree((void *)faulty.last_reservation, 0, MEM_RELEASE));
    assert_int_equal(IHostMemoryManager_Release(manager), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_page_file_that_grows_is_waited_for),
        cmocka_unit_test(a_page_file_that_stays_full_is_a_refusal_by_windows_in_the_end),
        cmocka_unit_test(other_refusals_of_windows_are_answered_at_once),
        cmocka_unit_test(frees_that_make_too_little_room_wake_nobody),
    };
    return cmocka_run_group_tests(tests, create_faulty_os, NULL);
}
