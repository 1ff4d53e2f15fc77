/* SPDX-License-Identifier: MIT
 *
 * HostMemBindRuntime with what is no runtime: it says so, and neither the module nor the manager
 * notice. What it does to a runtime is shown in tests/clr.
 */
#include "clr/imports.h"
#include "contract/contract.h"

#define BAD_EXE_FORMAT hr_of_win32(ERROR_BAD_EXE_FORMAT)

static struct imports before, after;

static void expect_refused(IHostMemoryManager *manager, HMODULE module)
{
    imports_read(module, &before);
    EXPECT_HR(HostMemBindRuntime(manager, module), BAD_EXE_FORMAT);
    imports_read(module, &after);
    assert_true(before.count > 0);
    assert_true(imports_equal(&before, &after));
    EXPECT_REF(manager, 1);
}

static void null_arguments_are_e_pointer(void **state)
{
    IHostMemoryManager *manager = *state;
    EXPECT_HR(HostMemBindRuntime(NULL, NULL), E_POINTER);
    EXPECT_HR(HostMemBindRuntime(manager, NULL), E_POINTER);
    EXPECT_HR(HostMemBindRuntime(NULL, GetModuleHandleW(NULL)), E_POINTER);
}

static void a_system_dll_is_no_runtime(void **state)
{
    expect_refused(*state, GetModuleHandleW(L"kernel32.dll"));
}

static void this_program_is_no_runtime(void **state)
{
    expect_refused(*state, GetModuleHandleW(NULL));
}

static void the_dll_itself_is_no_runtime(void **state)
{
    expect_refused(*state, GetModuleHandleW(L"hostmem.dll"));
}

static void memory_that_is_no_module_is_refused_unread(void **state)
{
    IHostMemoryManager *manager = *state;
    char *memory = VirtualAlloc(NULL, GRANULARITY, MEM_RESERVE, PAGE_NOACCESS);
    assert_non_null(memory);
    EXPECT_HR(HostMemBindRuntime(manager, (HMODULE)(void *)memory), BAD_EXE_FORMAT);
    EXPECT_HR(HostMemBindRuntime(manager, (HMODULE)POISON_POINTER), BAD_EXE_FORMAT);
    assert_true(VirtualFree(memory, 0, MEM_RELEASE));
}

static void an_address_inside_a_module_is_refused(void **state)
{
    IHostMemoryManager *manager = *state;
    char *module = (char *)GetModuleHandleW(L"kernel32.dll");
    EXPECT_HR(HostMemBindRuntime(manager, (HMODULE)(void *)(module + 1)), BAD_EXE_FORMAT);
}

/* LoadLibraryEx marks such a handle in its lowest bit: the file is not laid out as an image. */
static void a_module_loaded_as_data_is_refused(void **state)
{
    IHostMemoryManager *manager = *state;
    HMODULE data = LoadLibraryExW(L"ole32.dll", NULL, LOAD_LIBRARY_AS_DATAFILE);
    assert_non_null(data);
    EXPECT_HR(HostMemBindRuntime(manager, data), BAD_EXE_FORMAT);
    assert_true(FreeLibrary(data));
}

static void a_refusal_does_not_count_as_the_binding_of_the_process(void **state)
{
    for (int i = 0; i < 3; i++) {
        expect_refused(*state, GetModuleHandleW(L"kernel32.dll"));
    }
}

static void a_refusal_asks_nothing_of_the_manager(void **state)
{
    IHostMemoryManager *manager = *state;
    expect_refused(manager, GetModuleHandleW(L"kernel32.dll"));
    HOSTMEM_STATISTICS statistics = statistics_of(manager);
    assert_int_equal(statistics.Calls.CreateMalloc, 0);
    assert_int_equal(statistics.Calls.RegisterMemoryNotificationCallback, 0);
    assert_int_equal(statistics.Calls.VirtualProtect, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        manager_test(null_arguments_are_e_pointer),
        manager_test(a_system_dll_is_no_runtime),
        manager_test(this_program_is_no_runtime),
        manager_test(the_dll_itself_is_no_runtime),
        manager_test(memory_that_is_no_module_is_refused_unread),
        manager_test(an_address_inside_a_module_is_refused),
        manager_test(a_module_loaded_as_data_is_refused),
        manager_test(a_refusal_does_not_count_as_the_binding_of_the_process),
        manager_test(a_refusal_asks_nothing_of_the_manager),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
