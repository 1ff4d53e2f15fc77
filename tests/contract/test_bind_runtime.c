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
    EXPECT_HR(HostMemBindRuntime(manager, module, NULL), BAD_EXE_FORMAT);
    imports_read(module, &after);
    assert_true(before.count > 0);
    assert_true(imports_equal(&before, &after));
    EXPECT_REF(manager, 1);
}

static void null_arguments_are_e_pointer(void **state)
{
    IHostMemoryManager *manager = *state;
    EXPECT_HR(HostMemBindRuntime(NULL, NULL, NULL), E_POINTER);
    EXPECT_HR(HostMemBindRuntime(manager, NULL, NULL), E_POINTER);
    EXPECT_HR(HostMemBindRuntime(NULL, GetModuleHandleW(NULL), NULL), E_POINTER);
}

/* As a host has them that was built with a later header: a field more. */
struct later_options {
    HOSTMEM_BIND_OPTIONS known;
    UINT64 unknown;
};

/* The options are looked at before the module is. */
static void options_that_cannot_be_meant_are_refused(void **state)
{
    IHostMemoryManager *manager = *state;
    HMODULE module = GetModuleHandleW(L"kernel32.dll");
    struct later_options later = {.known = {.Size = sizeof(later)}};
    HOSTMEM_BIND_OPTIONS options = {.Size = sizeof(options)};
    EXPECT_HR(HostMemBindRuntime(manager, module, &options), BAD_EXE_FORMAT);
    EXPECT_HR(HostMemBindRuntime(manager, module, &later.known), BAD_EXE_FORMAT);
    EXPECT_HR(HostMemBindRuntimeOnLoad(manager, L"kernel32.dll", &later.known), BAD_EXE_FORMAT);

    later.unknown = (UINT64)1 << 63;
    EXPECT_HR(HostMemBindRuntime(manager, module, &later.known), E_INVALIDARG);
    EXPECT_HR(HostMemBindRuntimeOnLoad(manager, L"kernel32.dll", &later.known), E_INVALIDARG);
    options.Flags = 2;
    EXPECT_HR(HostMemBindRuntime(manager, module, &options), E_INVALIDARG);
    EXPECT_HR(HostMemBindRuntimeOnLoad(manager, L"no.dll", &options), E_INVALIDARG);
    options.Flags = 0;
    static const UINT32 wrong[] = {0, 1, sizeof(options) - 1, 0x7fffffff, 0xffffffff};
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        options.Size = wrong[i]; /* and what is behind it is not read */
        EXPECT_HR(HostMemBindRuntime(manager, module, &options), E_INVALIDARG);
    }
    EXPECT_REF(manager, 1);
}

static void a_binding_is_told_of_to_later_hosts_too(void **state)
{
    struct {
        HOSTMEM_BINDING known;
        UINT64 unknown;
    } later = {.known = {.Size = sizeof(later)}, .unknown = POISON_SIZE};
    HOSTMEM_BINDING binding = {.Size = sizeof(binding)};
    (void)state;
    EXPECT_HR(HostMemGetBinding(&binding), S_OK);
    EXPECT_HR(HostMemGetBinding(&later.known), S_OK);
    EXPECT_HR(later.known.Result, binding.Result);
    assert_int_equal(later.known.Size, sizeof(later));
    assert_int_equal(later.unknown, 0);
    later.known.Size = sizeof(HOSTMEM_BINDING) - 1;
    EXPECT_HR(HostMemGetBinding(&later.known), E_INVALIDARG);
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
    EXPECT_HR(HostMemBindRuntime(manager, (HMODULE)(void *)memory, NULL), BAD_EXE_FORMAT);
    EXPECT_HR(HostMemBindRuntime(manager, (HMODULE)POISON_POINTER, NULL), BAD_EXE_FORMAT);
    assert_true(VirtualFree(memory, 0, MEM_RELEASE));
}

static void an_address_inside_a_module_is_refused(void **state)
{
    IHostMemoryManager *manager = *state;
    char *module = (char *)GetModuleHandleW(L"kernel32.dll");
    EXPECT_HR(HostMemBindRuntime(manager, (HMODULE)(void *)(module + 1), NULL), BAD_EXE_FORMAT);
}

/* LoadLibraryEx marks such a handle in its lowest bit: the file is not laid out as an image. */
static void a_module_loaded_as_data_is_refused(void **state)
{
    IHostMemoryManager *manager = *state;
    HMODULE data = LoadLibraryExW(L"ole32.dll", NULL, LOAD_LIBRARY_AS_DATAFILE);
    assert_non_null(data);
    EXPECT_HR(HostMemBindRuntime(manager, data, NULL), BAD_EXE_FORMAT);
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
        manager_test(options_that_cannot_be_meant_are_refused),
        cmocka_unit_test(a_binding_is_told_of_to_later_hosts_too),
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
