/* SPDX-License-Identifier: MIT
 *
 * LoadLibraryW can be the function of a thread: it has one argument, and kernel32.dll lies at the
 * same address in every process. The agent is loaded second: it imports hostmem.dll, and the loader
 * takes the one that is loaded already, wherever the program lies.
 */
#include "inject.h"
#include "agent_block.h"
#include "text.h"

#include <psapi.h>
#include <stdint.h>
#include <wchar.h>

/* Runs `function` in a thread of the process, to its end. */
static DWORD call(HANDLE process, LPTHREAD_START_ROUTINE function, void *argument, DWORD *result)
{
    HANDLE thread = CreateRemoteThread(process, NULL, 0, function, argument, 0, NULL);
    if (!thread) {
        return GetLastError();
    }
    HANDLE ends[] = {thread, process};
    DWORD error = WaitForMultipleObjects(2, ends, FALSE, INFINITE) == WAIT_OBJECT_0
                      ? ERROR_SUCCESS
                      : ERROR_PROCESS_ABORTED;
    GetExitCodeThread(thread, result);
    CloseHandle(thread);
    return error;
}

static DWORD load(HANDLE process, const WCHAR *path)
{
    LPTHREAD_START_ROUTINE load_library = (LPTHREAD_START_ROUTINE)(void (*)(void))GetProcAddress(
        GetModuleHandleW(L"kernel32.dll"), "LoadLibraryW");
    SIZE_T size = (wcslen(path) + 1) * sizeof(WCHAR);
    void *copy = VirtualAllocEx(process, NULL, size, MEM_RESERVE | MEM_COMMIT, PAGE_READWRITE);
    if (!copy || !WriteProcessMemory(process, copy, path, size, NULL)) {
        return GetLastError();
    }
    DWORD module = 0; /* the lower half of its base */
    DWORD error = call(process, load_library, copy, &module);
    VirtualFreeEx(process, copy, 0, MEM_RELEASE);
    return error == ERROR_SUCCESS && module == 0 ? ERROR_MOD_NOT_FOUND : error;
}

static BYTE *find_module(HANDLE process, const WCHAR *name)
{
    HMODULE modules[256];
    DWORD size = 0;
    if (!K32EnumProcessModules(process, modules, sizeof(modules), &size)) {
        return NULL;
    }
    for (DWORD i = 0; i < size / sizeof(*modules) && i < sizeof(modules) / sizeof(*modules); i++) {
        WCHAR found[MAX_PATH];
        if (K32GetModuleBaseNameW(process, modules[i], found, MAX_PATH) &&
            _wcsicmp(found, name) == 0) {
            return (BYTE *)modules[i];
        }
    }
    return NULL;
}

/* Where in the agent its start function is: looked up in an image that nothing of is run. */
static SIZE_T start_offset(const WCHAR *path)
{
    HMODULE image = LoadLibraryExW(path, NULL, DONT_RESOLVE_DLL_REFERENCES);
    SIZE_T offset = 0;
    if (image) {
        offset = (SIZE_T)((BYTE *)(uintptr_t)GetProcAddress(image, AGENT_START) - (BYTE *)image);
        FreeLibrary(image);
    }
    return offset;
}

DWORD inject_agent(HANDLE process, HANDLE mapping)
{
    static WCHAR self[MAX_PATH]; /* hostmem-run or the agent: all lie in one folder */
    HMODULE module = NULL;
    GetModuleHandleExW(GET_MODULE_HANDLE_EX_FLAG_FROM_ADDRESS |
                           GET_MODULE_HANDLE_EX_FLAG_UNCHANGED_REFCOUNT,
                       (const WCHAR *)self, &module);
    GetModuleFileNameW(module, self, MAX_PATH);
    const WCHAR *library = text_format(L"%ls\\hostmem.dll", path_folder(self));
    const WCHAR *agent = text_format(L"%ls\\" AGENT_DLL, path_folder(self));
    HANDLE its_mapping;
    SIZE_T offset = start_offset(agent);
    if (!offset) {
        return ERROR_MOD_NOT_FOUND;
    }
    DWORD error = load(process, library);
    if (error == ERROR_SUCCESS) {
        error = load(process, agent);
    }
    if (error != ERROR_SUCCESS) {
        return error;
    }
    BYTE *base = find_module(process, AGENT_DLL);
    if (!base) {
        return ERROR_MOD_NOT_FOUND;
    }
    if (!DuplicateHandle(GetCurrentProcess(), mapping, process, &its_mapping, 0, FALSE,
                         DUPLICATE_SAME_ACCESS)) {
        return GetLastError();
    }
    DWORD result = ERROR_SUCCESS;
    error = call(process, (LPTHREAD_START_ROUTINE)(uintptr_t)(base + offset), its_mapping, &result);
    return error == ERROR_SUCCESS ? result : error;
}
