/* SPDX-License-Identifier: MIT
 *
 * IHostMemoryManager::VirtualProtect is Win32's on any address: own memory, code and data of
 * modules, views, stacks. The old protection is the OS's and is written on success only.
 */
#include "contract/contract.h"

static void create_committed(struct pair *pair)
{
    assert_int_equal(PAIR_CREATE(pair, 8 * PAGE, MEM_RESERVE, PAGE_READWRITE), 0);
    assert_int_equal(PAIR_ALLOC(pair, 0, 6 * PAGE, MEM_COMMIT, PAGE_READWRITE), 0);
}

/* ---- own memory ---- */

/* trap 20: whatever the OS had, it comes back verbatim. */
static void the_old_protection_is_that_of_the_first_page(void **state)
{
    struct pair pair = {.manager = *state};
    DWORD old = POISON_DWORD;
    create_committed(&pair);
    assert_int_equal(PAIR_PROTECT(&pair, (ptrdiff_t)PAGE, PAGE, PAGE_EXECUTE_READ, &old), 0);
    assert_int_equal(old, PAGE_READWRITE);
    assert_int_equal(PAIR_PROTECT(&pair, (ptrdiff_t)PAGE, 3 * PAGE, PAGE_NOACCESS, &old), 0);
    assert_int_equal(old, PAGE_EXECUTE_READ);
    assert_int_equal(PAIR_PROTECT(&pair, 0, 6 * PAGE, PAGE_READONLY, &old), 0);
    assert_int_equal(old, PAGE_READWRITE);
    assert_int_equal(PAIR_PROTECT(&pair, 0, PAGE, PAGE_READWRITE | PAGE_GUARD, &old), 0);
    assert_int_equal(old, PAGE_READONLY);
    assert_int_equal(PAIR_PROTECT(&pair, 0, PAGE, PAGE_READWRITE, &old), 0);
    assert_int_equal(old, PAGE_READWRITE | PAGE_GUARD);
    EXPECT_EXACT_COMMIT(*state);
    pair_destroy(&pair);
}

static void every_page_that_the_range_touches_changes(void **state)
{
    static const struct {
        ptrdiff_t offset;
        SIZE_T size;
    } ranges[] = {{0, 1}, {4095, 1}, {4095, 2}, {4090, 9}, {1, 8192}, {100, 5 * 4096}};
    for (size_t i = 0; i < sizeof(ranges) / sizeof(ranges[0]); i++) {
        struct pair pair = {.manager = *state};
        DWORD old = POISON_DWORD;
        create_committed(&pair);
        assert_int_equal(
            PAIR_PROTECT(&pair, ranges[i].offset, ranges[i].size, PAGE_EXECUTE_READWRITE, &old), 0);
        assert_int_equal(old, PAGE_READWRITE);
        pair_destroy(&pair);
    }
}

static void every_protection_gives_what_win32_gives(void **state)
{
    struct pair pair = {.manager = *state};
    DWORD old = POISON_DWORD;
    create_committed(&pair);
    for (DWORD protect = 0; protect < 0x800; protect++) {
        PAIR_PROTECT(&pair, (ptrdiff_t)PAGE, 2 * PAGE, protect, &old);
    }
    assert_int_equal(PAIR_PROTECT(&pair, 0, PAGE, 0, &old), ERROR_INVALID_PARAMETER);
    assert_int_equal(PAIR_PROTECT(&pair, 0, PAGE, 0xffffffff, &old), ERROR_INVALID_PARAMETER);
    EXPECT_EXACT_COMMIT(*state);
    pair_destroy(&pair);
}

static void pages_that_are_not_committed_fail_and_nothing_changes(void **state)
{
    struct pair pair = {.manager = *state};
    DWORD old = POISON_DWORD;
    create_committed(&pair);
    assert_int_equal(PAIR_PROTECT(&pair, 6 * (ptrdiff_t)PAGE, PAGE, PAGE_READONLY, &old),
                     ERROR_INVALID_ADDRESS);
    assert_int_equal(old, POISON_DWORD);
    assert_int_equal(PAIR_PROTECT(&pair, 5 * (ptrdiff_t)PAGE, PAGE + 1, PAGE_READONLY, &old),
                     ERROR_INVALID_ADDRESS);
    assert_int_equal(PAIR_PROTECT(&pair, 0, 8 * PAGE, PAGE_READONLY, &old), ERROR_INVALID_ADDRESS);
    /* Windows: ERROR_INVALID_ADDRESS outside a reservation, too. */
    DWORD outside = known_wine_gap() ? ERROR_INVALID_PARAMETER : ERROR_INVALID_ADDRESS;
    assert_int_equal(PAIR_PROTECT(&pair, 0, 9 * PAGE, PAGE_READONLY, &old), outside);
    assert_int_equal(PAIR_PROTECT(&pair, 9 * (ptrdiff_t)PAGE, PAGE, PAGE_READONLY, &old), outside);
    /* Windows refuses ranges of nothing and ranges past the end of the address space. */
    DWORD no_range = known_wine_gap() ? ERROR_SUCCESS : ERROR_INVALID_PARAMETER;
    assert_int_equal(PAIR_PROTECT(&pair, 0, 0, PAGE_READONLY, &old), no_range);
    assert_int_equal(PAIR_PROTECT(&pair, 0, SIZE_MAX, PAGE_READONLY, &old),
                     sizeof(void *) == 8 ? no_range : (DWORD)ERROR_INVALID_PARAMETER);
    pair_destroy(&pair);
}

/* One variable as new and old value, as the CLR writes it. */
static void one_variable_can_be_new_and_old_protection(void **state)
{
    IHostMemoryManager *manager = *state;
    char *memory = reserve_committed(manager, PAGE);
    DWORD protect = PAGE_READONLY;
    EXPECT_OK(IHostMemoryManager_VirtualProtect(manager, memory, PAGE, protect, &protect));
    assert_int_equal(protect, PAGE_READWRITE);
    EXPECT_OK(IHostMemoryManager_VirtualProtect(manager, memory, PAGE, protect, &protect));
    assert_int_equal(protect, PAGE_READONLY);
    memory[0] = 1;
    protect = 0x12345;
    EXPECT_CALL(IHostMemoryManager_VirtualProtect(manager, memory, PAGE, protect, &protect),
                HRESULT_FROM_WIN32(ERROR_INVALID_PARAMETER), ERROR_INVALID_PARAMETER);
    assert_int_equal(protect, 0x12345);
    EXPECT_OK(IHostMemoryManager_VirtualFree(manager, memory, 0, MEM_RELEASE));
}

/* As Windows says that it is: the call fails, with ERROR_NOACCESS, and the protection stays. */
static void no_out_pointer_fails_as_in_windows_and_nothing_changes(void **state)
{
    IHostMemoryManager *manager = *state;
    char *memory = reserve_committed(manager, PAGE);
    SetLastError(MARKER);
    assert_false(VirtualProtect(memory, PAGE, PAGE_NOACCESS, NULL));
    assert_int_equal(GetLastError(), ERROR_NOACCESS);
    memory[0] = 1;
    EXPECT_CALL(IHostMemoryManager_VirtualProtect(manager, memory, PAGE, PAGE_NOACCESS, NULL),
                HRESULT_FROM_WIN32(ERROR_NOACCESS), ERROR_NOACCESS);
    memory[0] = 2;
    EXPECT_OK(IHostMemoryManager_VirtualFree(manager, memory, 0, MEM_RELEASE));
}

static void a_guard_page_still_guards(void **state)
{
    IHostMemoryManager *manager = *state;
    char *memory = reserve_committed(manager, PAGE);
    MEMORY_BASIC_INFORMATION info;
    DWORD old = POISON_DWORD;
    EXPECT_OK(
        IHostMemoryManager_VirtualProtect(manager, memory, 1, PAGE_READWRITE | PAGE_GUARD, &old));
    /* The manager's own calls must not touch the page. */
    EXPECT_EXACT_COMMIT(manager);
    assert_int_equal(VirtualQuery(memory, &info, sizeof(info)), sizeof(info));
    assert_int_equal(info.Protect, PAGE_READWRITE | PAGE_GUARD);
    EXPECT_OK(IHostMemoryManager_VirtualFree(manager, memory, 0, MEM_RELEASE));
}

/* A debugger changes protections without telling. */
static void the_old_protection_is_the_os_s_not_a_remembered_one(void **state)
{
    IHostMemoryManager *manager = *state;
    char *memory = reserve_committed(manager, PAGE);
    DWORD old = POISON_DWORD;
    assert_true(VirtualProtect(memory, PAGE, PAGE_EXECUTE_READWRITE, &old));
    EXPECT_OK(IHostMemoryManager_VirtualProtect(manager, memory, PAGE, PAGE_READONLY, &old));
    assert_int_equal(old, PAGE_EXECUTE_READWRITE);
    EXPECT_OK(IHostMemoryManager_VirtualFree(manager, memory, 0, MEM_RELEASE));
}

/* ---- trap 4: memory of others ---- */

/* Changes and restores, as the CLR does with its own code and data at start-up. */
static void change_and_restore(IHostMemoryManager *manager, char *address, SIZE_T size,
                               DWORD protect)
{
    char *page = (char *)((uintptr_t)address & ~(uintptr_t)(PAGE - 1));
    struct picture before, changed, restored;
    MEMORY_BASIC_INFORMATION info;
    DWORD old = POISON_DWORD;
    assert_int_equal(VirtualQuery(address, &info, sizeof(info)), sizeof(info));
    take_picture(&before, page, 2 * PAGE);
    EXPECT_OK(IHostMemoryManager_VirtualProtect(manager, address, size, protect, &old));
    assert_int_equal(old, info.Protect);
    take_picture(&changed, page, 2 * PAGE);
    /* Writable becomes copy-on-write where a module's page has not been copied yet. */
    assert_true(changed.runs[0].protect == protect ||
                (changed.runs[0].type == MEM_IMAGE && changed.runs[0].protect == protect << 1));
    EXPECT_OK(IHostMemoryManager_VirtualProtect(manager, address, size, old, &old));
    assert_int_equal(old, changed.runs[0].protect);
    take_picture(&restored, page, 2 * PAGE);
    EXPECT_SAME_PICTURE(&before, &restored);
}

static void code_and_constants_of_a_module_can_be_changed(void **state)
{
    struct foreign_memory foreign;
    foreign_memory_create(&foreign);
    change_and_restore(*state, foreign.image, 5, PAGE_EXECUTE_READWRITE);
    change_and_restore(*state, foreign.constants, 4, PAGE_READONLY);
    foreign_memory_destroy(&foreign);
}

static void copy_on_write_pages_of_a_module_say_so(void **state)
{
    IHostMemoryManager *manager = *state;
    HMODULE module = LoadLibraryExW(L"hostmem.dll", NULL, 0);
    const char *at = (const char *)module;
    MEMORY_BASIC_INFORMATION info;
    unsigned compared = 0;
    assert_non_null(module);
    /* Every run of pages of the DLL, its writable data included, changed to what it is: the OS says
     * PAGE_WRITECOPY or PAGE_EXECUTE_WRITECOPY where a page has not been copied yet. */
    while (VirtualQuery(at, &info, sizeof(info)) == sizeof(info) && info.AllocationBase == module) {
        DWORD old = POISON_DWORD;
        EXPECT_OK(IHostMemoryManager_VirtualProtect(manager, (char *)info.BaseAddress,
                                                    info.RegionSize, info.Protect, &old));
        assert_int_equal(old, info.Protect);
        at = (const char *)info.BaseAddress + info.RegionSize;
        compared++;
    }
    assert_in_range(compared, 3, 100);
    FreeLibrary(module);
}

static void views_and_allocations_of_others_can_be_changed(void **state)
{
    struct foreign_memory foreign;
    foreign_memory_create(&foreign);
    change_and_restore(*state, foreign.view + PAGE, PAGE, PAGE_READONLY);
    change_and_restore(*state, foreign.reserved, 9, PAGE_NOACCESS);
    foreign_memory_destroy(&foreign);
}

struct stack_test {
    IHostMemoryManager *manager;
    HRESULT hr;
    DWORD old;
    DWORD protect;
};

/* Makes the stack grow, so that its lowest page is out of the way of the calls below. */
static __attribute__((noinline)) void touch_stack(void)
{
    volatile char deep[32768];
    for (size_t i = sizeof(deep); i > 0; i -= 1024) {
        deep[i - 1024] = 0;
    }
}

/* Puts a guard on the lowest committed page of its own stack, as the CLR does after an overflow. */
static DWORD WINAPI guard_own_stack(void *context)
{
    struct stack_test *test = context;
    MEMORY_BASIC_INFORMATION info;
    touch_stack();
    char *page = ((NT_TIB *)NtCurrentTeb())->StackLimit;
    test->hr = IHostMemoryManager_VirtualProtect(test->manager, page, 1,
                                                 PAGE_READWRITE | PAGE_GUARD, &test->old);
    VirtualQuery(page, &info, sizeof(info));
    test->protect = info.Protect;
    return 0;
}

static void a_thread_can_guard_its_own_stack(void **state)
{
    struct stack_test test = {*state, E_FAIL, POISON_DWORD, POISON_DWORD};
    run_threads(1, guard_own_stack, &test);
    assert_int_equal(test.hr, S_OK);
    assert_int_equal(test.old, PAGE_READWRITE);
    assert_int_equal(test.protect, PAGE_READWRITE | PAGE_GUARD);
}

static void free_addresses_fail_as_in_win32(void **state)
{
    IHostMemoryManager *manager = *state;
    struct foreign_memory foreign;
    foreign_memory_create(&foreign);
    char *const addresses[] = {NULL, (char *)1, foreign.free, foreign.reserved + 3 * PAGE,
                               (char *)(UINTPTR_MAX - 100)};
    for (size_t i = 0; i < sizeof(addresses) / sizeof(addresses[0]); i++) {
        DWORD raw_old = POISON_DWORD, old = POISON_DWORD;
        SetLastError(MARKER);
        assert_false(VirtualProtect(addresses[i], 16, PAGE_READONLY, &raw_old));
        DWORD error = GetLastError();
        EXPECT_CALL(
            IHostMemoryManager_VirtualProtect(manager, addresses[i], 16, PAGE_READONLY, &old),
            hr_of_win32(error), error);
        assert_int_equal(old, POISON_DWORD);
    }
    foreign_memory_destroy(&foreign);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        manager_test(the_old_protection_is_that_of_the_first_page),
        manager_test(every_page_that_the_range_touches_changes),
        manager_test(every_protection_gives_what_win32_gives),
        manager_test(pages_that_are_not_committed_fail_and_nothing_changes),
        manager_test(one_variable_can_be_new_and_old_protection),
        manager_test(no_out_pointer_fails_as_in_windows_and_nothing_changes),
        manager_test(a_guard_page_still_guards),
        manager_test(the_old_protection_is_the_os_s_not_a_remembered_one),
        manager_test(code_and_constants_of_a_module_can_be_changed),
        manager_test(copy_on_write_pages_of_a_module_say_so),
        manager_test(views_and_allocations_of_others_can_be_changed),
        manager_test(a_thread_can_guard_its_own_stack),
        manager_test(free_addresses_fail_as_in_win32),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
