/* SPDX-License-Identifier: MIT
 *
 * IHostMemoryManager::GetMemoryLoad: the machine's load in percent and its free physical memory.
 */
#include "contract/contract.h"

static void the_figures_are_the_machine_s(void **state)
{
    IHostMemoryManager *manager = *state;
    MEMORYSTATUSEX before = {.dwLength = sizeof(before)}, after = {.dwLength = sizeof(after)};
    DWORD load = POISON_DWORD;
    SIZE_T available = POISON_SIZE;
    assert_true(GlobalMemoryStatusEx(&before));
    EXPECT_OK(IHostMemoryManager_GetMemoryLoad(manager, &load, &available));
    assert_true(GlobalMemoryStatusEx(&after));
    /* Other programs run: a few percent up or down in between. */
    DWORD low = before.dwMemoryLoad < after.dwMemoryLoad ? before.dwMemoryLoad : after.dwMemoryLoad;
    DWORD high = before.dwMemoryLoad + after.dwMemoryLoad - low;
    assert_in_range(load + 5, low, high + 10);
    UINT64 slack = before.ullTotalPhys / 20;
    UINT64 least =
        before.ullAvailPhys < after.ullAvailPhys ? before.ullAvailPhys : after.ullAvailPhys;
    UINT64 most = before.ullAvailPhys + after.ullAvailPhys - least;
    if (most > SIZE_MAX) { /* 32-bit: cut to what the type holds */
        assert_in_range(available, least < SIZE_MAX ? least : SIZE_MAX, SIZE_MAX);
    } else {
        assert_in_range(available + slack, least, most + 2 * slack);
    }
}

/* trap 31 */
static void the_figures_are_possible_ones(void **state)
{
    IHostMemoryManager *manager = *state;
    MEMORYSTATUSEX status = {.dwLength = sizeof(status)};
    assert_true(GlobalMemoryStatusEx(&status));
    for (int i = 0; i < 1000; i++) {
        DWORD load = POISON_DWORD;
        SIZE_T available = POISON_SIZE;
        EXPECT_OK(IHostMemoryManager_GetMemoryLoad(manager, &load, &available));
        assert_in_range(load, 0, 100);
        assert_in_range(available, 1, status.ullTotalPhys);
    }
}

static void a_null_pointer_is_e_pointer(void **state)
{
    IHostMemoryManager *manager = *state;
    DWORD load = POISON_DWORD;
    SIZE_T available = POISON_SIZE;
    EXPECT_CALL(IHostMemoryManager_GetMemoryLoad(manager, NULL, &available), E_POINTER, UNCHANGED);
    EXPECT_CALL(IHostMemoryManager_GetMemoryLoad(manager, &load, NULL), E_POINTER, UNCHANGED);
    EXPECT_CALL(IHostMemoryManager_GetMemoryLoad(manager, NULL, NULL), E_POINTER, UNCHANGED);
}

static DWORD WINAPI ask_often(void *context)
{
    for (int i = 0; i < 10000; i++) {
        DWORD load = POISON_DWORD;
        SIZE_T available = 0;
        if (IHostMemoryManager_GetMemoryLoad((IHostMemoryManager *)context, &load, &available) !=
                S_OK ||
            load > 100 || available == 0) {
            return 1;
        }
    }
    return 0;
}

static void any_thread_may_ask(void **state)
{
    IHostMemoryManager *manager = *state;
    run_threads(4, ask_often, manager);
    assert_int_equal(statistics_of(manager).Calls.GetMemoryLoad, 40000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        manager_test(the_figures_are_the_machine_s),
        manager_test(the_figures_are_possible_ones),
        manager_test(a_null_pointer_is_e_pointer),
        manager_test(any_thread_may_ask),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
