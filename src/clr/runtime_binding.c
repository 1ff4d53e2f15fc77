/* SPDX-License-Identifier: MIT
 *
 * HostMemBindRuntime: what ICLRRuntimeHost::SetHostControl does for a .NET Framework CLR, done from
 * outside for a runtime that has no such method any more. .NET Core still calls KERNEL32's memory
 * functions, through import slots that can be redirected while the module is loaded and not yet
 * started.
 *
 * The order of the steps makes a failure leave no trace in the module: everything that can fail
 * comes before the first slot is written. Success is for ever: at no moment can a runtime be told
 * to forget the memory it was given.
 *
 * The binding knows the manager by its interface only, so any implementation can be bound: one that
 * records, one that passes everything on.
 */
#include <hostmem/hostmem.h>

#include "bound_functions.h"
#include "import_table.h"
#include "memory_notification.h"
#include "runtime_start.h"

/* 1 from the moment a binding is tried; back to 0 only if it fails. */
static LONG taken;

static BOOL is_runtime(HMODULE module)
{
    return import_table_is_module(module) && (GetProcAddress(module, "coreclr_initialize") ||
                                              GetProcAddress(module, "DotNetRuntimeInfo"));
}

/* The CLR never unloads what it was given, and the slots lead into this module: stay loaded. */
static HRESULT pin_this_module(void)
{
    HMODULE ignored;
    if (!GetModuleHandleExW(GET_MODULE_HANDLE_EX_FLAG_FROM_ADDRESS | GET_MODULE_HANDLE_EX_FLAG_PIN,
                            (const WCHAR *)&taken, &ignored)) {
        return HRESULT_FROM_WIN32(GetLastError());
    }
    return S_OK;
}

/* The first answer that the CLR's rules count as a failure, as one that callers see as one too. */
static HRESULT failure(HRESULT hr)
{
    return FAILED(hr) ? hr : E_FAIL;
}

/* The heap is used only if it can tell the size of a block: HeapReAlloc cannot do without. */
static HRESULT create_heap(IHostMemoryManager *manager, struct bound_targets *targets)
{
    HRESULT hr = IHostMemoryManager_CreateMalloc(manager, MALLOC_THREADSAFE, &targets->heap);
    if (hr != S_OK || !targets->heap) {
        targets->heap = NULL;
        return failure(hr);
    }
    void *blocks = NULL;
    if (IHostMalloc_QueryInterface(targets->heap, &IID_IHostMallocBlocks, &blocks) != S_OK) {
        IHostMalloc_Release(targets->heap);
        targets->heap = NULL;
    }
    targets->blocks = blocks;
    return S_OK;
}

/* Optional: a manager without the interface has no limits that the runtime should know of. */
static void find_policy(IHostMemoryManager *manager, struct bound_targets *targets)
{
    void *policy = NULL;
    if (IHostMemoryManager_QueryInterface(manager, &IID_IHostMemoryPolicy, &policy) == S_OK) {
        targets->policy = policy;
    }
}

/* As the CLR does, take a refusal for an answer; the runtime then keeps the system's notifications.
 */
static HRESULT register_callback(struct bound_targets *targets)
{
    HRESULT hr = memory_notification_prepare();
    if (hr == S_OK) {
        targets->notifications = IHostMemoryManager_RegisterMemoryNotificationCallback(
                                     targets->manager, memory_notification_callback()) == S_OK;
    }
    return hr;
}

static void give_back(struct bound_targets *targets)
{
    if (targets->notifications) {
        IHostMemoryManager_RegisterMemoryNotificationCallback(targets->manager, NULL);
    }
    if (targets->heap) {
        IHostMallocBlocks_Release(targets->blocks);
        IHostMalloc_Release(targets->heap);
    }
    if (targets->policy) {
        IHostMemoryPolicy_Release(targets->policy);
    }
}

static HRESULT redirect_imports(HMODULE runtime, const struct bound_targets *targets)
{
    HRESULT hr = bound_functions_set_targets(targets);
    if (hr != S_OK) {
        return hr;
    }
    struct import_slots slots;
    struct bound_choice choice = {FALSE};
    hr = import_table_collect(runtime, bound_functions_choose, &choice, &slots);
    if (hr == S_OK && !choice.virtual_alloc_found) {
        hr = HRESULT_FROM_WIN32(ERROR_BAD_EXE_FORMAT);
    }
    if (hr == S_OK) {
        hr = pin_this_module();
    }
    if (hr == S_OK) {
        hr = import_table_redirect(targets->manager, &slots);
    }
    return hr;
}

static HRESULT bind(IHostMemoryManager *manager, HMODULE runtime)
{
    if (!is_runtime(runtime)) {
        return HRESULT_FROM_WIN32(ERROR_BAD_EXE_FORMAT);
    }
    if (runtime_start_has_begun(runtime)) {
        return HRESULT_FROM_WIN32(ERROR_SERVICE_ALREADY_RUNNING);
    }
    struct bound_targets targets = {.manager = manager};
    find_policy(manager, &targets);
    runtime_start_watch(runtime, targets.policy);
    HRESULT hr = create_heap(manager, &targets);
    if (hr == S_OK) {
        hr = register_callback(&targets);
    }
    if (hr == S_OK) {
        hr = redirect_imports(runtime, &targets);
    }
    if (hr != S_OK) {
        runtime_start_forget();
        give_back(&targets);
        return hr;
    }
    IHostMemoryManager_AddRef(manager);
    return S_OK;
}

HRESULT __cdecl HostMemBindRuntime(IHostMemoryManager *manager, HMODULE runtime)
{
    if (!manager || !runtime) {
        return E_POINTER;
    }
    if (InterlockedExchange(&taken, 1)) {
        return HRESULT_FROM_WIN32(ERROR_ALREADY_INITIALIZED);
    }
    HRESULT hr = bind(manager, runtime);
    if (hr != S_OK) {
        InterlockedExchange(&taken, 0);
    }
    return hr;
}
