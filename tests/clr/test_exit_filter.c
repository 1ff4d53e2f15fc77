/* SPDX-License-Identifier: MIT
 *
 * The hook for the end of the process stands before whatever filter for unhandled exceptions there is,
 * also one that calls the filter it found, as the runtime's does: that one is ours.
 *
 * The process ends with 0 if the hook is called for the crash, once; with another code if not.
 */
#include "run/exit_hook.h"

static LPTOP_LEVEL_EXCEPTION_FILTER found;
static LONG calls;

static LONG WINAPI filter_of_the_runtime(EXCEPTION_POINTERS *exception)
{
    calls++;
    return found ? found(exception) : EXCEPTION_EXECUTE_HANDLER;
}

static void the_hook(DWORD exit_code)
{
    BOOL right = exit_code == EXCEPTION_ACCESS_VIOLATION && calls == 1;
    TerminateProcess(GetCurrentProcess(), right ? 0 : 1);
}

int main(void)
{
    static int *volatile nowhere;
    if (!exit_hook_set(the_hook, NULL)) {
        return 2;
    }
    OutputDebugStringA(
        "an exception that is handled: our filter is set, and found by the next one");
    found = SetUnhandledExceptionFilter(filter_of_the_runtime);
    if (!found) {
        return 3;
    }
    return *nowhere;
}
