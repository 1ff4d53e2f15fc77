/* SPDX-License-Identifier: MIT
 *
 * HostMemBindRuntime and HostMemBindRuntimeOnLoad: what ICLRRuntimeHost::SetHostControl does for a
 * .NET Framework CLR, done from outside for a runtime that has no such method any more. .NET Core
 * still calls KERNEL32's memory functions, through import slots that can be redirected while the
 * module is loaded and not yet started.
 *
 * The order of the steps makes a failure leave no trace in the module: everything that can fail
 * comes before the first slot is written. What needs no module is prepared first; of a binding on
 * load only the rest is done under the loader's lock. Success is for ever: at no moment can a
 * runtime be told to forget the memory it was given.
 *
 * The binding knows the manager by its interface only, so any implementation can be bound: one that
 * records, one that passes everything on.
 */
#include <hostmem/hostmem.h>

#include "bound_functions.h"
#include "core/versioned.h"
#include "import_table.h"
#include "load_watch.h"
#include "memory_functions.h"
#include "memory_notification.h"
#include "os/last_error.h"
#include "runtime_start.h"

#include <stdatomic.h>
#include <string.h>
#include <wchar.h>

#define NO_BINDING HRESULT_FROM_WIN32(ERROR_NOT_FOUND)
#define ALREADY_BOUND HRESULT_FROM_WIN32(ERROR_ALREADY_INITIALIZED)

/* The one binding of the process. Who moves `state` to TRYING owns everything below. */
enum state {
    NONE,
    TRYING,
    WAITING, /* for the load */
    MISSED, /* it was loaded and could not be bound; the watch is still to be ended, and the targets to
                be given back, which must not be done under the loader's lock */
    BOUND
};
static LONG state = NONE;
static _Atomic(HRESULT) result = NO_BINDING;
static _Atomic(HMODULE) bound_runtime;
static struct bound_targets targets_of_binding;

static BOOL change_state(enum state from, enum state to)
{
    return InterlockedCompareExchange(&state, to, from) == (LONG)from;
}

static BOOL is_runtime(HMODULE module)
{
    return import_table_is_module(module) && (GetProcAddress(module, "coreclr_initialize") ||
                                              GetProcAddress(module, "g_CLREngineMetrics"));
}

/* The module that `address` is in stays loaded, for ever. */
static HRESULT pin(const void *address)
{
    HMODULE ignored;
    if (!GetModuleHandleExW(GET_MODULE_HANDLE_EX_FLAG_FROM_ADDRESS | GET_MODULE_HANDLE_EX_FLAG_PIN,
                            address, &ignored)) {
        return HRESULT_FROM_WIN32(last_error_of_failure());
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

static void *interface_or_null(IHostMemoryManager *manager, REFIID iid)
{
    void *object = NULL;
    return IHostMemoryManager_QueryInterface(manager, iid, &object) == S_OK ? object : NULL;
}

static void find_optional_interfaces(IHostMemoryManager *manager, struct bound_targets *targets)
{
    targets->limits = interface_or_null(manager, &IID_IHostMemoryLimits);
    targets->charge = interface_or_null(manager, &IID_IHostMemoryCharge);
    targets->lifetime = interface_or_null(manager, &IID_IHostRuntimeLifetime);
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

static void release_optional(IUnknown *object)
{
    if (object) {
        IUnknown_Release(object);
    }
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
    release_optional((IUnknown *)targets->limits);
    release_optional((IUnknown *)targets->charge);
    release_optional((IUnknown *)targets->lifetime);
    IHostMemoryManager_Release(targets->manager);
}

/* Everything that needs no module. Nothing is left of a failure, but that this module stays loaded: the
 * manager has a pointer into it from the callback's registration on, the runtime from the first slot on,
 * and neither is known to ever let go. */
static HRESULT prepare(IHostMemoryManager *manager, const HOSTMEM_BIND_OPTIONS *options,
                       struct bound_targets *targets)
{
    *targets = (struct bound_targets){
        .manager = manager,
        .crt_heap = (options->Flags & HOSTMEM_BIND_CRT_HEAP) != 0,
        .options = *options,
    };
    IHostMemoryManager_AddRef(manager);
    find_optional_interfaces(manager, targets);
    HRESULT hr = pin(&state);
    if (hr == S_OK) {
        hr = create_heap(manager, targets);
    }
    if (hr == S_OK) {
        hr = register_callback(targets);
    }
    if (hr != S_OK) {
        give_back(targets);
    }
    return hr;
}

static HRESULT redirect_imports(HMODULE runtime, const struct bound_targets *targets)
{
    HRESULT hr = bound_functions_set_targets(targets);
    if (hr != S_OK) {
        return hr;
    }
    struct import_slots slots;
    struct bound_choice choice = {FALSE, FALSE};
    hr = import_table_collect(runtime, bound_functions_choose, &choice, &slots);
    if (hr == S_OK && choice.crt_incomplete) {
        memory_functions_forget();
        bound_functions_leave_crt_heap();
        hr = import_table_collect(runtime, bound_functions_choose, &choice, &slots);
    }
    if (hr == S_OK && !choice.virtual_alloc_found) {
        hr = HRESULT_FROM_WIN32(ERROR_BAD_EXE_FORMAT);
    }
    if (hr == S_OK) {
        hr = import_table_redirect(targets->manager, &slots);
    }
    return hr;
}

static HRESULT check_runtime(HMODULE runtime)
{
    if (!is_runtime(runtime)) {
        return HRESULT_FROM_WIN32(ERROR_BAD_EXE_FORMAT);
    }
    return runtime_start_has_begun(runtime) ? HRESULT_FROM_WIN32(ERROR_SERVICE_ALREADY_RUNNING)
                                            : S_OK;
}

/* Bind the module to the prepared targets, which are the caller's to give back if that fails.
 * `initialized`: its entry point has run. */
static HRESULT bind_prepared(HMODULE runtime, BOOL initialized)
{
    struct bound_targets *targets = &targets_of_binding;
    HRESULT hr = check_runtime(runtime);
    if (hr == S_OK) {
        runtime_start_watch(runtime, initialized, targets->lifetime, &targets->options);
        hr = redirect_imports(runtime, targets);
    }
    if (hr == S_OK) {
        bound_runtime = runtime;
        return S_OK;
    }
    runtime_start_forget();
    memory_functions_forget();
    return hr;
}

static HRESULT bind_now(IHostMemoryManager *manager, HMODULE runtime,
                        const HOSTMEM_BIND_OPTIONS *options)
{
    HRESULT hr = check_runtime(runtime);
    if (hr == S_OK) {
        hr = prepare(manager, options, &targets_of_binding);
    }
    if (hr != S_OK) {
        return hr;
    }
    /* A runtime that is loaded again is another one, and not bound. */
    hr = pin(runtime);
    if (hr == S_OK) {
        /* The main module's entry point is the program. */
        hr = bind_prepared(runtime, runtime != GetModuleHandleW(NULL));
    }
    if (hr != S_OK) {
        give_back(&targets_of_binding);
    }
    return hr;
}

static void end_missed(void)
{
    load_watch_end();
    give_back(&targets_of_binding);
}

/* FALSE: a runtime is bound or waited for. */
static BOOL begin(void)
{
    if (change_state(MISSED, TRYING)) {
        end_missed();
        return TRUE;
    }
    return change_state(NONE, TRYING);
}

static HRESULT end(HRESULT hr)
{
    result = hr;
    change_state(TRYING, hr == S_OK ? BOUND : NONE);
    return hr;
}

/* What is asked for. */
static BOOL read_options(const HOSTMEM_BIND_OPTIONS *given, HOSTMEM_BIND_OPTIONS *options)
{
    *options = (HOSTMEM_BIND_OPTIONS){.Size = sizeof(*options)};
    if (!given) {
        return TRUE;
    }
    return versioned_read(options, sizeof(*options), given) &&
           !(options->Flags & ~(UINT32)HOSTMEM_BIND_CRT_HEAP);
}

HRESULT __cdecl HostMemBindRuntime(IHostMemoryManager *manager, HMODULE runtime,
                                   const HOSTMEM_BIND_OPTIONS *given)
{
    HOSTMEM_BIND_OPTIONS options;
    if (!manager || !runtime) {
        return E_POINTER;
    }
    if (!read_options(given, &options)) {
        return E_INVALIDARG;
    }
    return begin() ? end(bind_now(manager, runtime, &options)) : ALREADY_BOUND;
}

/* ---- On load ---- */

/* The watcher. */
static void bind_loaded(HMODULE runtime)
{
    if (change_state(WAITING, TRYING)) { /* or withdrawn, or a second one of that name */
        HRESULT hr = bind_prepared(runtime, FALSE);
        result = hr;
        change_state(TRYING, hr == S_OK ? BOUND : MISSED);
    }
}

static HRESULT wait_for(IHostMemoryManager *manager, const WCHAR *module,
                        const HOSTMEM_BIND_OPTIONS *options)
{
    HRESULT hr = prepare(manager, options, &targets_of_binding);
    if (hr != S_OK) {
        return end(hr);
    }
    hr = load_watch_begin(module, bind_loaded);
    if (hr != S_OK) {
        give_back(&targets_of_binding);
        return end(hr);
    }
    /* From here on it can be withdrawn. */
    result = S_FALSE;
    change_state(TRYING, WAITING);
    /* Loaded since the first look, when nobody waited; perhaps its entry point is still to run. */
    HMODULE loaded = GetModuleHandleW(module);
    if (loaded && change_state(WAITING, TRYING)) {
        load_watch_end();
        hr = bind_prepared(loaded, FALSE);
        if (hr != S_OK) {
            give_back(&targets_of_binding);
        }
        return end(hr);
    }
    return S_OK;
}

HRESULT __cdecl HostMemBindRuntimeOnLoad(IHostMemoryManager *manager, const WCHAR *module,
                                         const HOSTMEM_BIND_OPTIONS *given)
{
    HOSTMEM_BIND_OPTIONS options;
    if (!manager) {
        return E_POINTER;
    }
    module = module ? module : L"coreclr.dll";
    WCHAR name[LOAD_WATCH_NAME];
    if (!*module || lstrlenW(module) >= LOAD_WATCH_NAME - 4 || wcspbrk(module, L"\\/:") ||
        !read_options(given, &options)) {
        return E_INVALIDARG;
    }
    lstrcpyW(name, module);
    if (!wcschr(name, L'.')) { /* as for LoadLibrary */
        lstrcatW(name, L".dll");
    }
    if (!begin()) {
        return ALREADY_BOUND;
    }
    HMODULE loaded = GetModuleHandleW(name);
    return loaded ? end(bind_now(manager, loaded, &options)) : wait_for(manager, name, &options);
}

HRESULT __cdecl HostMemCancelBindRuntimeOnLoad(void)
{
    for (;; Sleep(0)) {
        if (change_state(WAITING, TRYING)) {
            load_watch_end();
            give_back(&targets_of_binding);
            end(NO_BINDING);
            return S_OK;
        }
        if (change_state(MISSED, TRYING)) {
            end_missed();
            change_state(TRYING, NONE);
            return S_FALSE;
        }
        LONG now = InterlockedOr(&state, 0);
        if (now == NONE || now == BOUND) {
            return now == BOUND ? ALREADY_BOUND : S_FALSE;
        }
        /* Another thread is at it, perhaps the one that loads the runtime: it will be bound, or not. */
    }
}

/* ---- What has come of it ---- */

HRESULT __cdecl HostMemGetBinding(HOSTMEM_BINDING *binding)
{
    if (!binding) {
        return E_POINTER;
    }
    HOSTMEM_BINDING now = {.Result = result, .Runtime = bound_runtime};
    memory_functions_count(&now);
    bound_views_count(&now);
    return versioned_write(binding, sizeof(now), &now) ? S_OK : E_INVALIDARG;
}

HRESULT __cdecl HostMemGetFunctions(UINT32 first, UINT32 capacity, HOSTMEM_FUNCTION *functions,
                                    UINT32 *count)
{
    if (!count) {
        return E_POINTER;
    }
    *count = 0;
    if (!functions) {
        return E_POINTER;
    }
    *count = memory_functions_get(first, capacity, functions);
    return S_OK;
}
