/* SPDX-License-Identifier: MIT
 *
 * Registration for CoCreateInstance, per machine (regsvr32 hostmem.dll) or per user (regsvr32 /n
 * /i:user hostmem.dll). One key, and it is removed with all below it:
 *
 *     Software\Classes\CLSID\{…}                  "hostmem memory manager"
 *     Software\Classes\CLSID\{…}\InprocServer32   path of this DLL, ThreadingModel = Both
 */
#include "com/com_private.h"
#include "os/last_error.h"

#include <olectl.h>
#include <wchar.h>

STDAPI DllInstall(BOOL install, const WCHAR *command_line); /* no header declares it */

#define CLASS_KEY_CHARS 96

static void class_key(WCHAR key[CLASS_KEY_CHARS])
{
    WCHAR guid[40];
    StringFromGUID2(&CLSID_HostMemoryManager, guid, ARRAYSIZE(guid));
    wcscpy(key, L"Software\\Classes\\CLSID\\");
    wcscat(key, guid);
}

/* Set a string value, the default one for a NULL name, in root\key. */
static LSTATUS set_string(HKEY root, const WCHAR *key, const WCHAR *name, const WCHAR *value)
{
    DWORD bytes = (DWORD)((wcslen(value) + 1) * sizeof(*value));
    return RegSetKeyValueW(root, key, name, REG_SZ, value, bytes);
}

/* The full path of this module, into a buffer for the longest there can be. */
static LSTATUS module_path(WCHAR *path, DWORD chars)
{
    HMODULE module;
    if (!GetModuleHandleExW(GET_MODULE_HANDLE_EX_FLAG_FROM_ADDRESS |
                                GET_MODULE_HANDLE_EX_FLAG_UNCHANGED_REFCOUNT,
                            (const WCHAR *)(const void *)&CLSID_HostMemoryManager, &module)) {
        return (LSTATUS)last_error_of_failure();
    }
    DWORD length = GetModuleFileNameW(module, path, chars);
    if (length == 0) {
        return (LSTATUS)last_error_of_failure();
    }
    return length < chars ? ERROR_SUCCESS : ERROR_INSUFFICIENT_BUFFER;
}

static LSTATUS unregister_class(HKEY root)
{
    WCHAR key[CLASS_KEY_CHARS];
    class_key(key);
    LSTATUS status = RegDeleteTreeW(root, key);
    return status == ERROR_FILE_NOT_FOUND ? ERROR_SUCCESS : status;
}

static LSTATUS register_class(HKEY root)
{
    static WCHAR path[32768]; /* registration is not called by two threads at once */
    WCHAR key[CLASS_KEY_CHARS];
    class_key(key);
    LSTATUS status = module_path(path, ARRAYSIZE(path));
    if (status == ERROR_SUCCESS) {
        status = set_string(root, key, NULL, L"hostmem memory manager");
    }
    wcscat(key, L"\\InprocServer32");
    if (status == ERROR_SUCCESS) {
        status = set_string(root, key, NULL, path);
    }
    if (status == ERROR_SUCCESS) {
        status = set_string(root, key, L"ThreadingModel", L"Both");
    }
    if (status != ERROR_SUCCESS) {
        unregister_class(root); /* nothing half registered */
    }
    return status;
}

STDAPI DllRegisterServer(void)
{
    return HRESULT_FROM_WIN32((DWORD)register_class(HKEY_LOCAL_MACHINE));
}

STDAPI DllUnregisterServer(void)
{
    return HRESULT_FROM_WIN32((DWORD)unregister_class(HKEY_LOCAL_MACHINE));
}

/* L"user" as the command line means the current user, none means the machine. */
STDAPI DllInstall(BOOL install, const WCHAR *command_line)
{
    HKEY root = HKEY_LOCAL_MACHINE;
    if (command_line != NULL && command_line[0] != L'\0') {
        if (_wcsicmp(command_line, L"user") != 0) {
            return E_INVALIDARG;
        }
        root = HKEY_CURRENT_USER;
    }
    LSTATUS status = install ? register_class(root) : unregister_class(root);
    return HRESULT_FROM_WIN32((DWORD)status);
}
