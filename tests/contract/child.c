/* SPDX-License-Identifier: MIT
 *
 * See child.h.
 */
#include "contract/child.h"
#include "contract/contract.h"

#include <string.h>
#include <wchar.h>

DWORD run_child(const char *argument, DWORD seconds)
{
    WCHAR path[MAX_PATH], command[2 * MAX_PATH];
    STARTUPINFOW startup = {.cb = sizeof(startup)};
    PROCESS_INFORMATION child;
    DWORD code = POISON_DWORD;
    assert_in_range(GetModuleFileNameW(NULL, path, MAX_PATH), 1, MAX_PATH - 1);
    assert_true(swprintf(command, 2 * MAX_PATH, L"\"%ls\" --child %hs", path, argument) > 0);
    assert_true(CreateProcessW(path, command, NULL, NULL, FALSE, 0, NULL, NULL, &startup, &child));
    DWORD waited = WaitForSingleObject(child.hProcess, seconds * 1000);
    if (waited != WAIT_OBJECT_0) {
        TerminateProcess(child.hProcess, 1);
        fail_at(__FILE__, __LINE__, "the child \"%s\" hangs", argument);
    }
    assert_true(GetExitCodeProcess(child.hProcess, &code));
    CloseHandle(child.hThread);
    CloseHandle(child.hProcess);
    return code;
}

const char *child_argument(int argc, char **argv)
{
    if (argc != 3 || strcmp(argv[1], "--child") != 0) {
        return NULL;
    }
    SetErrorMode(SEM_FAILCRITICALERRORS | SEM_NOGPFAULTERRORBOX);
    return argv[2];
}
