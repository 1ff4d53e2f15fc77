/* SPDX-License-Identifier: MIT
 *
 * Every combination of arguments of VirtualAlloc and VirtualFree, on a region of the manager's and
 * on its twin, which comes straight from Win32: result, LastError, the layout that VirtualQuery
 * finds, and whether what the manager counts is what VirtualQuery finds. Both sides are prepared
 * again only after a call that changed something, so the 492,800 cases (443,520 on x86) take
 * seconds.
 *
 * A second pass makes the same calls with 64 KiB left to the limit, tries after each one that
 * succeeds to commit whatever is within reach, and adds up what VirtualQuery finds.
 */
#include "contract/argument_matrix.h"

#include <string.h>

#define ROOM ((SIZE_T)64 * 1024) /* what the limit of the second pass leaves */
#define SHOWN 20                 /* differences */

/* ---- both sides compared ---- */

static struct side ours, twin;
static struct side untouched; /* the pictures of a side that is prepared */
static unsigned long differences;

/* Where the manager answers otherwise than Win32, and why. It refuses, and nothing has changed. */
enum reason { OUTSIDE, INSIDE, RESET, WRAPS, UNEXPLAINED };
static const char *const reasons[] = {
    [OUTSIDE] = "VirtualFree of what is in no region is HOST_E_INVALIDOPERATION with "
                "ERROR_INVALID_ADDRESS, whatever else is wrong: the hosting interface wants it",
    [INSIDE] = "VirtualFree(MEM_RELEASE) behind the first page of a region: likewise",
    [RESET] = "MEM_RESET or MEM_RESET_UNDO with other flags is ERROR_INVALID_PARAMETER, as Windows "
              "documents; Wine has several answers",
    [WRAPS] = "VirtualFree of a range past the address space is ERROR_INVALID_PARAMETER, as on "
              "Windows; in Wine it wraps and succeeds",
};
static unsigned long explained[UNEXPLAINED];

static bool refused_with(HRESULT hr, DWORD error)
{
    return ours.answer.hr == hr && ours.answer.error == error;
}

static enum reason reason_of(const struct call *call)
{
    const DWORD resets = MEM_RESET | MEM_RESET_UNDO;
    bool inside = call->address >= AT_BASE && call->address <= AT_LAST;
    if (call->frees && twin.answer.hr != S_OK &&
        refused_with(HOST_E_INVALIDOPERATION, ERROR_INVALID_ADDRESS)) {
        if (!inside) {
            return OUTSIDE;
        }
        return call->type == MEM_RELEASE && call->address >= AT_PAGE_1 ? INSIDE : UNEXPLAINED;
    }
    if (!known_wine_gap() ||
        !refused_with(hr_of_win32(ERROR_INVALID_PARAMETER), ERROR_INVALID_PARAMETER)) {
        return UNEXPLAINED;
    }
    if (call->frees) {
        bool known = call->type == MEM_DECOMMIT || call->type == MEM_RELEASE;
        return known && call->size >= SIZE_MAX - PAGE ? WRAPS : UNEXPLAINED;
    }
    bool combined =
        (call->type & resets) != 0 && call->type != MEM_RESET && call->type != MEM_RESET_UNDO;
    return combined ? RESET : UNEXPLAINED;
}

static bool same_answer(void)
{
    return ours.answer.hr == twin.answer.hr && ours.answer.error == twin.answer.error;
}

/* Relative to the allocation that was made, or else to the region. */
static bool same_result(void)
{
    if (ours.answer.hr != S_OK || twin.answer.hr != S_OK) {
        return ours.answer.hr == S_OK || ours.answer.memory == NULL;
    }
    char *from = ours.created.count != 0 ? ours.created_base : ours.base;
    char *twin_from = twin.created.count != 0 ? twin.created_base : twin.base;
    return ours.answer.memory - from == twin.answer.memory - twin_from;
}

static bool same_place(const struct call *call)
{
    return call->address == AT_NULL || ours.created.count == 0 || twin.created.count == 0 ||
           ours.created_base - ours.base == twin.created_base - twin.base;
}

static bool same_picture(const struct picture *left, const struct picture *right)
{
    return left->count == right->count &&
           memcmp(left->runs, right->runs, left->count * sizeof(left->runs[0])) == 0;
}

static bool counted(SIZE_T reserved, SIZE_T committed)
{
    HOSTMEM_STATISTICS counts = {.Size = sizeof(counts)};
    assert_int_equal(IHostMemoryStatistics_GetStatistics(ours.statistics, &counts), S_OK);
    return counts.ReserveCurrentBytes == reserved && counts.CommitCurrentBytes == committed;
}

/* The first difference, or NULL. `count` and `released` are what was found before the memory that
 * the call made was given back, and when it was. */
static const char *difference(const struct call *call, bool count, bool released)
{
    const struct side *right = &twin;
    if (!same_answer()) {
        enum reason reason = reason_of(call);
        if (reason == UNEXPLAINED) {
            return "the answers differ";
        }
        explained[reason]++;
        right = &untouched;
    } else if (!call->frees && (!same_result() || !same_place(call))) {
        return "the results differ";
    }
    if (!same_picture(&ours.region, &right->region)) {
        return "the regions differ";
    }
    if (!same_picture(&ours.created, &right->created)) {
        return "the new allocations differ";
    }
    if (!count) {
        return "the manager does not count what VirtualQuery finds";
    }
    return released ? NULL : "the manager does not take back what it has made";
}

static void print_answer(const char *name, const struct answer *answer)
{
    print_error("  %s %#lx", name, (unsigned long)answer->hr);
    print_error(answer->error == UNCHANGED ? ", LastError unchanged" : ", LastError %lu",
                answer->error);
}

/* Whether to show a difference: one for each set of flags, or a fault would fill the screen. */
static bool is_shown(const struct call *call, const char *what, unsigned long number)
{
    static unsigned shown;
    static struct call last;
    static const char *last_what;
    if (number == 1) {
        shown = 0;
    } else if (call->frees == last.frees && call->type == last.type && what == last_what) {
        return false;
    }
    last = *call;
    last_what = what;
    return ++shown <= SHOWN;
}

static void report(const struct call *call, const char *what)
{
    if (is_shown(call, what, ++differences)) {
        print_call(call);
        print_error(": %s\n", what);
        print_answer("Win32:", &twin.answer);
        print_answer("manager:", &ours.answer);
        print_error("\n");
    }
}

/* One side's new memory is gone before the other's is made: two huge ones have no place at once.
 * The manager goes first, as in pairs.c. */
static void compare_call(const struct call *call)
{
    const DWORD all = MEM_RESERVE | MEM_COMMIT;
    side_make_call(&ours, call);
    bool count = counted(bytes_in_state(&ours.region, all) + bytes_in_state(&ours.created, all),
                         bytes_in_state(&ours.region, MEM_COMMIT) +
                             bytes_in_state(&ours.created, MEM_COMMIT));
    bool released = side_release_created(&ours);
    side_make_call(&twin, call);
    side_release_created(&twin);
    const char *what = difference(call, count, released);
    if (what != NULL) {
        report(call, what);
    }
    if (what != NULL || !ours.prepared || !twin.prepared) {
        side_prepare(&ours);
        side_prepare(&twin);
    }
    if (!counted(REGION_BYTES, COMMITTED_BYTES)) { /* what it gave back was not what it had taken */
        if (what == NULL) {
            report(call, "the count does not come back");
        }
        side_renew_manager(&ours, 0);
        side_prepare(&ours);
    }
}

static void every_combination_is_answered_and_counted_as_win32_does_it(void **state)
{
    (void)state;
    side_renew_manager(&ours, 0);
    side_prepare(&ours);
    side_prepare(&twin);
    take_picture(&untouched.region, twin.base, REGION_BYTES);
    unsigned long cases = for_each_call(compare_call);
    for (int i = 0; i < UNEXPLAINED; i++) {
        print_message("%lu cases differ on purpose: %s.\n", explained[i], reasons[i]);
    }
    print_message("%lu cases, %lu unexplained differences\n", cases, differences);
    side_destroy(&ours);
    side_destroy(&twin);
    assert_int_equal(differences, 0);
}

/* ---- the limit ---- */

static unsigned long passed_limit, succeeded;

/* Commits whatever is within reach; returns what VirtualQuery finds committed then. */
static SIZE_T commit_more(struct side *side)
{
    struct picture fresh = {.count = 0};
    if (side->created.count != 0) {
        SIZE_T size = side->created.size < MIB ? side->created.size : MIB;
        side_alloc(side, side->created_base, size, MEM_COMMIT, PAGE_READWRITE);
        take_picture(&side->created, side->created_base, side->created.size);
    }
    side_alloc(side, side->base, REGION_BYTES, MEM_COMMIT, PAGE_READWRITE);
    take_picture(&side->region, side->base, REGION_BYTES);
    char *memory = side_alloc(side, NULL, ROOM, MEM_RESERVE | MEM_COMMIT, PAGE_READWRITE).memory;
    if (memory != NULL) {
        take_picture(&fresh, memory, ROOM);
        side_free(side, memory, 0, MEM_RELEASE);
    }
    return bytes_in_state(&side->region, MEM_COMMIT) + bytes_in_state(&side->created, MEM_COMMIT) +
           bytes_in_state(&fresh, MEM_COMMIT);
}

static void try_to_pass(const struct call *call)
{
    side_make_call(&ours, call);
    if (ours.prepared) {
        return; /* refused */
    }
    succeeded++;
    SIZE_T committed = commit_more(&ours);
    if (committed > COMMITTED_BYTES + ROOM && is_shown(call, "limit", ++passed_limit)) {
        print_call(call);
        print_error(": %llu KiB are committed under a limit of %llu KiB\n",
                    (unsigned long long)committed / 1024,
                    (unsigned long long)(COMMITTED_BYTES + ROOM) / 1024);
    }
    side_release_created(&ours);
    side_prepare(&ours);
    if (!counted(REGION_BYTES, COMMITTED_BYTES)) {
        side_renew_manager(&ours, COMMITTED_BYTES + ROOM);
        side_prepare(&ours);
    }
}

static void no_combination_passes_the_limit(void **state)
{
    (void)state;
    side_renew_manager(&ours, COMMITTED_BYTES + ROOM);
    side_prepare(&ours);
    unsigned long cases = for_each_call(try_to_pass);
    print_message("%lu cases under a limit, %lu succeeded, %lu passed it\n", cases, succeeded,
                  passed_limit);
    side_destroy(&ours);
    assert_int_not_equal(succeeded, 0);
    assert_int_equal(passed_limit, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_combination_is_answered_and_counted_as_win32_does_it),
        cmocka_unit_test(no_combination_passes_the_limit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
