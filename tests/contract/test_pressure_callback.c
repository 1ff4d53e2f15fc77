/* SPDX-License-Identifier: MIT
 *
 * Who is told of memory pressure, and by whom: from a thread of the manager's, with no lock held, to
 * the registered callback only, which may do what it likes in the call (trap 18); and at the end of
 * the process nobody waits for that thread (trap 26).
 */
#include "contract/pressure_fixture.h"

#include <string.h>
#include <wchar.h>

/* ---- who is called, and by whom ---- */

static void one_thread_of_its_own_makes_all_calls(void **state)
{
    struct recorder *recorder = &fixture.recorder;
    (void)state;
    use(90 * MIB);
    EXPECT_LOW(recorder);
    use(0);
    EXPECT_NEUTRAL(recorder);
    assert_int_not_equal(recorder->notes[0].thread, GetCurrentThreadId());
    assert_int_equal(recorder->notes[0].thread, recorder->notes[1].thread);
}

static void the_new_callback_is_told_and_the_old_one_is_not(void **state)
{
    struct recorder *first = &fixture.recorder, second = new_recorder();
    (void)state;
    use(90 * MIB);
    EXPECT_LOW(first);
    EXPECT_OK(put(&second));
    assert_int_equal(first->refs, 1);
    EXPECT_LOW(&second);
    use(0);
    EXPECT_NEUTRAL(&second);
    EXPECT_SILENCE(first, 300);
    EXPECT_OK(put(NULL));
    assert_int_equal(second.refs, 1);
    use(95 * MIB);
    EXPECT_SILENCE(&second, 500);
    CloseHandle(second.written);
}

static void take_a_while(struct recorder *recorder)
{
    (void)recorder;
    Sleep(400);
}

static void replacing_waits_for_the_call_under_way(void **state)
{
    struct recorder *recorder = &fixture.recorder;
    (void)state;
    recorder->inside = take_a_while;
    use(90 * MIB);
    EXPECT_LOW(recorder);
    EXPECT_OK(put(NULL));
    assert_int_equal(recorder->done, 1);
    assert_int_equal(recorder->refs, 1);
}

static void let_go(struct recorder *recorder)
{
    recorder->hr = put(NULL);
    if (recorder->refs != 2) {
        recorder->hr = E_UNEXPECTED; /* the object must outlive its method */
    }
}

static void the_callback_may_unregister_itself(void **state)
{
    struct recorder *recorder = &fixture.recorder;
    (void)state;
    recorder->inside = let_go;
    use(90 * MIB);
    EXPECT_LOW(recorder);
    EXPECT_SILENCE(recorder, 300);
    assert_int_equal(recorder->hr, S_OK);
    assert_int_equal(recorder->refs, 1);
    recorder->inside = NULL;
    EXPECT_OK(put(recorder));
    EXPECT_LOW(recorder);
}

static void release_the_manager(struct recorder *recorder)
{
    recorder->hr = (HRESULT)IHostMemoryManager_Release(fixture.manager);
}

static void the_callback_may_release_the_manager(void **state)
{
    struct recorder *recorder = &fixture.recorder;
    (void)state;
    recorder->inside = release_the_manager;
    recorder->hr = E_FAIL;
    release_interfaces();
    use(90 * MIB);
    EXPECT_LOW(recorder);
    for (int i = 0; i < 100 && recorder->refs > 1; i++) {
        Sleep(10);
    }
    assert_int_equal(recorder->hr, 0); /* it was the last one */
    assert_int_equal(recorder->refs, 1);
    EXPECT_SILENCE(recorder, 300);
    assert_true(VirtualFree(fixture.memory, 0, MEM_RELEASE)); /* it stays with the process */
    fixture.manager = NULL;
}

static void allocate(struct recorder *recorder)
{
    IHostMalloc *heap = NULL;
    void *memory = NULL;
    recorder->hr =
        IHostMemoryManager_VirtualAlloc(fixture.manager, NULL, PAGE, MEM_RESERVE | MEM_COMMIT,
                                        PAGE_READWRITE, eTaskCritical, &memory);
    recorder->hr |= IHostMemoryManager_VirtualFree(fixture.manager, memory, 0, MEM_RELEASE);
    recorder->hr |= IHostMemoryManager_CreateMalloc(fixture.manager, MALLOC_THREADSAFE, &heap);
    recorder->hr |= IHostMalloc_Alloc(heap, 100, eTaskCritical, &memory);
    recorder->hr |= IHostMalloc_Free(heap, memory);
    IHostMalloc_Release(heap);
    recorder->hr |= IHostMemoryPressure_NotifyMemory(fixture.pressure, eMemoryAvailableNeutral);
}

static void the_callback_may_allocate(void **state)
{
    struct recorder *recorder = &fixture.recorder;
    (void)state;
    recorder->inside = allocate;
    recorder->hr = E_FAIL;
    use(90 * MIB);
    EXPECT_LOW(recorder);
    EXPECT_OK(put(NULL)); /* waits for the call */
    assert_int_equal(recorder->hr, S_OK);
}

static void after_shutdown_nothing_is_sent(void **state)
{
    struct recorder *recorder = &fixture.recorder;
    (void)state;
    use(90 * MIB);
    EXPECT_LOW(recorder);
    EXPECT_OK(IHostRuntimeLifetime_Shutdown(fixture.lifetime));
    assert_int_equal(recorder->refs, 1);
    EXPECT_OK(IHostMemoryPressure_NotifyMemory(fixture.pressure, eMemoryAvailableNeutral));
    EXPECT_SILENCE(recorder, LASTS + 300);
    /* The manager does nothing any more: nothing can be given back through it. */
    release_interfaces();
    assert_int_equal(IHostMemoryManager_Release(fixture.manager), 0);
    assert_true(VirtualFree(fixture.memory, 0, MEM_RELEASE));
    fixture.manager = NULL;
}

/* ---- process exit ---- */

enum { CAME_BACK = 77 };

static void never_return(struct recorder *recorder)
{
    (void)recorder;
    Sleep(INFINITE);
}

/* The thread has been killed in the middle of its call, under the loader lock. */
static void WINAPI last_calls(void *context)
{
    (void)context;
    put(NULL);
    IHostMemoryManager_Release(fixture.manager);
    TerminateProcess(GetCurrentProcess(), CAME_BACK);
}

static int run_child(void)
{
    DWORD slot = FlsAlloc(last_calls);
    fixture.recorder = new_recorder();
    fixture.recorder.inside = never_return;
    if (slot == FLS_OUT_OF_INDEXES || !FlsSetValue(slot, &slot) ||
        HostMemCreateManager(NULL, &fixture.manager) != S_OK || put(&fixture.recorder) != S_OK ||
        IHostMemoryManager_QueryInterface(fixture.manager, &IID_IHostMemoryPressure,
                                          (void **)&fixture.pressure) != S_OK ||
        IHostMemoryPressure_NotifyMemory(fixture.pressure, eMemoryAvailableLow) != S_OK ||
        WaitForSingleObject(fixture.recorder.written, 10000) != WAIT_OBJECT_0) {
        return 1;
    }
    IHostMemoryPressure_Release(fixture.pressure);
    ExitProcess(3); /* the callback ends the process before this code can be seen */
}

static void a_process_that_ends_waits_for_no_thread(void **state)
{
    WCHAR path[MAX_PATH], command[MAX_PATH + 16];
    STARTUPINFOW startup = {.cb = sizeof(startup)};
    PROCESS_INFORMATION child;
    DWORD code = POISON_DWORD;
    (void)state;
    assert_in_range(GetModuleFileNameW(NULL, path, MAX_PATH), 1, MAX_PATH - 1);
    swprintf(command, MAX_PATH + 16, L"\"%ls\" child", path);
    assert_true(CreateProcessW(path, command, NULL, NULL, FALSE, 0, NULL, NULL, &startup, &child));
    DWORD waited = WaitForSingleObject(child.hProcess, 20000);
    if (waited != WAIT_OBJECT_0) {
        TerminateProcess(child.hProcess, 1);
    }
    assert_int_equal(waited, WAIT_OBJECT_0);
    assert_true(GetExitCodeProcess(child.hProcess, &code));
    assert_int_equal(code, CAME_BACK);
    CloseHandle(child.hThread);
    CloseHandle(child.hProcess);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        pressure_test(one_thread_of_its_own_makes_all_calls),
        pressure_test(the_new_callback_is_told_and_the_old_one_is_not),
        pressure_test(replacing_waits_for_the_call_under_way),
        pressure_test(the_callback_may_unregister_itself),
        pressure_test(the_callback_may_release_the_manager),
        pressure_test(the_callback_may_allocate),
        pressure_test(after_shutdown_nothing_is_sent),
        cmocka_unit_test(a_process_that_ends_waits_for_no_thread),
    };
    if (argc > 1 && strcmp(argv[1], "child") == 0) {
        return run_child();
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
