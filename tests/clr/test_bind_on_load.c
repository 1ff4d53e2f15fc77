/* SPDX-License-Identifier: MIT
 *
 * HostMemBindRuntimeOnLoad with a real coreclr.dll that is loaded after the call.
 *
 * test_bind_on_load <framework folder> <program> <test>
 */
#include "clr/coreclr.h"
#include "clr/imports.h"
#include "clr/recording_manager.h"
#include "contract/contract.h"

#include <string.h>

static HOSTMEM_BINDING binding(void)
{
    HOSTMEM_BINDING result;
    memset(&result, 0xa5, sizeof(result));
    result.Size = sizeof(result);
    assert_int_equal(HostMemGetBinding(&result), S_OK);
    return result;
}

static BOOL leads_to_hostmem(HMODULE runtime, const char *name)
{
    static struct imports imports;
    HMODULE owner = NULL, hostmem = NULL;
    imports_read(runtime, &imports);
    void *function = imports_find(&imports, name);
    assert_non_null(function);
    GetModuleHandleExW(GET_MODULE_HANDLE_EX_FLAG_FROM_ADDRESS |
                           GET_MODULE_HANDLE_EX_FLAG_UNCHANGED_REFCOUNT,
                       function, &owner);
    hostmem = GetModuleHandleW(L"hostmem.dll");
    return owner == (hostmem ? hostmem : GetModuleHandleW(NULL));
}

static void bad_arguments_are_refused(void **state)
{
    IHostMemoryManager *manager = create_manager();
    HOSTMEM_BINDING wrong = {.Size = 1};
    HOSTMEM_FUNCTION function;
    UINT32 count = 7;
    (void)state;
    EXPECT_HR(HostMemBindRuntimeOnLoad(NULL, NULL, NULL), E_POINTER);
    EXPECT_HR(HostMemBindRuntimeOnLoad(manager, L"", NULL), E_INVALIDARG);
    EXPECT_HR(HostMemBindRuntimeOnLoad(manager, L"folder\\coreclr.dll", NULL), E_INVALIDARG);
    EXPECT_HR(
        HostMemBindRuntimeOnLoad(
            manager, L"0123456789012345678901234567890123456789012345678901234567890.dll", NULL),
        E_INVALIDARG);
    EXPECT_HR(HostMemGetBinding(NULL), E_POINTER);
    EXPECT_HR(HostMemGetBinding(&wrong), E_INVALIDARG);
    EXPECT_HR(HostMemGetFunctions(0, 1, &function, NULL), E_POINTER);
    EXPECT_HR(HostMemGetFunctions(0, 1, NULL, &count), E_POINTER);
    assert_int_equal(count, 0);
    EXPECT_HR(HostMemCancelBindRuntimeOnLoad(), S_FALSE);
    EXPECT_HR(binding().Result, hr_of_win32(ERROR_NOT_FOUND));
    assert_int_equal(IHostMemoryManager_Release(manager), 0);
}

static void a_runtime_is_bound_before_it_runs(void **state)
{
    IHostMemoryManager *manager = create_manager();
    HOSTMEM_FUNCTION functions[128];
    UINT32 count = 0;
    (void)state;
    EXPECT_HR(HostMemBindRuntimeOnLoad(manager, NULL, NULL), S_OK);
    EXPECT_HR(binding().Result, S_FALSE);
    assert_null(binding().Runtime);
    EXPECT_HR(HostMemBindRuntimeOnLoad(manager, NULL, NULL),
              hr_of_win32(ERROR_ALREADY_INITIALIZED));

    HMODULE runtime = coreclr_load();
    EXPECT_HR(binding().Result, S_OK);
    assert_ptr_equal(binding().Runtime, runtime);
    assert_true(leads_to_hostmem(runtime, "VirtualAlloc"));
    assert_true(leads_to_hostmem(runtime, "HeapAlloc"));
    EXPECT_HR(HostMemCancelBindRuntimeOnLoad(), hr_of_win32(ERROR_ALREADY_INITIALIZED));

    assert_int_equal(coreclr_start(), S_OK);
    assert_int_equal(coreclr_run_program(), 3);
    assert_true(statistics_of(manager).Calls.VirtualAlloc > 50);
    EXPECT_HR(HostMemGetFunctions(0, 128, functions, &count), S_OK);
    assert_int_equal(count, binding().BoundFunctions + binding().PassedOnFunctions);
    assert_int_equal(binding().UnknownFunctions, 0);
    for (UINT32 i = 0; i < count; i++) {
        if (strcmp(functions[i].Name, "VirtualAlloc") == 0 &&
            functions[i].Kind == HOSTMEM_FUNCTION_IMPORT) {
            assert_int_equal(functions[i].State, HOSTMEM_FUNCTION_BOUND);
        }
    }
}

static void what_is_withdrawn_does_not_happen(void **state)
{
    IHostMemoryManager *manager = create_manager();
    (void)state;
    EXPECT_HR(HostMemBindRuntimeOnLoad(manager, NULL, NULL), S_OK);
    EXPECT_HR(HostMemCancelBindRuntimeOnLoad(), S_OK);
    EXPECT_HR(HostMemCancelBindRuntimeOnLoad(), S_FALSE);
    HMODULE runtime = coreclr_load();
    assert_false(leads_to_hostmem(runtime, "VirtualAlloc"));
    EXPECT_HR(binding().Result, hr_of_win32(ERROR_NOT_FOUND));
    assert_int_equal(IHostMemoryManager_Release(manager), 0); /* nobody else has it */
}

/* What the manager of a binding that came to nothing has said is not said of the next one. */
static void low_memory_ends_with_the_binding_that_heard_of_it(void **state)
{
    static struct imports imports;
    (void)state;
    IHostMemoryManager *first = recording_manager();
    EXPECT_HR(HostMemBindRuntimeOnLoad(first, NULL, NULL), S_OK);
    EXPECT_HR(ICLRMemoryNotificationCallback_OnMemoryNotification(recording.callback,
                                                                  eMemoryAvailableLow),
              S_OK);
    EXPECT_HR(HostMemCancelBindRuntimeOnLoad(), S_OK);
    EXPECT_HR(HostMemBindRuntimeOnLoad(create_manager(), NULL, NULL), S_OK);
    imports_read(coreclr_load(), &imports);
    __typeof__(&CreateMemoryResourceNotification) create =
        (__typeof__(create))(UINT_PTR)imports_find(&imports, "CreateMemoryResourceNotification");
    HANDLE low = create(LowMemoryResourceNotification);
    assert_non_null(low);
    assert_int_equal(WaitForSingleObject(low, 0), WAIT_TIMEOUT);
    assert_true(CloseHandle(low));
}

static volatile LONG withdrawn, enough;

static DWORD WINAPI withdraw_until_enough(void *unused)
{
    (void)unused;
    while (!enough) {
        withdrawn += HostMemCancelBindRuntimeOnLoad() == S_OK;
    }
    return 0;
}

/* By another thread, at any moment of the call. */
static void what_is_being_made_can_be_withdrawn(void **state)
{
    IHostMemoryManager *manager = create_manager();
    LONG made = 0;
    (void)state;
    HANDLE thread = CreateThread(NULL, 0, withdraw_until_enough, NULL, 0, NULL);
    assert_non_null(thread);
    for (int i = 0; i < 1000000; i++) {
        HRESULT hr = HostMemBindRuntimeOnLoad(manager, NULL, NULL);
        assert_true(hr == S_OK || hr == hr_of_win32(ERROR_ALREADY_INITIALIZED));
        made += hr == S_OK;
    }
    enough = TRUE;
    WaitForSingleObject(thread, INFINITE);
    made -= HostMemCancelBindRuntimeOnLoad() == S_OK;
    assert_int_equal(made, withdrawn);
    EXPECT_REF(manager, 1);

    EXPECT_HR(HostMemBindRuntimeOnLoad(manager, NULL, NULL), S_OK);
    assert_non_null(coreclr_load());
    EXPECT_HR(binding().Result, S_OK);
}

static void a_runtime_that_is_loaded_is_bound_at_once(void **state)
{
    (void)state;
    HMODULE runtime = coreclr_load();
    EXPECT_HR(HostMemBindRuntimeOnLoad(create_manager(), NULL, NULL), S_OK);
    EXPECT_HR(binding().Result, S_OK);
    assert_true(leads_to_hostmem(runtime, "VirtualAlloc"));
    assert_int_equal(coreclr_start(), S_OK);
    assert_int_equal(coreclr_run_program(), 3);
}

/* psapi.dll stands for any DLL that is no runtime. */
static void a_module_that_is_no_runtime_is_missed_and_a_runtime_can_follow(void **state)
{
    IHostMemoryManager *manager = create_manager();
    (void)state;
    assert_null(GetModuleHandleW(L"psapi.dll"));
    EXPECT_HR(HostMemBindRuntimeOnLoad(manager, L"PSAPI.DLL", NULL), S_OK);
    assert_non_null(LoadLibraryW(L"psapi.dll"));
    EXPECT_HR(binding().Result, hr_of_win32(ERROR_BAD_EXE_FORMAT));
    EXPECT_HR(HostMemBindRuntimeOnLoad(manager, L"coreclr", NULL), S_OK);
    assert_non_null(coreclr_load());
    EXPECT_HR(binding().Result, S_OK);
    assert_int_equal(coreclr_start(), S_OK);
    assert_int_equal(coreclr_run_program(), 3);
}

/* Not under the loader's lock, but with the next call. */
static void a_manager_that_missed_its_runtime_is_given_back(void **state)
{
    IHostMemoryManager *manager = create_manager();
    (void)state;
    EXPECT_HR(HostMemBindRuntimeOnLoad(manager, L"psapi", NULL), S_OK);
    assert_non_null(LoadLibraryW(L"psapi.dll"));
    EXPECT_HR(HostMemCancelBindRuntimeOnLoad(), S_FALSE);
    EXPECT_HR(HostMemCancelBindRuntimeOnLoad(), S_FALSE);
    EXPECT_HR(binding().Result, hr_of_win32(ERROR_BAD_EXE_FORMAT));
    assert_int_equal(IHostMemoryManager_Release(manager), 0);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bad_arguments_are_refused),
        cmocka_unit_test(a_runtime_is_bound_before_it_runs),
        cmocka_unit_test(what_is_withdrawn_does_not_happen),
        cmocka_unit_test(low_memory_ends_with_the_binding_that_heard_of_it),
        cmocka_unit_test(what_is_being_made_can_be_withdrawn),
        cmocka_unit_test(a_runtime_that_is_loaded_is_bound_at_once),
        cmocka_unit_test(a_module_that_is_no_runtime_is_missed_and_a_runtime_can_follow),
        cmocka_unit_test(a_manager_that_missed_its_runtime_is_given_back),
    };
    return coreclr_test_main(argc, argv, tests, sizeof(tests) / sizeof(tests[0]));
}
