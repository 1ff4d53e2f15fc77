/* SPDX-License-Identifier: MIT
 *
 * IHostMemoryManager::RegisterMemoryNotificationCallback: whose reference is held when, and that
 * the DLL stays for good once a CLR has registered, because the CLR calls it until the process
 * ends.
 */
#include "contract/contract.h"

#include <wchar.h>

/* ---- a callback that counts ---- */

struct callback {
    ICLRMemoryNotificationCallback ICLRMemoryNotificationCallback_iface;
    LONG refs;
    LONG added;
    LONG notified;
    IHostMemoryManager *reentered; /* called from AddRef and Release, or NULL */
    HRESULT reentered_hr;
};

static struct callback *impl_from_callback(ICLRMemoryNotificationCallback *iface)
{
    return CONTAINING_RECORD(iface, struct callback, ICLRMemoryNotificationCallback_iface);
}

static HRESULT STDMETHODCALLTYPE callback_QueryInterface(ICLRMemoryNotificationCallback *iface,
                                                         REFIID iid, void **object)
{
    (void)iface;
    (void)iid;
    *object = NULL;
    return E_NOINTERFACE; /* nobody needs to ask */
}

static void reenter(struct callback *callback)
{
    void *memory = NULL;
    if (callback->reentered != NULL) {
        callback->reentered_hr = IHostMemoryManager_VirtualAlloc(
            callback->reentered, NULL, 4096, MEM_RESERVE | MEM_COMMIT, PAGE_READWRITE,
            eTaskCritical, &memory);
        if (callback->reentered_hr == S_OK) {
            callback->reentered_hr =
                IHostMemoryManager_VirtualFree(callback->reentered, memory, 0, MEM_RELEASE);
        }
    }
}

static ULONG STDMETHODCALLTYPE callback_AddRef(ICLRMemoryNotificationCallback *iface)
{
    struct callback *callback = impl_from_callback(iface);
    InterlockedIncrement(&callback->added);
    reenter(callback);
    return (ULONG)InterlockedIncrement(&callback->refs);
}

static ULONG STDMETHODCALLTYPE callback_Release(ICLRMemoryNotificationCallback *iface)
{
    struct callback *callback = impl_from_callback(iface);
    reenter(callback);
    return (ULONG)InterlockedDecrement(&callback->refs);
}

static HRESULT STDMETHODCALLTYPE
callback_OnMemoryNotification(ICLRMemoryNotificationCallback *iface, EMemoryAvailable available)
{
    (void)available;
    InterlockedIncrement(&impl_from_callback(iface)->notified);
    return S_OK;
}

static const ICLRMemoryNotificationCallbackVtbl callback_vtbl = {
    .QueryInterface = callback_QueryInterface,
    .AddRef = callback_AddRef,
    .Release = callback_Release,
    .OnMemoryNotification = callback_OnMemoryNotification,
};

static struct callback new_callback(void)
{
    return (struct callback){.ICLRMemoryNotificationCallback_iface.lpVtbl = &callback_vtbl,
                             .refs = 1};
}

static HRESULT put(IHostMemoryManager *manager, struct callback *callback)
{
    return IHostMemoryManager_RegisterMemoryNotificationCallback(
        manager, callback == NULL ? NULL : &callback->ICLRMemoryNotificationCallback_iface);
}

/* ---- references: trap 22 ---- */

static void registering_holds_one_reference(void **state)
{
    struct callback callback = new_callback();
    EXPECT_OK(put(*state, &callback));
    assert_int_equal(callback.refs, 2);
    EXPECT_OK(put(*state, NULL));
    assert_int_equal(callback.refs, 1);
    assert_int_equal(callback.added, 1);
}

static void a_second_registration_replaces_the_first(void **state)
{
    struct callback first = new_callback(), second = new_callback();
    EXPECT_OK(put(*state, &first));
    EXPECT_OK(put(*state, &second));
    assert_int_equal(first.refs, 1);
    assert_int_equal(second.refs, 2);
    EXPECT_OK(put(*state, &first));
    assert_int_equal(first.refs, 2);
    assert_int_equal(second.refs, 1);
    EXPECT_OK(put(*state, NULL));
    assert_int_equal(first.refs, 1);
}

static void registering_the_same_again_holds_one_reference(void **state)
{
    struct callback callback = new_callback();
    for (int i = 0; i < 5; i++) {
        EXPECT_OK(put(*state, &callback));
        assert_int_equal(callback.refs, 2);
    }
    EXPECT_OK(put(*state, NULL));
    assert_int_equal(callback.refs, 1);
}

static void null_clears_and_may_come_at_any_time(void **state)
{
    struct callback callback = new_callback();
    EXPECT_OK(put(*state, NULL));
    EXPECT_OK(put(*state, &callback));
    EXPECT_OK(put(*state, NULL));
    EXPECT_OK(put(*state, NULL));
    assert_int_equal(callback.refs, 1);
    assert_int_equal(statistics_of(*state).Calls.RegisterMemoryNotificationCallback, 4);
}

static void the_manager_s_last_release_lets_go(void **state)
{
    struct callback callback = new_callback();
    IHostMemoryManager *manager = create_manager();
    (void)state;
    EXPECT_OK(put(manager, &callback));
    assert_int_equal(callback.refs, 2);
    assert_int_equal(IHostMemoryManager_Release(manager), 0);
    assert_int_equal(callback.refs, 1);
}

/* The CLR's own callback ignores its references, but it may allocate in any method. */
static void no_lock_is_held_while_the_callback_is_called(void **state)
{
    struct callback callback = new_callback(), other = new_callback();
    callback.reentered = other.reentered = *state;
    callback.reentered_hr = other.reentered_hr = E_FAIL;
    EXPECT_OK(put(*state, &callback));
    assert_int_equal(callback.reentered_hr, S_OK);
    callback.reentered_hr = E_FAIL;
    EXPECT_OK(put(*state, &other));
    assert_int_equal(callback.reentered_hr, S_OK);
    assert_int_equal(other.reentered_hr, S_OK);
    EXPECT_OK(put(*state, NULL));
}

static void memory_methods_do_not_notify(void **state)
{
    IHostMemoryManager *manager = *state;
    struct callback callback = new_callback();
    IHostMalloc *heap = POISON_POINTER;
    void *block = POISON_POINTER;
    EXPECT_OK(put(manager, &callback));
    char *memory = reserve_committed(manager, 64 * GRANULARITY);
    EXPECT_OK(IHostMemoryManager_CreateMalloc(manager, MALLOC_THREADSAFE, &heap));
    EXPECT_OK(IHostMalloc_Alloc(heap, 1000, eTaskCritical, &block));
    EXPECT_CALL(IHostMalloc_Alloc(heap, SIZE_MAX, eTaskCritical, &block), E_OUTOFMEMORY,
                ERROR_NOT_ENOUGH_MEMORY);
    assert_int_equal(IHostMalloc_Release(heap), 0);
    EXPECT_OK(IHostMemoryManager_VirtualFree(manager, memory, 0, MEM_RELEASE));
    assert_int_equal(callback.notified, 0);
    EXPECT_OK(put(manager, NULL));
}

struct race {
    IHostMemoryManager *manager;
    struct callback callbacks[2];
};

static DWORD WINAPI register_in_turn(void *context)
{
    struct race *race = context;
    for (int i = 0; i < 5000; i++) {
        if (put(race->manager, i % 3 == 2 ? NULL : &race->callbacks[i % 3]) != S_OK) {
            return 1;
        }
    }
    return 0;
}

static void many_threads_register_and_no_reference_is_lost(void **state)
{
    struct race race = {.manager = *state, .callbacks = {new_callback(), new_callback()}};
    run_threads(4, register_in_turn, &race);
    EXPECT_OK(put(*state, NULL));
    assert_int_equal(race.callbacks[0].refs, 1);
    assert_int_equal(race.callbacks[1].refs, 1);
    assert_true(race.callbacks[0].added > 0);
}

/* ---- the module: trap 26 ---- */

typedef HRESULT(__cdecl *create_manager_function)(const HOSTMEM_OPTIONS *, IHostMemoryManager **);

/* A copy of the DLL under another name, which nothing else in this process keeps loaded. */
static void copy_of_dll(const WCHAR *name, WCHAR path[MAX_PATH])
{
    WCHAR original[MAX_PATH], folder[MAX_PATH];
    dll_path(original, MAX_PATH);
    assert_in_range(GetTempPathW(MAX_PATH, folder), 1, MAX_PATH - 1);
    swprintf(path, MAX_PATH, L"%lshostmem-test-%ls", folder, name);
    assert_true(CopyFileW(original, path, FALSE));
}

static IHostMemoryManager *manager_of(HMODULE module)
{
    IHostMemoryManager *manager = POISON_POINTER;
    create_manager_function create =
        (create_manager_function)(void (*)(void))GetProcAddress(module, "HostMemCreateManager");
    assert_non_null(create);
    EXPECT_OK(create(NULL, &manager));
    return manager;
}

static void the_dll_can_be_unloaded_when_nobody_registered(void **state)
{
    WCHAR path[MAX_PATH];
    (void)state;
    copy_of_dll(L"unloads.dll", path);
    HMODULE module = LoadLibraryW(path);
    assert_non_null(module);
    IHostMemoryManager *manager = manager_of(module);
    EXPECT_OK(put(manager, NULL)); /* clears, pins nothing */
    assert_int_equal(IHostMemoryManager_Release(manager), 0);
    assert_true(FreeLibrary(module));
    assert_null(GetModuleHandleW(path));
    assert_true(DeleteFileW(path));
}

static void registering_keeps_the_dll_loaded_for_ever(void **state)
{
    WCHAR path[MAX_PATH];
    struct callback callback = new_callback();
    (void)state;
    copy_of_dll(L"stays.dll", path);
    HMODULE module = LoadLibraryW(path);
    assert_non_null(module);
    IHostMemoryManager *manager = manager_of(module);
    EXPECT_OK(put(manager, &callback));
    for (int i = 0; i < 10; i++) {
        FreeLibrary(module);
        assert_ptr_equal(GetModuleHandleW(path), module);
    }
    char *memory = reserve_committed(manager, PAGE); /* its code is still there */
    EXPECT_OK(IHostMemoryManager_VirtualFree(manager, memory, 0, MEM_RELEASE));
    assert_int_equal(IHostMemoryManager_Release(manager), 0);
    assert_int_equal(callback.refs, 1);
    assert_ptr_equal(GetModuleHandleW(path), module);
    /* The file is in use until the process ends; the next run writes over it. */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        manager_test(registering_holds_one_reference),
        manager_test(a_second_registration_replaces_the_first),
        manager_test(registering_the_same_again_holds_one_reference),
        manager_test(null_clears_and_may_come_at_any_time),
        cmocka_unit_test(the_manager_s_last_release_lets_go),
        manager_test(no_lock_is_held_while_the_callback_is_called),
        manager_test(memory_methods_do_not_notify),
        manager_test(many_threads_register_and_no_reference_is_lost),
        cmocka_unit_test(the_dll_can_be_unloaded_when_nobody_registered),
        cmocka_unit_test(registering_keeps_the_dll_loaded_for_ever),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
