/* SPDX-License-Identifier: MIT */
#include "load_watch.h"

#include <winternl.h>

/* As ntdll has them; no header declares them. */
struct dll_notification {
    ULONG flags;
    const UNICODE_STRING *full_name;
    const UNICODE_STRING *base_name;
    void *base;
    ULONG size;
};
typedef void CALLBACK dll_notification_fn(ULONG reason, const struct dll_notification *data,
                                          void *context);
typedef NTSTATUS NTAPI register_fn(ULONG flags, dll_notification_fn *function, void *context,
                                   void **cookie);
typedef NTSTATUS NTAPI unregister_fn(void *cookie);

#define REASON_LOADED 1

static WCHAR watched_name[LOAD_WATCH_NAME];
static load_watcher *the_watcher;
static void *cookie;

static void CALLBACK on_notification(ULONG reason, const struct dll_notification *data,
                                     void *context)
{
    (void)context;
    size_t length = data->base_name->Length / sizeof(WCHAR);
    if (reason == REASON_LOADED && CompareStringOrdinal(data->base_name->Buffer, (int)length,
                                                        watched_name, -1, TRUE) == CSTR_EQUAL) {
        the_watcher((HMODULE)data->base);
    }
}

static void (*ntdll_function(const char *name))(void)
{
    return (void (*)(void))GetProcAddress(GetModuleHandleW(L"ntdll.dll"), name);
}

HRESULT load_watch_begin(const WCHAR *name, load_watcher *watcher)
{
    register_fn *register_notification =
        (register_fn *)ntdll_function("LdrRegisterDllNotification");
    if (!register_notification) {
        return HRESULT_FROM_WIN32(ERROR_PROC_NOT_FOUND);
    }
    lstrcpynW(watched_name, name, LOAD_WATCH_NAME);
    the_watcher = watcher;
    /* Nothing but memory can be missing. */
    return register_notification(0, on_notification, NULL, &cookie) < 0 ? E_OUTOFMEMORY : S_OK;
}

void load_watch_end(void)
{
    unregister_fn *unregister = (unregister_fn *)ntdll_function("LdrUnregisterDllNotification");
    unregister(cookie);
}
