/* SPDX-License-Identifier: MIT
 *
 * The end of a trace, while threads go on calling. What the manager has counted there is what is in
 * the file, call by call: nobody is inside, nobody gets in, and whoever was inside has his record.
 *
 *     test_trace_end          three threads that allocate and free without end, one that waits inside
 *                             a call, one that was ended there
 *     test_trace_end stuck    one that is suspended inside, one that comes while the trace does not end
 *
 * There is one trace in a process.
 */
#include "contract/contract.h"

#include "trace/trace_manager.h"
#include "trace/trace_reader.h"
#include "trace/trace_writer.h"

#include <stdlib.h>
#include <string.h>

enum { CALLERS = 3, WAIT_MS = 400, LIMIT_MIB = 4 };

static struct scene {
    IHostMemoryManager *manager; /* the recording one */
    IHostMemoryStatistics *statistics;
    IHostMalloc *heap;
    LONG quit;
    volatile LONG rounds[CALLERS];
    WCHAR file[MAX_PATH + 1];
} scene;

static DWORD WINAPI allocate_and_free(void *rounds)
{
    while (!scene.quit) {
        void *block = NULL;
        IHostMalloc_Alloc(scene.heap, 40, eTaskCritical, &block);
        IHostMalloc_Free(scene.heap, block);
        InterlockedIncrement(rounds);
    }
    return 0;
}

/* All of the limit, of which a page is charged: it waits for as long as the manager was told to. */
static DWORD WINAPI wait_inside(void *unused)
{
    void *memory;
    (void)unused;
    IHostMemoryManager_VirtualAlloc(scene.manager, NULL, LIMIT_MIB * MIB, MEM_RESERVE | MEM_COMMIT,
                                    PAGE_READWRITE, eTaskCritical, &memory);
    return 0;
}

static DWORD WINAPI free_nothing(void *unused)
{
    (void)unused;
    return (DWORD)IHostMalloc_Free(scene.heap, NULL);
}

static HOSTMEM_STATISTICS statistics(void)
{
    HOSTMEM_STATISTICS now = {.Size = sizeof(now)};
    assert_int_equal(IHostMemoryStatistics_GetStatistics(scene.statistics, &now), S_OK);
    return now;
}

static HANDLE start(LPTHREAD_START_ROUTINE run, volatile LONG *argument)
{
    HANDLE thread = CreateThread(NULL, 0, run, (void *)argument, 0, NULL);
    assert_non_null(thread);
    return thread;
}

/* Until so many are inside. */
static HANDLE start_waiter(UINT64 number)
{
    HANDLE waiter = start(wait_inside, NULL);
    while (statistics().Calls.VirtualAlloc < number) {
        Sleep(1);
    }
    return waiter;
}

static void join(HANDLE thread)
{
    assert_int_equal(WaitForSingleObject(thread, 10000), WAIT_OBJECT_0);
    CloseHandle(thread);
}

static int set_up(void **state)
{
    const HOSTMEM_OPTIONS options = {
        .Size = sizeof(options), .CommitLimit = LIMIT_MIB * MIB, .CommitWaitMilliseconds = WAIT_MS};
    const struct trace_header about = {.commit_limit = options.CommitLimit};
    IHostMemoryManager *inner;
    WCHAR folder[MAX_PATH + 1];
    (void)state;
    GetTempPathW(MAX_PATH, folder);
    GetTempFileNameW(folder, L"hm", 0, scene.file);
    assert_int_equal(HostMemCreateManager(&options, &inner), S_OK);
    assert_int_equal(IHostMemoryManager_QueryInterface(inner, &IID_IHostMemoryStatistics,
                                                       (void **)&scene.statistics),
                     S_OK);
    IHostMemoryCharge *charge;
    assert_int_equal(
        IHostMemoryManager_QueryInterface(inner, &IID_IHostMemoryCharge, (void **)&charge), S_OK);
    assert_int_equal(IHostMemoryCharge_ChargeCommit(charge, 4096, eTaskCritical), S_OK);
    IHostMemoryCharge_Release(charge);
    assert_int_equal(trace_writer_open(scene.file, &about), ERROR_SUCCESS);
    assert_int_equal(trace_manager_create(inner, &scene.manager), S_OK);
    IHostMemoryManager_Release(inner);
    assert_int_equal(IHostMemoryManager_CreateMalloc(scene.manager, MALLOC_THREADSAFE, &scene.heap),
                     S_OK);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    IHostMalloc_Release(scene.heap);
    IHostMemoryStatistics_Release(scene.statistics);
    IHostMemoryManager_Release(scene.manager);
    return DeleteFileW(scene.file) ? 0 : -1;
}

static size_t records_of(const struct trace *trace, enum trace_method method)
{
    size_t count = 0;
    for (size_t i = 0; i < trace->count; i++) {
        count += trace->records[i].method == method;
    }
    return count;
}

static struct trace read_trace(void)
{
    HANDLE file = CreateFileW(scene.file, GENERIC_READ, FILE_SHARE_READ | FILE_SHARE_WRITE, NULL,
                              OPEN_EXISTING, 0, NULL);
    DWORD size = GetFileSize(file, NULL), got = 0;
    void *bytes = malloc(size);
    struct trace trace;
    struct trace_error error = {""};
    assert_non_null(bytes);
    assert_true(ReadFile(file, bytes, size, &got, NULL) && got == size);
    CloseHandle(file);
    if (!trace_read(bytes, size, &trace, &error)) {
        fail_msg("%s", error.text);
    }
    free(bytes);
    return trace;
}

/* As a process leaves it that is terminated. */
static void a_trace_without_an_end_says_what_its_ticks_are_worth(void **state)
{
    LARGE_INTEGER begin, now, frequency;
    (void)state;
    QueryPerformanceFrequency(&frequency);
    QueryPerformanceCounter(&begin);
    IHostMalloc_Free(scene.heap, NULL);
    Sleep(500);
    QueryPerformanceCounter(&now);
    struct trace trace = read_trace();
    double most = (double)(now.QuadPart - begin.QuadPart) * 1e9 / (double)frequency.QuadPart + 1e9;
    assert_int_equal(trace.header.closed, 0);
    assert_int_equal(trace.count, 2);
    assert_true((double)trace.header.nanoseconds > 1e8);
    assert_true((double)trace.header.nanoseconds < most);
    assert_true(trace.header.ticks > trace.records[1].begin);
    trace_free(&trace);
}

static void a_trace_ends_where_the_figures_are_taken(void **state)
{
    HANDLE callers[CALLERS];
    (void)state;
    for (int i = 0; i < CALLERS; i++) {
        callers[i] = start(allocate_and_free, &scene.rounds[i]);
        while (scene.rounds[i] < 100) {
            Sleep(1);
        }
    }
    HANDLE ended = start_waiter(1);
    TerminateThread(ended, 0);
    join(ended);
    HANDLE waiter = start_waiter(2);

    ULONGLONG begin = GetTickCount64();
    trace_writer_stop();
    ULONGLONG time = GetTickCount64() - begin;
    HOSTMEM_STATISTICS end = statistics(), later;
    Sleep(50);
    later = statistics();
    SetLastError(4711);
    IHostMalloc_Free(scene.heap, NULL); /* whoever has stopped the trace is let in */
    DWORD last_error = GetLastError();
    UINT64 missing = trace_writer_close();
    for (int i = 0; i < CALLERS; i++) { /* and all others after it */
        for (LONG rounds = scene.rounds[i]; scene.rounds[i] < rounds + 10;) {
            Sleep(1);
        }
    }
    scene.quit = 1;
    for (int i = 0; i < CALLERS; i++) {
        join(callers[i]);
    }
    join(waiter);

    assert_memory_equal(&end.Calls, &later.Calls, sizeof(end.Calls));
    assert_true(time < 900); /* not for the one that was ended */
    assert_int_equal(last_error, 4711);
    assert_int_equal(missing, 0);
    struct trace trace = read_trace();
    assert_int_equal(records_of(&trace, TRACE_ALLOC), end.Calls.Alloc);
    assert_int_equal(records_of(&trace, TRACE_FREE), end.Calls.Free);
    assert_int_equal(records_of(&trace, TRACE_CREATE_MALLOC), 1);
    assert_int_equal(records_of(&trace, TRACE_VIRTUAL_ALLOC), 1); /* of two */
    trace_free(&trace);
}

static void neither_a_thread_that_is_stuck_nor_the_end_is_waited_for_without_end(void **state)
{
    (void)state;
    HANDLE waiter = start_waiter(1);
    SuspendThread(waiter);
    ULONGLONG begin = GetTickCount64();
    trace_writer_stop();
    ULONGLONG time = GetTickCount64() - begin;
    assert_true(time >= 900 && time < 5000);

    /* Nor is the end, by those who come: whoever ends the trace may need something of theirs. */
    HANDLE comer = start(free_nothing, NULL);
    assert_int_equal(WaitForSingleObject(comer, 500), WAIT_TIMEOUT);
    join(comer);
    assert_int_equal(trace_writer_close(), 0);
    ResumeThread(waiter);
    join(waiter);
    struct trace trace = read_trace();
    assert_int_equal(trace.count, 1); /* CreateMalloc */
    trace_free(&trace);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest test[] = {
        cmocka_unit_test_setup(a_trace_without_an_end_says_what_its_ticks_are_worth, set_up),
        cmocka_unit_test_teardown(a_trace_ends_where_the_figures_are_taken, tear_down),
    };
    const struct CMUnitTest stuck[] = {
        cmocka_unit_test_setup_teardown(
            neither_a_thread_that_is_stuck_nor_the_end_is_waited_for_without_end, set_up,
            tear_down),
    };
    return argc == 2 && strcmp(argv[1], "stuck") == 0 ? cmocka_run_group_tests(stuck, NULL, NULL)
                                                      : cmocka_run_group_tests(test, NULL, NULL);
}
