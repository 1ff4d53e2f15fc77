/* SPDX-License-Identifier: MIT
 *
 * Does what the executable does that the .NET SDK puts beside a program: NAME.exe finds hostfxr below
 * DOTNET_ROOT and has it run NAME.dll with the runtime that NAME.runtimeconfig.json names. It knows
 * nothing of a memory manager; hostfxr loads coreclr.dll where nobody can get at it.
 */
#include <windows.h>

#include <stdio.h>
#include <wchar.h>

typedef int(__cdecl *hostfxr_main_startupinfo_fn)(int argc, const WCHAR **argv, const WCHAR *host,
                                                  const WCHAR *root, const WCHAR *app);

int wmain(int argc, const WCHAR **argv); /* as -municode calls it; no header declares it */

int wmain(int argc, const WCHAR **argv)
{
    static WCHAR host[MAX_PATH], app[MAX_PATH], root[MAX_PATH], path[2 * MAX_PATH];
    WIN32_FIND_DATAW version;
    GetModuleFileNameW(NULL, host, MAX_PATH);
    swprintf(app, MAX_PATH, L"%.*ls.dll", (int)wcslen(host) - 4, host);
    GetEnvironmentVariableW(L"DOTNET_ROOT", root, MAX_PATH);
    swprintf(path, 2 * MAX_PATH, L"%ls\\host\\fxr\\*", root);
    HANDLE search = FindFirstFileW(path, &version);
    while (search != INVALID_HANDLE_VALUE && version.cFileName[0] == L'.') {
        if (!FindNextFileW(search, &version)) {
            break;
        }
    }
    FindClose(search);
    swprintf(path, 2 * MAX_PATH, L"%ls\\host\\fxr\\%ls\\hostfxr.dll", root, version.cFileName);
    HMODULE hostfxr = LoadLibraryExW(path, NULL, LOAD_WITH_ALTERED_SEARCH_PATH);
    hostfxr_main_startupinfo_fn run =
        hostfxr ? (hostfxr_main_startupinfo_fn)(void (*)(void))GetProcAddress(
                      hostfxr, "hostfxr_main_startupinfo")
                : NULL;
    if (!run) {
        fprintf(stderr, "apphost: %ls does not load\n", path);
        return 3;
    }
    return run(argc, argv, host, root, app);
}
