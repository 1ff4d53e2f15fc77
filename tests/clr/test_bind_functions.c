/* SPDX-License-Identifier: MIT
 *
 * What the bound functions of a real coreclr.dll do. They are called through the import slots of the
 * module, as the runtime calls them.
 *
 * test_bind_functions <framework folder> <program> <test>
 */
#include "clr/binding_fixture.h"
#include "support/thread.h"

static void virtual_memory_goes_through_the_manager(void **state)
{
    MEMORY_BASIC_INFORMATION information;
    (void)state;
    SetLastError(MARKER);
    char *memory = FUNCTION(VirtualAlloc)(NULL, GRANULARITY, MEM_RESERVE, PAGE_READWRITE);
    assert_non_null(memory);
    assert_int_equal(recording.allocations[eProcessCritical], 1);
    assert_ptr_equal(FUNCTION(VirtualAlloc)(memory, PAGE, MEM_COMMIT, PAGE_READWRITE), memory);
    assert_int_equal(FUNCTION(VirtualQuery)(memory, &information, sizeof(information)),
                     sizeof(information));
    assert_int_equal(information.RegionSize, PAGE);
    DWORD old = POISON_DWORD;
    assert_true(FUNCTION(VirtualProtect)(memory, PAGE, PAGE_READONLY, &old));
    assert_int_equal(old, PAGE_READWRITE);
    assert_int_equal(GetLastError(), MARKER);

    old = POISON_DWORD;
    assert_false(FUNCTION(VirtualProtect)(memory + PAGE, PAGE, PAGE_READONLY, &old));
    assert_int_equal(GetLastError(), ERROR_INVALID_ADDRESS);
    assert_int_equal(old, POISON_DWORD);
    assert_false(FUNCTION(VirtualProtect)(memory, PAGE, PAGE_READONLY, NULL));
    assert_int_equal(GetLastError(), ERROR_NOACCESS);

    recording.foreign_frees = 1; /* the manager does not know it: the OS frees it */
    assert_true(FUNCTION(VirtualFree)(memory, 0, MEM_RELEASE));
    assert_int_equal(recording.foreign_frees, 0);
    assert_false(VirtualFree(memory, 0, MEM_RELEASE));
    DWORD error = GetLastError();
    SetLastError(MARKER);
    assert_false(FUNCTION(VirtualFree)(memory, 0, MEM_RELEASE));
    assert_int_equal(GetLastError(), error);
}

static void the_heap_functions_do_what_win32_does(void **state)
{
    IHostMemoryManager *manager = *state;
    HANDLE heap = GetProcessHeap();
    BYTE *block = FUNCTION(HeapAlloc)(heap, HEAP_ZERO_MEMORY, 100);
    assert_non_null(block);
    for (int i = 0; i < 100; i++) {
        assert_int_equal(block[i], 0);
        block[i] = (BYTE)i;
    }
    assert_int_equal(statistics_of(manager).HeapCurrentBlocks, 1);
    assert_true(FUNCTION(HeapValidate)(heap, 0, block));

    assert_null(FUNCTION(HeapReAlloc)(heap, HEAP_REALLOC_IN_PLACE_ONLY, block, 200));
    assert_null(FUNCTION(HeapReAlloc)(heap, 0, block, SIZE_MAX / 2));
    assert_int_equal(block[99], 99); /* still ours */
    block = FUNCTION(HeapReAlloc)(heap, HEAP_ZERO_MEMORY, block, 5000);
    assert_non_null(block);
    for (int i = 0; i < 5000; i++) {
        assert_int_equal(block[i], i < 100 ? i : 0);
    }
    block = FUNCTION(HeapReAlloc)(heap, 0, block, 10);
    assert_int_equal(block[9], 9);
    assert_int_equal(statistics_of(manager).HeapCurrentBlocks, 1);
    assert_true(FUNCTION(HeapFree)(heap, 0, block));
    assert_true(FUNCTION(HeapFree)(heap, 0, NULL));
    assert_int_equal(statistics_of(manager).HeapCurrentBlocks, 0);
    assert_int_equal(statistics_of(manager).ForeignFree, 0);
}

static void heap_blocks_of_others_and_other_heaps_go_to_the_system(void **state)
{
    IHostMemoryManager *manager = *state;
    HANDLE heap = GetProcessHeap();
    BYTE *block = HeapAlloc(heap, 0, 100);
    assert_non_null(block);
    memset(block, 7, 100);
    assert_true(FUNCTION(HeapValidate)(heap, 0, block));
    block = FUNCTION(HeapReAlloc)(heap, 0, block, 1000);
    assert_non_null(block);
    assert_int_equal(block[99], 7);
    assert_int_equal(HeapSize(heap, 0, block), 1000);
    SetLastError(MARKER);
    assert_true(FUNCTION(HeapValidate)(heap, 0, block));
    assert_true(FUNCTION(HeapFree)(heap, 0, block));
    assert_int_equal(GetLastError(), MARKER);
    assert_int_equal(statistics_of(manager).ForeignFree, 1);
    void *pages = VirtualAlloc(NULL, 0x10000, MEM_RESERVE, PAGE_NOACCESS);
    assert_non_null(pages);
    SetLastError(MARKER);
    assert_true(FUNCTION(VirtualFree)(pages, 0, MEM_RELEASE));
    assert_int_equal(GetLastError(), MARKER);

    HANDLE other = HeapCreate(0, 0, 0);
    block = FUNCTION(HeapAlloc)(other, 0, 100);
    assert_int_equal(HeapSize(other, 0, block), 100);
    assert_true(FUNCTION(HeapFree)(other, 0, block));
    assert_true(HeapDestroy(other));
    assert_int_equal(statistics_of(manager).Calls.Alloc, 0);
}

/* ---- The lock of the process heap ---- */

static HANDLE ready, go, own_done, foreign_done;

/* A block of the manager's through what a runtime imports, and then one of the system's. */
static void use_both_heaps(void *foreign)
{
    HANDLE heap = GetProcessHeap();
    SetEvent(ready); /* a thread that starts has blocks of the process heap */
    WaitForSingleObject(go, INFINITE);
    void *block = FUNCTION(HeapAlloc)(heap, 0, 100);
    block = FUNCTION(HeapReAlloc)(heap, 0, block, 100000);
    BOOL right = FUNCTION(HeapValidate)(heap, 0, block) && FUNCTION(HeapFree)(heap, 0, block);
    if (right) {
        SetEvent(own_done);
    }
    FUNCTION(HeapFree)(heap, 0, foreign);
    SetEvent(foreign_done);
}

static void only_blocks_of_the_system_wait_for_the_lock_of_its_heap(void **state)
{
    struct thread thread;
    (void)state;
    ready = CreateEventW(NULL, TRUE, FALSE, NULL);
    go = CreateEventW(NULL, TRUE, FALSE, NULL);
    own_done = CreateEventW(NULL, TRUE, FALSE, NULL);
    foreign_done = CreateEventW(NULL, TRUE, FALSE, NULL);
    /* A large one: small ones may come from a part of the heap that has no lock. */
    thread_start(&thread, use_both_heaps, HeapAlloc(GetProcessHeap(), 0, 200000));
    WaitForSingleObject(ready, INFINITE);
    assert_true(HeapLock(GetProcessHeap()));
    SetEvent(go);
    DWORD own = WaitForSingleObject(own_done, 10000);
    DWORD foreign = WaitForSingleObject(foreign_done, 200);
    assert_true(HeapUnlock(GetProcessHeap()));
    assert_int_equal(own, WAIT_OBJECT_0);
    assert_int_equal(foreign, WAIT_TIMEOUT);
    thread_join(&thread);
    assert_int_equal(WaitForSingleObject(foreign_done, 0), WAIT_OBJECT_0);
}

static void the_memory_load_is_the_managers(void **state)
{
    MEMORYSTATUSEX real = {.dwLength = sizeof(real)}, status = {.dwLength = sizeof(status)};
    (void)state;
    assert_true(GlobalMemoryStatusEx(&real));
    assert_true(FUNCTION(GlobalMemoryStatusEx)(&status));
    assert_int_equal(status.dwMemoryLoad, RECORDING_LOAD);
    assert_int_equal(status.ullAvailPhys, RECORDING_AVAILABLE);
    assert_int_equal(status.ullTotalPhys, real.ullTotalPhys);
    recording.memory_load = S_FALSE; /* only S_OK counts */
    assert_true(FUNCTION(GlobalMemoryStatusEx)(&status));
    assert_int_not_equal(status.ullAvailPhys, RECORDING_AVAILABLE);
}

static void with_a_limit_the_budget_is_the_machine(void **state)
{
    const UINT64 limit = 64 << 20;
    HOSTMEM_OPTIONS options = {.Size = sizeof(options), .CommitLimit = limit};
    MEMORYSTATUSEX real = {.dwLength = sizeof(real)}, status = {.dwLength = sizeof(status)};
    IHostMemoryManager *manager;
    (void)state;
    assert_int_equal(HostMemCreateManager(&options, &manager), S_OK);
    assert_int_equal(HostMemBindRuntime(manager, coreclr, NULL), S_OK);
    imports_read(coreclr, &after);
    assert_true(FUNCTION(GlobalMemoryStatusEx)(&status));
    assert_int_equal(status.ullTotalPhys, limit);
    assert_int_equal(status.ullTotalPageFile, limit);
    assert_int_equal(status.ullAvailPhys, limit);
    assert_int_equal(status.ullAvailPageFile, limit);

    char *memory = FUNCTION(VirtualAlloc)(NULL, limit - PAGE, MEM_COMMIT, PAGE_READWRITE);
    assert_non_null(memory);
    assert_true(GlobalMemoryStatusEx(&real));
    assert_true(FUNCTION(GlobalMemoryStatusEx)(&status));
    assert_int_equal(status.ullAvailPhys, PAGE);
    assert_int_equal(status.ullAvailPageFile, PAGE);
    if (real.dwMemoryLoad < 90) {
        assert_int_equal(status.dwMemoryLoad, 89); /* the machine is not full, the budget is */
    }
    assert_null(FUNCTION(VirtualAlloc)(NULL, 2 * PAGE, MEM_COMMIT, PAGE_READWRITE));
    assert_int_equal(GetLastError(), ERROR_NOT_ENOUGH_MEMORY);
    assert_true(FUNCTION(VirtualFree)(memory, 0, MEM_RELEASE));
}

static bool signalled(HANDLE handle)
{
    return WaitForSingleObject(handle, 0) == WAIT_OBJECT_0;
}

static void notify(EMemoryAvailable available)
{
    EXPECT_OK(ICLRMemoryNotificationCallback_OnMemoryNotification(recording.callback, available));
}

static void a_notification_of_the_manager_signals_the_runtimes_object(void **state)
{
    __typeof__(&CreateMemoryResourceNotification) create =
        FUNCTION(CreateMemoryResourceNotification);
    (void)state;
    HANDLE low = create(LowMemoryResourceNotification);
    HANDLE high = create(HighMemoryResourceNotification);
    assert_non_null(low);
    assert_non_null(high);
    assert_false(signalled(low));
    assert_true(signalled(high));
    notify(eMemoryAvailableLow);
    assert_true(signalled(low));
    assert_true(signalled(low)); /* until it is over, as the OS does */
    assert_false(signalled(high));
    assert_true(CloseHandle(low)); /* one of several: the next one is of the same state */
    low = create(LowMemoryResourceNotification);
    assert_true(signalled(low));
    notify(eMemoryAvailableNeutral);
    assert_false(signalled(low));
    notify(eMemoryAvailableLow);
    notify(eMemoryAvailableHigh);
    assert_false(signalled(low));
    assert_true(signalled(high));
    assert_null(create((MEMORY_RESOURCE_NOTIFICATION_TYPE)2));
    assert_int_equal(GetLastError(), ERROR_INVALID_PARAMETER);
}

/* Each with a value of its own: closed ones that are still known would be more than there is room for. */
static void notifications_are_forgotten_when_they_are_closed(void **state)
{
    __typeof__(&QueryMemoryResourceNotification) query =
        (__typeof__(query))(void (*)(void))FUNCTION(GetProcAddress)(
            GetModuleHandleW(L"kernel32.dll"), "QueryMemoryResourceNotification");
    BOOL set;
    (void)state;
    for (int i = 0; i < 100; i++) {
        HANDLE low = FUNCTION(CreateMemoryResourceNotification)(LowMemoryResourceNotification);
        assert_non_null(low);
        assert_true(query(low, &set));
        assert_true(FUNCTION(CloseHandle)(low));
        assert_false(query(low, &set));
        assert_non_null(CreateEventW(NULL, TRUE, FALSE, NULL)); /* takes that value */
    }
}

static void the_manager_hears_of_mapped_views(void **state)
{
    HANDLE section =
        CreateFileMappingW(INVALID_HANDLE_VALUE, NULL, PAGE_READWRITE, 0, 0x5000, NULL);
    (void)state;
    assert_non_null(section);
    SetLastError(MARKER);
    char *view = FUNCTION(MapViewOfFile)(section, FILE_MAP_WRITE, 0, 0, 0);
    assert_non_null(view);
    assert_int_equal(GetLastError(), MARKER);
    assert_ptr_equal(recording.acquired, view);
    assert_int_equal(recording.acquired_size, 0x5000);
    assert_int_equal(recording.needs_calls, 0);

    recording.needs = E_OUTOFMEMORY; /* no room can be made: the error stands */
    assert_null(FUNCTION(MapViewOfFileEx)(section, FILE_MAP_WRITE, 0, 0, 0, view));
    assert_int_equal(recording.needs_calls, 1);
    assert_int_equal(GetLastError(), ERROR_INVALID_ADDRESS);
    recording.needs = S_FALSE; /* any success: tried again, once */
    assert_null(FUNCTION(MapViewOfFileEx)(section, FILE_MAP_WRITE, 0, 0, 0, view));
    assert_int_equal(recording.needs_calls, 2);
    assert_int_equal(GetLastError(), ERROR_INVALID_ADDRESS);

    assert_false(FUNCTION(UnmapViewOfFile)(view + 0x100000));
    assert_null(recording.released);
    assert_true(FUNCTION(UnmapViewOfFile)(view));
    assert_ptr_equal(recording.released, view);
    assert_true(CloseHandle(section));
}

int main(int argc, char **argv)
{
#define WITH(setup, name) cmocka_unit_test_setup(name, setup)
    const struct CMUnitTest tests[] = {
        WITH(bind_recording_manager, virtual_memory_goes_through_the_manager),
        WITH(bind_hostmem, the_heap_functions_do_what_win32_does),
        WITH(bind_hostmem, heap_blocks_of_others_and_other_heaps_go_to_the_system),
        WITH(bind_hostmem, only_blocks_of_the_system_wait_for_the_lock_of_its_heap),
        WITH(bind_recording_manager, the_memory_load_is_the_managers),
        WITH(load_runtime, with_a_limit_the_budget_is_the_machine),
        WITH(bind_recording_manager, a_notification_of_the_manager_signals_the_runtimes_object),
        WITH(bind_recording_manager, notifications_are_forgotten_when_they_are_closed),
        WITH(bind_recording_manager, the_manager_hears_of_mapped_views),
    };
    return coreclr_test_main(argc, argv, tests, sizeof(tests) / sizeof(tests[0]));
}
