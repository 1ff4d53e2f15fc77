/* SPDX-License-Identifier: MIT
 *
 * See framework_process.h. Command line: PROGRAM session PROFILE FAULT first|last EVENT EVENT
 */
#include "framework/framework_process.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <wchar.h>

/* ---- the parent ---- */

struct framework_process framework_start_process(const char *profile, const char *fault,
                                                 bool dll_first)
{
    SECURITY_ATTRIBUTES inherited = {.nLength = sizeof(inherited), .bInheritHandle = TRUE};
    struct framework_process child = {.detaching = CreateEventW(&inherited, TRUE, FALSE, NULL),
                                      .came_back = CreateEventW(&inherited, TRUE, FALSE, NULL)};
    WCHAR path[MAX_PATH], command[2 * MAX_PATH];
    STARTUPINFOW startup = {.cb = sizeof(startup)};
    PROCESS_INFORMATION process = {0};
    GetModuleFileNameW(NULL, path, MAX_PATH);
    swprintf(command, ARRAYSIZE(command), L"\"%ls\" session %hs %hs %ls %Iu %Iu", path, profile,
             fault[0] != '\0' ? fault : "none", dll_first ? L"first" : L"last",
             (SIZE_T)child.detaching, (SIZE_T)child.came_back);
    if (CreateProcessW(path, command, NULL, NULL, TRUE, 0, NULL, NULL, &startup, &process)) {
        CloseHandle(process.hThread);
        child.process = process.hProcess;
    }
    return child;
}

struct framework_end framework_wait(struct framework_process *child, DWORD life, DWORD last_calls)
{
    struct framework_end end = {.code = STILL_ACTIVE};
    const HANDLE handles[] = {child->process, child->detaching};
    WaitForMultipleObjects(ARRAYSIZE(handles), handles, FALSE, life);
    end.detached = WaitForSingleObject(child->detaching, 0) == WAIT_OBJECT_0;
    end.in_time =
        WaitForSingleObject(child->process, end.detached ? last_calls : 0) == WAIT_OBJECT_0;
    if (!end.in_time) {
        TerminateProcess(child->process, 1);
        WaitForSingleObject(child->process, INFINITE);
    }
    GetExitCodeProcess(child->process, &end.code);
    end.came_back = WaitForSingleObject(child->came_back, 0) == WAIT_OBJECT_0;
    CloseHandle(child->process);
    CloseHandle(child->detaching);
    CloseHandle(child->came_back);
    return end;
}

/* ---- the child ---- */

static struct clr clr;
static HANDLE detaching, came_back;

static void __cdecl detach(void)
{
    SetEvent(detaching);
    framework_detach(&clr);
    if (clr.judge.verdict != 0) {
        TerminateProcess(GetCurrentProcess(), FOUND + (UINT)clr.judge.verdict);
    }
    SetEvent(came_back);
}

static void load_clr_dll(void)
{
    HMODULE dll = LoadLibraryW(L"framework_dll.dll");
    void(__cdecl * at_detach)(void(__cdecl *)(void)) = (void(__cdecl *)(void(__cdecl *)(void)))(
        uintptr_t)GetProcAddress(dll, "framework_dll_at_detach");
    at_detach(detach);
}

int framework_child(char **argv, const struct disguise *disguise)
{
    const struct profile *profile = NULL;
    for (size_t i = 0; i < framework_profile_count; i++) {
        if (strcmp(argv[2], framework_profiles[i].name) == 0) {
            profile = &framework_profiles[i];
        }
    }
    detaching = (HANDLE)(uintptr_t)strtoull(argv[5], NULL, 10);
    came_back = (HANDLE)(uintptr_t)strtoull(argv[6], NULL, 10);
    if (strcmp(argv[4], "first") == 0) {
        load_clr_dll();
    }
    int verdict = framework_session(&clr, profile, disguise);
    if (verdict != 0) {
        printf("%s, %s %s: %s\n", profile->name, clr.judge.step->section, clr.judge.step->what,
               clr.judge.finding);
        fflush(stdout);
        TerminateProcess(GetCurrentProcess(), FOUND + (UINT)verdict);
    }
    if (strcmp(argv[4], "first") != 0) {
        load_clr_dll();
    }
    ExitProcess(0); /* with the threads in the middle of their work */
}
