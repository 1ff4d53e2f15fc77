/* SPDX-License-Identifier: MIT */
#include "exit_hook.h"

#define PATIENCE_MS 3000

typedef BOOLEAN(NTAPI *process_ends_fn)(void);

static exit_hook *the_hook;
static crash_hook *the_crash_hook;
static LONG armed; /* set when all below is */
static DWORD fls_slot;
static process_ends_fn process_ends; /* RtlDllShutdownInProgress */
static HANDLE hook_thread;           /* a thread that waits, and runs the hook apart */
static HANDLE wanted, done;          /* events: by that thread; by any, or never to be */
static DWORD code_apart;
static LPTOP_LEVEL_EXCEPTION_FILTER next_filter;

void exit_hook_run(DWORD exit_code)
{
    if (InterlockedExchange(&armed, FALSE)) {
        the_hook(exit_code);
        SetEvent(done);
    }
}

void exit_hook_cancel(void)
{
    InterlockedExchange(&armed, FALSE);
    SetEvent(done);
}

static DWORD WINAPI wait_until_wanted(void *unused)
{
    (void)unused;
    WaitForSingleObject(wanted, INFINITE);
    exit_hook_run(code_apart);
    Sleep(INFINITE);
    return 0;
}

void CALLBACK exit_hook_run_apart(void *context, UINT32 exit_code)
{
    (void)context;
    code_apart = exit_code;
    SetEvent(wanted);
    WaitForSingleObject(done, PATIENCE_MS);
}

/* The runtime's filter before the hook: it prints the exception. It may call the filter that it found when it
 * was set, which can be this one: the thread's FLS value says that it is inside. */
static LONG WINAPI filter(EXCEPTION_POINTERS *exception)
{
    void *value = FlsGetValue(fls_slot);
    if (value == &next_filter) {
        return EXCEPTION_CONTINUE_SEARCH;
    }
    if (the_crash_hook) {
        the_crash_hook();
    }
    FlsSetValue(fls_slot, &next_filter);
    LONG answer = next_filter ? next_filter(exception) : EXCEPTION_CONTINUE_SEARCH;
    FlsSetValue(fls_slot, value);
    if (answer != EXCEPTION_CONTINUE_EXECUTION) {
        exit_hook_run(exception->ExceptionRecord->ExceptionCode);
    }
    return answer;
}

/* There is one filter in a process. The runtime sets its own when it starts and forgets ours. */
static void put_filter_first(void)
{
    LPTOP_LEVEL_EXCEPTION_FILTER previous = SetUnhandledExceptionFilter(filter);
    if (previous != filter) {
        next_filter = previous;
    }
}

/* Every exception comes by here first, before anybody looks for a handler. */
static LONG CALLBACK before_exception(EXCEPTION_POINTERS *exception)
{
    if (exception->ExceptionRecord->ExceptionCode != EXCEPTION_STACK_OVERFLOW) {
        put_filter_first();
    }
    return EXCEPTION_CONTINUE_SEARCH;
}

static void end_of_process(void)
{
    if (armed) {
        /* A thread ends some time after it is told to; a second is for ever. */
        DWORD exit_code = 0;
        WaitForSingleObject(hook_thread, 1000);
        GetExitCodeThread(hook_thread, &exit_code);
        exit_hook_run(exit_code);
    }
}

/* Called for a thread with a value in the slot, when it ends and when it ends the process. */
static void WINAPI fls_callback(void *value)
{
    (void)value;
    if (process_ends && process_ends()) {
        end_of_process();
    }
}

static void NTAPI tls_callback(void *module, DWORD reason, void *reserved)
{
    (void)module;
    (void)reserved;
    if (reason == DLL_THREAD_ATTACH && armed) {
        FlsSetValue(fls_slot, &armed);
    } else if (reason == DLL_PROCESS_DETACH) {
        end_of_process();
    }
}

/* The C runtime's TLS directory lists the callbacks from .CRT$XLA to .CRT$XLZ. */
__attribute__((section(".CRT$XLD"), used)) static const PIMAGE_TLS_CALLBACK tls_callback_entry =
    tls_callback;

BOOL exit_hook_set(exit_hook *hook, crash_hook *crash)
{
    wanted = CreateEventW(NULL, FALSE, FALSE, NULL);
    done = CreateEventW(NULL, TRUE, FALSE, NULL);
    if (wanted && done) {
        hook_thread = CreateThread(NULL, 256 * 1024, wait_until_wanted, NULL,
                                   STACK_SIZE_PARAM_IS_A_RESERVATION, NULL);
    }
    fls_slot = FlsAlloc(fls_callback);
    if (!hook_thread || fls_slot == FLS_OUT_OF_INDEXES) {
        return FALSE;
    }
    process_ends = (process_ends_fn)(void (*)(void))GetProcAddress(GetModuleHandleW(L"ntdll.dll"),
                                                                   "RtlDllShutdownInProgress");
    FlsSetValue(fls_slot, &armed);
    AddVectoredExceptionHandler(FALSE, before_exception);
    the_hook = hook;
    the_crash_hook = crash;
    InterlockedExchange(&armed, TRUE);
    return TRUE;
}
