/* SPDX-License-Identifier: MIT
 *
 * The judge of the stand-in .NET Framework is worth something only if it finds what is wrong. The same
 * life of a CLR is played on managers that do one thing wrong, and the judge must name the rule.
 */
#include "framework/framework_process.h"
#include "framework/wrong_manager.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#define PROFILE "clr2-workstation-concurrent"
#define LIFE_MS 60000
#define HANGS (-1) /* in the calls of DLL_PROCESS_DETACH */

struct wrong {
    enum fault fault;
    const char *name;
    int rule;
};

static const struct wrong wrongs[] = {
    {NOTHING, "nothing is wrong", 0},

    {GIVES_S_FALSE, "VirtualAlloc succeeds with S_FALSE", RULE(1)},
    {GIVES_MEMORY_UNWRITTEN, "VirtualAlloc succeeds, *ppMem unwritten", RULE(2)},
    {GIVES_NULL, "VirtualAlloc succeeds with NULL", RULE(2)},
    {LEAVES_POINTER_ON_FAILURE, "VirtualAlloc fails, *ppMem unwritten", RULE(2)},
    {FAILS_WITH_E_FAIL, "VirtualAlloc fails with E_FAIL", PITFALL(33)},
    {CHANGES_LAST_ERROR, "VirtualAlloc succeeds and changes LastError", RULE(14)},
    {CLEARS_LAST_ERROR, "VirtualAlloc succeeds and calls SetLastError(0)", RULE(14)},
    {FAILS_WITHOUT_LAST_ERROR, "VirtualAlloc fails with LastError 0", RULE(14)},
    {DROPS_WRITE_WATCH, "MEM_WRITE_WATCH is dropped", RULE(5)},
    {HANDS_OUT_PARTS, "a reservation is part of a larger one", RULE(4)},
    {RESERVES_MORE, "a reservation is larger than was asked for", RULE(4)},
    {COMMITS_AT_ONCE, "a reservation is committed", PITFALL(6)},
    {REFUSES_FOREIGN_COMMIT, "commit in a view of others is refused", RULE(3)},
    {GIVES_DIRTY_PAGES, "fresh pages are not zero", RULE(6)},
    {REFUSES_CRITICAL, "process-critical commit is refused", RULE(10)},
    {REFUSES_COMMIT_WITHOUT_ADDRESS, "MEM_COMMIT without address is refused", PITFALL(7)},
    {CHARGES_TWICE, "committed pages are charged again", RULE(9)},
    {REFUSES_RESET, "MEM_RESET is refused at the limit", PITFALL(8)},
    {CHARGES_RESERVES, "MEM_RESERVE is charged", RULE(9)},
    {CHANGES_PROTECTION, "the protection is another one", PITFALL(32)},
    {MOVES_REQUESTS, "memory is not where it was asked for", RULE(4)},

    {DECOMMITS_NOTHING, "MEM_DECOMMIT does nothing", RULE(4)},
    {RELEASES_NOTHING, "MEM_RELEASE does nothing", RULE(4)},
    {REFUSES_UNCOMMITTED, "MEM_DECOMMIT of what is not committed is refused", RULE(9)},
    {FREES_FOREIGN_MEMORY, "VirtualFree of others' memory succeeds", PITFALL(4)},

    {REFUSES_FOREIGN_QUERY, "VirtualQuery of a stack is refused", RULE(3)},
    {LEAVES_RESULT_OF_QUERY, "VirtualQuery succeeds, *pResult unwritten", RULE(2)},
    {LEAVES_RESULT_OF_FAILED_QUERY, "VirtualQuery fails, *pResult unwritten", RULE(2)},
    {LIES_ABOUT_FREE_SPACE, "VirtualQuery hides free space", RULE(3)},
    {REFUSES_FOREIGN_PROTECT, "VirtualProtect of an image is refused", RULE(3)},
    {LEAVES_OLD_PROTECTION, "VirtualProtect succeeds, *pflOldProtect unwritten", RULE(2)},
    {INVENTS_OLD_PROTECTION, "the old protection is invented", PITFALL(20)},
    {CLEARS_OLD_PROTECTION, "VirtualProtect fails and clears *pflOldProtect", PITFALL(20)},
    {THROWS, "an exception leaves VirtualProtect", RULE(13)},

    {FAILS_CREATE_MALLOC, "CreateMalloc fails", RULE(10)},
    {LEAVES_HEAP_ON_FAILURE, "CreateMalloc fails, *ppMalloc unwritten", RULE(2)},
    {IMPOSSIBLE_LOAD, "a memory load of 101 %", PITFALL(31)},
    {LEAVES_LOAD, "GetMemoryLoad succeeds, *pMemoryLoad unwritten", RULE(2)},

    {NOTIFIES_AT_ONCE, "notifies inside of the registration", RULE(15)},
    {NOTIFIES_FROM_ALLOC, "notifies inside of VirtualAlloc", RULE(15)},
    {REPEATS_LOW, "Low twice within 8.192 s", RULE(16)},

    {PRETENDS_ADDRESS_SPACE, "NeedsVirtualAddressSpace gives back nothing", PITFALL(30)},
    {LOSES_ERROR_OF_MAPPING, "NeedsVirtualAddressSpace calls SetLastError(0)", RULE(14)},
    {FORGETS_SIZE_ZERO, "a view that is acquired with size 0 is forgotten", PITFALL(29)},

    {MISALIGNS, "blocks are aligned to half of what they must be", RULE(7)},
    {REFUSES_SIZE_ZERO, "a block of size 0 is refused", RULE(7)},
    {SHARES_SIZE_ZERO, "two blocks of size 0 are one", RULE(7)},
    {LEAVES_BLOCK_ON_FAILURE, "Alloc fails, *ppMem unwritten", RULE(2)},
    {SERVES_ONE_THREAD, "the heap serves one thread", RULE(7)},
    {REFUSES_NULL, "Free(NULL) is refused", RULE(8)},
    {FREES_ANYTHING, "Free of others' block succeeds", PITFALL(15)},

    {GIVES_NO_REFERENCE, "GetHostManager adds no reference", RULE(17)},
    {LEAVES_UNKNOWN_MANAGER, "E_NOINTERFACE, *ppObject unwritten", RULE(2)},
    {GIVES_S_OK_FOR_UNKNOWN_MANAGER, "S_OK with NULL for an unknown manager", RULE(2)},
    {STOPS_WITH_THE_CLR, "the manager ends with the last Stop", RULE(18)},
};

/* In processes of their own: these wait for the judge's patience to end, or end their process. */
static const struct wrong wrong_processes[] = {
    {QUERIES_UNDER_LOCK, "VirtualQuery takes a lock", RULE(12)},
    {NOTIFIES_UNDER_LOCK, "notifies under a lock", RULE(15)},
    {NEVER_ENDS_LOW, "Low has no end", RULE(16)},
    {NEVER_NOTIFIES, "Low is never sent", RULE(16)},
    {IS_UNLOADED, "the DLL is not pinned", RULE(18)},
    {WAITS_FOR_THE_DEAD, "the last calls wait for a lock of the dead", HANGS},
};

static const struct profile *profile(void)
{
    for (size_t i = 0; i < framework_profile_count; i++) {
        if (strcmp(framework_profiles[i].name, PROFILE) == 0) {
            return &framework_profiles[i];
        }
    }
    return NULL;
}

static void every_wrong_manager_is_found(void **state)
{
    unsigned missed = 0;
    (void)state;
    _Static_assert(ARRAYSIZE(wrongs) + ARRAYSIZE(wrong_processes) == FAULT_COUNT,
                   "a fault is not in the tables");
    for (size_t i = 0; i < ARRAYSIZE(wrongs); i++) {
        struct clr *clr = malloc(sizeof(*clr)); /* its manager keeps it for ever */
        wrong_choose(wrongs[i].fault);
        int rule = framework_session(clr, profile(), &wrong_disguise);
        framework_clean_up(clr);
        if (rule != wrongs[i].rule) {
            const struct step *step = clr->judge.step;
            print_error("%s: %d, not %d; %s %s: %s\n", wrongs[i].name, rule, wrongs[i].rule,
                        step->section, step->what, clr->judge.finding);
            missed++;
        }
    }
    assert_int_equal(missed, 0);
}

static bool is_found(struct framework_end end, int rule)
{
    return rule == HANGS ? end.detached && !end.in_time && !end.came_back
                         : end.in_time && end.code == FOUND + (DWORD)rule;
}

static void wrong_managers_that_hang_are_found_by_a_watchdog(void **state)
{
    struct framework_process children[ARRAYSIZE(wrong_processes)];
    unsigned missed = 0;
    (void)state;
    if (!framework_can_stop_threads()) {
        print_message(
            "not asked: VirtualQuery while x86 threads are stopped, which crashes Wine\n");
    }
    for (size_t i = 0; i < ARRAYSIZE(wrong_processes); i++) {
        char fault[16];
        snprintf(fault, sizeof(fault), "%d", wrong_processes[i].fault);
        children[i] = framework_start_process(PROFILE, fault, false);
    }
    for (size_t i = 0; i < ARRAYSIZE(wrong_processes); i++) {
        const struct wrong *wrong = &wrong_processes[i];
        struct framework_end end = framework_wait(&children[i], LIFE_MS, 3000);
        bool asked = wrong->fault != QUERIES_UNDER_LOCK || framework_can_stop_threads();
        if (asked && !is_found(end, wrong->rule)) {
            print_error("%s: %s, code %lu, not %d\n", wrong->name,
                        end.in_time ? "ended" : "was ended", end.code, wrong->rule);
            missed++;
        }
    }
    assert_int_equal(missed, 0);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_wrong_manager_is_found),
        cmocka_unit_test(wrong_managers_that_hang_are_found_by_a_watchdog),
    };
    if (argc == 7 && strcmp(argv[1], "session") == 0) {
        wrong_choose((enum fault)atoi(argv[3]));
        return framework_child(argv, &wrong_disguise);
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
