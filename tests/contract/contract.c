/* SPDX-License-Identifier: MIT
 *
 * See contract.h: single calls, managers, memory of others, threads.
 */
#include "contract/contract.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void fail_at(const char *file, int line, const char *format, ...)
{
    char message[512];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(message, sizeof(message), format, arguments);
    va_end(arguments);
    print_error("%s:%d: %s\n", file, line, message);
    _fail(file, line);
    abort(); /* not reached: _fail jumps to the end of the test */
}

void expect_call(HRESULT hr, DWORD error, HRESULT expected_hr, DWORD expected_error,
                 const char *call, const char *file, int line)
{
    if (hr != expected_hr) {
        fail_at(file, line, "%s returned %#lx, not %#lx (LastError %lu)", call, (unsigned long)hr,
                (unsigned long)expected_hr, error);
    }
    if (expected_error != ANY_ERROR && error != expected_error) {
        fail_at(file, line, "%s left LastError %lu (%#lx), not %lu (%#lx)", call, error, error,
                expected_error, expected_error);
    }
}

void expect_ref(IUnknown *object, ULONG count, const char *file, int line)
{
    ULONG added = IUnknown_AddRef(object);
    ULONG left = IUnknown_Release(object);
    if (added != count + 1 || left != count) {
        fail_at(file, line, "%lu references, not %lu (AddRef said %lu)", left, count, added);
    }
}

void expect_interface(IUnknown *object, REFIID iid, bool supported, const char *name,
                      const char *file, int line)
{
    IUnknown *identity = POISON_POINTER, *answer = POISON_POINTER,
             *answer_identity = POISON_POINTER;
    HRESULT hr = IUnknown_QueryInterface(object, iid, (void **)&answer);
    if (!supported) {
        if (hr != E_NOINTERFACE || answer != NULL) {
            fail_at(file, line, "QueryInterface(%s) returned %#lx and %p", name, (unsigned long)hr,
                    (void *)answer);
        }
        return;
    }
    if (hr != S_OK || answer == POISON_POINTER || answer == NULL) {
        fail_at(file, line, "QueryInterface(%s) returned %#lx and %p", name, (unsigned long)hr,
                (void *)answer);
    }
    HRESULT left = IUnknown_QueryInterface(object, &IID_IUnknown, (void **)&identity);
    HRESULT right = IUnknown_QueryInterface(answer, &IID_IUnknown, (void **)&answer_identity);
    if (left != S_OK || right != S_OK || identity != answer_identity) {
        fail_at(file, line, "%s is not the same object", name);
    }
    IUnknown_Release(answer_identity);
    IUnknown_Release(identity);
    IUnknown_Release(answer);
}

HRESULT hr_of_win32(DWORD error)
{
    switch (error) {
    case ERROR_SUCCESS:
        return S_OK;
    case ERROR_NOT_ENOUGH_MEMORY:
    case ERROR_OUTOFMEMORY:
    case ERROR_NO_SYSTEM_RESOURCES:
    case ERROR_COMMITMENT_LIMIT:
        return E_OUTOFMEMORY;
    default:
        return (HRESULT)(0x80070000 | error);
    }
}

bool running_on_wine(void)
{
    return GetProcAddress(GetModuleHandleW(L"ntdll.dll"), "wine_get_version") != NULL;
}

/* ---- managers ---- */

IHostMemoryManager *create_manager(void)
{
    IHostMemoryManager *manager = POISON_POINTER;
    EXPECT_OK(HostMemCreateManager(NULL, &manager));
    assert_non_null(manager);
    return manager;
}

IHostMemoryManager *create_manager_with(const HOSTMEM_OPTIONS *options)
{
    IHostMemoryManager *manager = POISON_POINTER;
    EXPECT_OK(HostMemCreateManager(options, &manager));
    assert_non_null(manager);
    return manager;
}

int setup_manager(void **state)
{
    *state = create_manager();
    return 0;
}

int teardown_manager(void **state)
{
    IHostMemoryManager *manager = *state;
    EXPECT_EXACT_COMMIT(manager);
    assert_int_equal(IHostMemoryManager_Release(manager), 0);
    return 0;
}

HOSTMEM_STATISTICS statistics_of(IHostMemoryManager *manager)
{
    HOSTMEM_STATISTICS result;
    IHostMemoryStatistics *statistics = POISON_POINTER;
    memset(&result, 0xad, sizeof(result));
    result.Size = sizeof(result);
    EXPECT_OK(IHostMemoryManager_QueryInterface(manager, &IID_IHostMemoryStatistics,
                                                (void **)&statistics));
    EXPECT_OK(IHostMemoryStatistics_GetStatistics(statistics, &result));
    IHostMemoryStatistics_Release(statistics);
    return result;
}

void *interface_of(IUnknown *object, REFIID iid)
{
    void *result = POISON_POINTER;
    EXPECT_OK(IUnknown_QueryInterface(object, iid, &result));
    return result;
}

void set_limits(IHostMemoryManager *manager, const HOSTMEM_LIMITS *limits)
{
    IHostMemoryLimits *setter = INTERFACE_OF(manager, IHostMemoryLimits);
    EXPECT_OK(IHostMemoryLimits_SetLimits(setter, limits));
    IHostMemoryLimits_Release(setter);
}

void shut_down(IHostMemoryManager *manager)
{
    IHostRuntimeLifetime *lifetime = INTERFACE_OF(manager, IHostRuntimeLifetime);
    EXPECT_OK(IHostRuntimeLifetime_Shutdown(lifetime));
    IHostRuntimeLifetime_Release(lifetime);
}

#define EXPECT_UNAVAILABLE(call) EXPECT_CALL(call, HOST_E_CLRNOTAVAILABLE, ERROR_NOT_READY)

static void expect_memory_unavailable(IHostMemoryManager *manager)
{
    MEMORY_BASIC_INFORMATION info;
    void *address = &info, *memory = POISON_POINTER;
    SIZE_T written = POISON_SIZE;
    DWORD old = POISON_DWORD;
    EXPECT_UNAVAILABLE(IHostMemoryManager_VirtualAlloc(
        manager, NULL, PAGE, MEM_RESERVE | MEM_COMMIT, PAGE_READWRITE, eProcessCritical, &memory));
    assert_null(memory);
    memory = POISON_POINTER;
    EXPECT_UNAVAILABLE(IHostMemoryManager_VirtualAlloc(manager, address, PAGE, MEM_COMMIT,
                                                       PAGE_READWRITE, eTaskCritical, &memory));
    assert_null(memory);
    EXPECT_UNAVAILABLE(IHostMemoryManager_VirtualFree(manager, address, 0, MEM_RELEASE));
    EXPECT_UNAVAILABLE(IHostMemoryManager_VirtualFree(manager, address, PAGE, MEM_DECOMMIT));
    EXPECT_UNAVAILABLE(
        IHostMemoryManager_VirtualQuery(manager, address, &info, sizeof(info), &written));
    assert_int_equal(written, 0);
    EXPECT_UNAVAILABLE(
        IHostMemoryManager_VirtualProtect(manager, address, PAGE, PAGE_READWRITE, &old));
    assert_int_equal(old, POISON_DWORD); /* in and out: kept on every failure */
}

static void expect_heap_unavailable(IHostMalloc *heap)
{
    void *block = POISON_POINTER;
    EXPECT_UNAVAILABLE(IHostMalloc_Alloc(heap, 1, eProcessCritical, &block));
    assert_null(block);
    block = POISON_POINTER;
    EXPECT_UNAVAILABLE(IHostMalloc_DebugAlloc(heap, 1, eTaskCritical, (char *)"file.c", 1, &block));
    assert_null(block);
    EXPECT_UNAVAILABLE(IHostMalloc_Free(heap, NULL));
    EXPECT_UNAVAILABLE(IHostMalloc_Free(heap, POISON_POINTER));
}

void expect_unavailable(IHostMemoryManager *manager, IHostMalloc *heap)
{
    IHostMalloc *new_heap = POISON_POINTER;
    DWORD load = POISON_DWORD;
    SIZE_T available = POISON_SIZE;
    EXPECT_UNAVAILABLE(IHostMemoryManager_CreateMalloc(manager, MALLOC_THREADSAFE, &new_heap));
    assert_null(new_heap);
    expect_memory_unavailable(manager);
    EXPECT_UNAVAILABLE(IHostMemoryManager_GetMemoryLoad(manager, &load, &available));
    assert_int_equal(load, 0);
    assert_int_equal(available, 0);
    EXPECT_HR(IHostMemoryManager_RegisterMemoryNotificationCallback(manager, NULL),
              HOST_E_CLRNOTAVAILABLE);
    /* The CLR reads LastError of its own mapping after these. */
    EXPECT_CALL(IHostMemoryManager_NeedsVirtualAddressSpace(manager, NULL, PAGE),
                HOST_E_CLRNOTAVAILABLE, UNCHANGED);
    EXPECT_CALL(IHostMemoryManager_AcquiredVirtualAddressSpace(manager, (void *)0x10000, PAGE),
                HOST_E_CLRNOTAVAILABLE, UNCHANGED);
    EXPECT_CALL(IHostMemoryManager_ReleasedVirtualAddressSpace(manager, (void *)0x10000),
                HOST_E_CLRNOTAVAILABLE, UNCHANGED);
    if (heap != NULL) {
        expect_heap_unavailable(heap);
    }
}

void expect_exact_commit(IHostMemoryManager *manager, const char *file, int line)
{
    IHostMemoryStatistics *statistics = POISON_POINTER;
    UINT64 counted = 0xdeadbeef, system = 0xbeefdead;
    UINT64 current = statistics_of(manager).CommitCurrentBytes;
    EXPECT_OK(IHostMemoryManager_QueryInterface(manager, &IID_IHostMemoryStatistics,
                                                (void **)&statistics));
    EXPECT_OK(IHostMemoryStatistics_MeasureCommit(statistics, &counted, &system));
    IHostMemoryStatistics_Release(statistics);
    if (counted != system || counted != current) {
        fail_at(file, line, "committed: %llu by statistics, %llu by the table, %llu by the OS",
                (unsigned long long)current, (unsigned long long)counted,
                (unsigned long long)system);
    }
}

char *reserve(IHostMemoryManager *manager, SIZE_T size)
{
    void *memory = POISON_POINTER;
    EXPECT_OK(IHostMemoryManager_VirtualAlloc(manager, NULL, size, MEM_RESERVE, PAGE_READWRITE,
                                              eTaskCritical, &memory));
    return memory;
}

char *reserve_committed(IHostMemoryManager *manager, SIZE_T size)
{
    void *memory = POISON_POINTER;
    EXPECT_OK(IHostMemoryManager_VirtualAlloc(manager, NULL, size, MEM_RESERVE | MEM_COMMIT,
                                              PAGE_READWRITE, eTaskCritical, &memory));
    return memory;
}

void dll_path(WCHAR *path, DWORD capacity)
{
    HMODULE module = GetModuleHandleW(L"hostmem.dll");
    assert_non_null(module);
    DWORD length = GetModuleFileNameW(module, path, capacity);
    assert_true(length > 0 && length < capacity);
}

/* ---- memory of others ---- */

static const char a_constant[4] = "abc";

void foreign_memory_create(struct foreign_memory *foreign)
{
    NT_TIB *tib = (NT_TIB *)NtCurrentTeb();
    foreign->reserved = VirtualAlloc(NULL, 16 * PAGE, MEM_RESERVE, PAGE_READWRITE);
    assert_non_null(foreign->reserved);
    assert_non_null(VirtualAlloc(foreign->reserved, 2 * PAGE, MEM_COMMIT, PAGE_READWRITE));
    foreign->section =
        CreateFileMappingW(INVALID_HANDLE_VALUE, NULL, PAGE_READWRITE, 0, (DWORD)(16 * PAGE), NULL);
    assert_non_null(foreign->section);
    foreign->view = MapViewOfFile(foreign->section, FILE_MAP_ALL_ACCESS, 0, 0, 0);
    assert_non_null(foreign->view);
    foreign->image = (char *)(uintptr_t)foreign_memory_create;
    foreign->constants = (char *)(uintptr_t)a_constant;
    foreign->stack = (char *)tib->StackBase - PAGE;
    foreign->heap = HeapAlloc(GetProcessHeap(), 0, 4096);
    assert_non_null(foreign->heap);
    /* Between two reservations nobody can be in the way of the test. */
    foreign->free = VirtualAlloc(NULL, 64 * GRANULARITY, MEM_RESERVE, PAGE_NOACCESS);
    assert_non_null(foreign->free);
    assert_true(VirtualFree(foreign->free, 0, MEM_RELEASE));
}

void foreign_memory_destroy(struct foreign_memory *foreign)
{
    assert_true(HeapFree(GetProcessHeap(), 0, foreign->heap));
    assert_true(UnmapViewOfFile(foreign->view));
    assert_true(CloseHandle(foreign->section));
    assert_true(VirtualFree(foreign->reserved, 0, MEM_RELEASE));
}

/* ---- threads ---- */

void run_threads(unsigned count, DWORD(WINAPI *function)(void *context), void *context)
{
    HANDLE threads[MAX_THREADS];
    assert_in_range(count, 1, MAX_THREADS);
    for (unsigned i = 0; i < count; i++) {
        threads[i] = CreateThread(NULL, 0, function, context, 0, NULL);
        assert_non_null(threads[i]);
    }
    assert_int_equal(WaitForMultipleObjects(count, threads, TRUE, 60000), WAIT_OBJECT_0);
    for (unsigned i = 0; i < count; i++) {
        DWORD code = POISON_DWORD;
        assert_true(GetExitCodeThread(threads[i], &code));
        assert_int_equal(code, 0);
        CloseHandle(threads[i]);
    }
}

uint32_t next_random(uint32_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 17;
    *state ^= *state << 5;
    return *state;
}
