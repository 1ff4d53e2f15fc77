/* SPDX-License-Identifier: MIT
 *
 * IHostMemoryManager::VirtualQuery is the OS's VirtualQuery for every address, byte for byte, with
 * every buffer size.
 */
#include "contract/contract.h"

#include <string.h>

static void every_state_of_the_own_memory_is_reported(void **state)
{
    struct pair pair = {.manager = *state};
    DWORD old;
    assert_int_equal(PAIR_CREATE(&pair, 10 * PAGE, MEM_RESERVE, PAGE_EXECUTE_READWRITE), 0);
    assert_int_equal(PAIR_ALLOC(&pair, 2 * (ptrdiff_t)PAGE, 5 * PAGE, MEM_COMMIT, PAGE_READWRITE),
                     0);
    assert_int_equal(PAIR_PROTECT(&pair, 3 * (ptrdiff_t)PAGE, PAGE, PAGE_READONLY, &old), 0);
    assert_int_equal(
        PAIR_PROTECT(&pair, 5 * (ptrdiff_t)PAGE, PAGE, PAGE_READWRITE | PAGE_GUARD, &old), 0);
    for (ptrdiff_t at = 0; at < 10 * (ptrdiff_t)PAGE; at += 1000) {
        assert_int_equal(PAIR_QUERY(&pair, at, sizeof(MEMORY_BASIC_INFORMATION)), 0);
    }
    assert_int_equal(PAIR_QUERY(&pair, 10 * (ptrdiff_t)PAGE - 1, sizeof(MEMORY_BASIC_INFORMATION)),
                     0);
    pair_destroy(&pair);
}

static void every_buffer_size_gives_what_win32_gives(void **state)
{
    struct pair pair = {.manager = *state};
    assert_int_equal(PAIR_CREATE(&pair, GRANULARITY, MEM_RESERVE, PAGE_READWRITE), 0);
    for (SIZE_T length = 0; length <= 2 * sizeof(MEMORY_BASIC_INFORMATION); length++) {
        DWORD error = PAIR_QUERY(&pair, 4096, length);
        if (length < sizeof(MEMORY_BASIC_INFORMATION)) {
            assert_int_equal(error, ERROR_BAD_LENGTH);
        } else {
            assert_int_equal(error, 0);
        }
    }
    pair_destroy(&pair);
}

/* trap 3 */
static void failure_writes_zero_and_keeps_the_error(void **state)
{
    IHostMemoryManager *manager = *state;
    MEMORY_BASIC_INFORMATION info;
    SIZE_T written = POISON_SIZE;
    EXPECT_CALL(IHostMemoryManager_VirtualQuery(manager, &info, &info, 1, &written),
                HRESULT_FROM_WIN32(ERROR_BAD_LENGTH), ERROR_BAD_LENGTH);
    assert_int_equal(written, 0);
    written = POISON_SIZE;
    EXPECT_CALL(IHostMemoryManager_VirtualQuery(manager, (void *)UINTPTR_MAX, &info, sizeof(info),
                                                &written),
                HRESULT_FROM_WIN32(ERROR_INVALID_PARAMETER), ERROR_INVALID_PARAMETER);
    assert_int_equal(written, 0);
}

static void a_null_pointer_is_e_pointer(void **state)
{
    IHostMemoryManager *manager = *state;
    MEMORY_BASIC_INFORMATION info;
    SIZE_T written = POISON_SIZE;
    EXPECT_CALL(IHostMemoryManager_VirtualQuery(manager, &info, &info, sizeof(info), NULL),
                E_POINTER, ERROR_NOACCESS);
    EXPECT_CALL(IHostMemoryManager_VirtualQuery(manager, &info, NULL, sizeof(info), &written),
                E_POINTER, ERROR_NOACCESS);
    assert_int_equal(written, 0);
}

/* Compares one answer with the OS's, byte for byte. */
static uintptr_t compare_at(IHostMemoryManager *manager, uintptr_t address)
{
    MEMORY_BASIC_INFORMATION raw, managed;
    SIZE_T written = POISON_SIZE;
    memset(&raw, 0, sizeof(raw));
    memset(&managed, 0, sizeof(managed));
    EXPECT_OK(IHostMemoryManager_VirtualQuery(manager, (void *)address, &managed, sizeof(managed),
                                              &written));
    assert_int_equal(written, sizeof(managed));
    assert_int_equal(VirtualQuery((void *)address, &raw, sizeof(raw)), sizeof(raw));
    if (memcmp(&raw, &managed, sizeof(raw)) != 0) {
        fail_at(__FILE__, __LINE__, "different answers for %p", (void *)address);
    }
    return (uintptr_t)raw.BaseAddress + raw.RegionSize;
}

/* trap 4 */
static void foreign_memory_is_reported(void **state)
{
    struct foreign_memory foreign;
    foreign_memory_create(&foreign);
    char *const addresses[] = {foreign.reserved,  foreign.reserved + 5 * PAGE,
                               foreign.view,      foreign.image,
                               foreign.constants, foreign.stack,
                               (char *)&foreign,  foreign.heap,
                               foreign.free,      (char *)NULL,
                               (char *)0xffff,    (char *)0x10000};
    for (size_t i = 0; i < sizeof(addresses) / sizeof(addresses[0]); i++) {
        compare_at(*state, (uintptr_t)addresses[i]);
    }
    foreign_memory_destroy(&foreign);
}

static void the_whole_address_space_looks_as_the_os_says(void **state)
{
    IHostMemoryManager *manager = *state;
    char *memory = reserve_committed(manager, 5 * PAGE);
    SYSTEM_INFO info;
    GetSystemInfo(&info);
    uintptr_t at = 0, end = (uintptr_t)info.lpMaximumApplicationAddress;
    unsigned count = 0;
    while (at < end) {
        at = compare_at(manager, at);
        count++;
    }
    assert_in_range(count, 10, 100000);
    EXPECT_OK(IHostMemoryManager_VirtualFree(manager, memory, 0, MEM_RELEASE));
}

static void changes_made_behind_its_back_are_seen(void **state)
{
    IHostMemoryManager *manager = *state;
    char *memory = reserve_committed(manager, 4 * PAGE);
    MEMORY_BASIC_INFORMATION info;
    SIZE_T written = POISON_SIZE;
    DWORD old;
    assert_true(VirtualProtect(memory + PAGE, PAGE, PAGE_NOACCESS, &old));
    EXPECT_OK(
        IHostMemoryManager_VirtualQuery(manager, memory + PAGE, &info, sizeof(info), &written));
    assert_int_equal(info.Protect, PAGE_NOACCESS);
    assert_int_equal(info.RegionSize, PAGE);
    assert_int_equal(info.AllocationProtect, PAGE_READWRITE);
    assert_ptr_equal(info.AllocationBase, memory);
    EXPECT_OK(IHostMemoryManager_VirtualFree(manager, memory, 0, MEM_RELEASE));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        manager_test(every_state_of_the_own_memory_is_reported),
        manager_test(every_buffer_size_gives_what_win32_gives),
        manager_test(failure_writes_zero_and_keeps_the_error),
        manager_test(a_null_pointer_is_e_pointer),
        manager_test(foreign_memory_is_reported),
        manager_test(the_whole_address_space_looks_as_the_os_says),
        manager_test(changes_made_behind_its_back_are_seen),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
