/* SPDX-License-Identifier: MIT
 *
 * A runtime that runs out of memory again and again, with the accounting compared each time: the host
 * lets managed code fill a budget of 64 MiB until it gets an OutOfMemoryException and drops it all,
 * 100 times. After each of them the manager's committed bytes are what the system finds committed
 * in its regions, what is charged is these and the heap's together, and nothing is over the limit.
 *
 * test_oom_cycles <framework folder> <oom.exe>
 */
#include "clr/coreclr.h"
#include "contract/contract.h"

#include <stdio.h>

#define LIMIT (64 * MIB)
#define EMERGENCY (LIMIT / 16)
#define CYCLES 100
#define LOOKS 200

/* Threads of the runtime may be at work between two cycles (the finalizer, the compiler), so that
 * numbers taken one after the other differ for a moment. A drift stays. */
static void expect_agreement(IHostMemoryManager *manager, IHostMemoryStatistics *statistics)
{
    UINT64 by_table = 0, by_system = 1, charged = 0, all_pages = 1;
    for (int look = 0; look < LOOKS && (by_table != by_system || charged != all_pages); look++) {
        if (look > 0) {
            Sleep(5);
        }
        EXPECT_HR(IHostMemoryStatistics_MeasureCommit(statistics, &by_table, &by_system), S_OK);
        HOSTMEM_STATISTICS now = statistics_of(manager);
        charged = now.ChargedCurrentBytes;
        all_pages = now.CommitCurrentBytes + now.HeapCommitCurrentBytes;
    }
    assert_int_equal(by_table, by_system);
    assert_int_equal(charged, all_pages);
    assert_true(statistics_of(manager).ChargedPeakBytes <= LIMIT);
}

static void the_accounting_is_right_after_each_time_out_of_memory(void **state)
{
    typedef INT64(STDMETHODCALLTYPE * fill_function)(void);
    IHostMemoryManager *manager =
        CREATE_MANAGER(.CommitLimit = LIMIT, .EmergencyCommit = EMERGENCY);
    IHostMemoryStatistics *statistics;
    INT64 least = INT64_MAX, most = 0;
    (void)state;
    EXPECT_OK(IHostMemoryManager_QueryInterface(manager, &IID_IHostMemoryStatistics,
                                                (void **)&statistics));
    /* As hostmem-run has it: 64 MiB, in hexadecimal. Old collectors know the second one only. */
    SetEnvironmentVariableA("COMPlus_GCHeapHardLimit", "4000000");
    if (sizeof(void *) == 4) {
        SetEnvironmentVariableA("COMPlus_GCSegmentSize", "4000000");
    }
    HMODULE runtime = coreclr_load();
    assert_non_null(runtime);
    assert_int_equal(HostMemBindRuntime(manager, runtime, NULL), S_OK);
    assert_int_equal(coreclr_start(), S_OK);
    fill_function fill = (fill_function)(uintptr_t)coreclr_method("Oom", "Fill");
    assert_non_null(fill);

    for (int cycle = 0; cycle < CYCLES; cycle++) {
        INT64 bytes = fill();
        least = bytes < least ? bytes : least;
        most = bytes > most ? bytes : most;
        expect_agreement(manager, statistics);
    }
    HOSTMEM_STATISTICS end = statistics_of(manager);
    printf("%d times out of memory after %lld to %lld KiB, %llu requests refused\n", CYCLES,
           least / 1024, most / 1024, end.DeniedTask);
    assert_true(least > (INT64)(50 * MIB)); /* the last time as much room as the first time */
    assert_true(end.DeniedTask >= CYCLES);
    assert_int_equal(end.DeniedProcess, 0);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_accounting_is_right_after_each_time_out_of_memory),
    };
    if (argc != 3) {
        fprintf(stderr, "usage: test_oom_cycles FRAMEWORK PROGRAM\n");
        return 2;
    }
    coreclr_use(argv[1], argv[2]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
