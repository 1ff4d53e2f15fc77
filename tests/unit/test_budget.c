/* SPDX-License-Identifier: MIT
 *
 * The budget never grants a byte beyond a limit, keeps its emergency part for those it is meant for,
 * and changes nothing when it refuses (traps 10 to 12).
 */
#include "support/unit.h"

#include "core/limits/budget.h"

#include <string.h>

#define L (64 * MIB)
#define E (8 * MIB)

static struct budget budget;

static int set_up(void **state)
{
    (void)state;
    budget_init(&budget);
    return 0;
}

static void limit(size_t commit, size_t emergency, bool overdraft)
{
    struct budget_limits limits = {commit, emergency, BUDGET_UNLIMITED, overdraft};
    budget_set_limits(&budget, &limits);
}

static size_t used(void)
{
    return usage_current(&budget.commit.used);
}

static bool commit(size_t bytes, enum budget_level level)
{
    return budget_take(&budget, 0, bytes, level) == OS_OK;
}

static bool reserve(size_t bytes, enum budget_level level)
{
    return budget_take(&budget, bytes, 0, level) == OS_OK;
}

/* Charge page by page until it is refused; how far that went. */
static size_t fill(enum budget_level level)
{
    while (commit(PAGE, level)) {
    }
    return used();
}

static void without_limits_everything_is_granted(void **state)
{
    (void)state;
    assert_true(commit(SIZE_MAX / 2, BUDGET_TASK));
    assert_true(commit(SIZE_MAX / 2, BUDGET_TASK));
    assert_true(reserve(SIZE_MAX / 2, BUDGET_TASK));
    assert_int_equal(budget_overdraft(&budget), 0);
}

static void each_level_stops_at_its_own_step_of_the_ladder(void **state)
{
    (void)state;
    limit(L, E, false);
    assert_int_equal(fill(BUDGET_TASK), 56 * MIB);
    assert_int_equal(fill(BUDGET_APP_DOMAIN), 60 * MIB);
    assert_int_equal(fill(BUDGET_PROCESS), 64 * MIB);
    assert_int_equal(usage_peak(&budget.commit.used), L);
    assert_int_equal(budget_overdraft(&budget), 0);
}

static void the_last_byte_is_granted_and_the_next_is_not(void **state)
{
    (void)state;
    limit(100, 0, false);
    assert_false(commit(101, BUDGET_PROCESS));
    assert_true(commit(100, BUDGET_TASK));
    assert_false(commit(1, BUDGET_PROCESS));
    assert_true(commit(0, BUDGET_TASK)); /* a re-commit at the limit */
    assert_int_equal(used(), 100);
}

static void a_refusal_changes_nothing(void **state)
{
    (void)state;
    limit(L, 0, false);
    assert_true(commit(MIB, BUDGET_TASK));
    assert_false(commit(SIZE_MAX, BUDGET_TASK));
    assert_false(commit(L, BUDGET_TASK));
    assert_int_equal(used(), MIB);
    assert_int_equal(usage_peak(&budget.commit.used), MIB);
    budget_give_back(&budget, 0, MIB);
    assert_int_equal(used(), 0);
}

static void only_process_critical_requests_overdraw_and_only_with_the_flag(void **state)
{
    (void)state;
    limit(L, E, true);
    assert_int_equal(fill(BUDGET_APP_DOMAIN), 60 * MIB);
    assert_true(commit(10 * MIB, BUDGET_PROCESS));
    assert_int_equal(budget_overdraft(&budget), 6 * MIB);
    assert_false(commit(1, BUDGET_APP_DOMAIN));
    limit(L, E, false);
    assert_false(commit(1, BUDGET_PROCESS));
}

static void a_limit_below_what_is_used_grants_nothing_until_enough_came_back(void **state)
{
    (void)state;
    assert_true(commit(10 * MIB, BUDGET_TASK));
    limit(4 * MIB, 0, false);
    assert_int_equal(budget_overdraft(&budget), 6 * MIB);
    assert_false(commit(1, BUDGET_PROCESS));
    budget_give_back(&budget, 0, 7 * MIB);
    assert_true(commit(MIB, BUDGET_TASK));
    assert_int_equal(used(), 4 * MIB);
}

static void an_emergency_part_as_large_as_the_limit_leaves_tasks_nothing(void **state)
{
    (void)state;
    limit(L, L + 1, false);
    assert_false(commit(1, BUDGET_TASK));
    assert_int_equal(fill(BUDGET_APP_DOMAIN), L / 2);
}

static void reserve_has_a_limit_of_its_own(void **state)
{
    struct budget_limits limits = {BUDGET_UNLIMITED, 0, 4 * MIB, true};
    (void)state;
    budget_set_limits(&budget, &limits);
    assert_true(reserve(4 * MIB, BUDGET_TASK));
    assert_false(reserve(1, BUDGET_PROCESS));
    assert_true(commit(GIB, BUDGET_TASK));
}

static void both_amounts_are_taken_or_neither(void **state)
{
    struct budget_limits limits = {2 * MIB, 0, 4 * MIB, false};
    (void)state;
    budget_set_limits(&budget, &limits);
    assert_int_equal(budget_take(&budget, 5 * MIB, MIB, BUDGET_TASK), HM_OVER_RESERVE);
    assert_int_equal(budget_take(&budget, 4 * MIB, 3 * MIB, BUDGET_TASK), HM_OVER_COMMIT);
    assert_int_equal(used(), 0);
    assert_int_equal(usage_current(&budget.reserve.used), 0);
    assert_int_equal(budget_take(&budget, 4 * MIB, 2 * MIB, BUDGET_TASK), OS_OK);
    budget_give_back(&budget, 4 * MIB, 2 * MIB);
    assert_int_equal(used(), 0);
    assert_int_equal(usage_current(&budget.reserve.used), 0);
}

static void the_largest_overdraft_is_remembered(void **state)
{
    (void)state;
    limit(L, 0, true);
    assert_int_equal(budget_take(&budget, 0, L, BUDGET_TASK), OS_OK);
    assert_int_equal(budget.overdraft_peak, 0);
    assert_int_equal(budget_take(&budget, 0, 3 * MIB, BUDGET_PROCESS), OS_OK);
    budget_give_back(&budget, 0, 2 * MIB);
    assert_int_equal(budget.overdraft_peak, 3 * MIB);
    assert_int_equal(budget_overdraft(&budget), MIB);
}

static void refusals_are_counted_by_level(void **state)
{
    (void)state;
    budget_deny(&budget.commit, BUDGET_APP_DOMAIN);
    budget_deny(&budget.commit, BUDGET_APP_DOMAIN);
    budget_deny(&budget.reserve, BUDGET_PROCESS);
    budget_deny(&budget.reserve, BUDGET_TASK);
    limit(L, E, false); /* which changes no count */
    assert_int_equal(budget.reserve.denied[BUDGET_TASK], 1);
    assert_int_equal(budget.commit.denied[BUDGET_TASK], 0);
    assert_int_equal(budget.commit.denied[BUDGET_APP_DOMAIN], 2);
    assert_int_equal(budget.reserve.denied[BUDGET_PROCESS], 1);
}

static void a_request_that_takes_nothing_is_granted_above_a_lowered_limit(void **state)
{
    (void)state;
    limit(L, 0, false);
    assert_int_equal(budget_take(&budget, L, L, BUDGET_TASK), OS_OK);
    limit(L / 2, 0, false);
    assert_true(commit(0, BUDGET_TASK));
    assert_int_equal(budget_take(&budget, 0, 0, BUDGET_TASK), OS_OK);
    assert_int_equal(budget_take(&budget, PAGE, 0, BUDGET_TASK), OS_OK);
    assert_int_equal(used(), L);
}

static void a_lowered_limit_is_no_overdraft_that_the_flag_has_granted(void **state)
{
    (void)state;
    limit(L, 0, false);
    assert_int_equal(budget_take(&budget, 0, L, BUDGET_TASK), OS_OK);
    limit(L / 2, 0, false);
    assert_int_equal(budget_take(&budget, PAGE, 0, BUDGET_PROCESS), OS_OK);
    limit(L / 2, 0, true);
    assert_int_equal(budget_take(&budget, PAGE, 0, BUDGET_PROCESS), OS_OK);
    assert_int_equal(budget_take(&budget, PAGE, 0, BUDGET_TASK), OS_OK);
    assert_int_equal(budget.overdraft_peak, 0);
    assert_int_equal(budget_take(&budget, 0, 1, BUDGET_PROCESS), OS_OK);
    assert_int_equal(budget.overdraft_peak, L / 2 + 1);
}

static void address_space_is_charged_in_whole_slots(void **state)
{
    struct budget_limits limits = {BUDGET_UNLIMITED, 0, 2 * BUDGET_SLOT, false};
    (void)state;
    budget_set_limits(&budget, &limits);
    assert_int_equal(budget_take(&budget, PAGE, 0, BUDGET_TASK), OS_OK);
    assert_int_equal(usage_current(&budget.reserve.used), BUDGET_SLOT);
    assert_int_equal(budget_take(&budget, BUDGET_SLOT + 1, 0, BUDGET_TASK), HM_OVER_RESERVE);
    assert_int_equal(budget_take(&budget, 1, 0, BUDGET_TASK), OS_OK);
    assert_int_equal(budget_take(&budget, 1, 0, BUDGET_PROCESS), HM_OVER_RESERVE);
    assert_int_equal(budget_take(&budget, SIZE_MAX - 1, 0, BUDGET_PROCESS), HM_OVER_RESERVE);
    budget_give_back(&budget, PAGE, 0);
    budget_give_back(&budget, 1, 0);
    assert_int_equal(usage_current(&budget.reserve.used), 0);
    assert_null(budget_broken(&budget));
}

static void what_is_there_is_counted_by_its_part(void **state)
{
    (void)state;
    assert_int_equal(budget_take(&budget, PAGE, PAGE, BUDGET_TASK), OS_OK);
    assert_non_null(budget_check(&budget)); /* it is under way */
    budget_added(&budget, BUDGET_PAGES, PAGE, PAGE);
    assert_null(budget_check(&budget));
    for (int part = BUDGET_HEAP; part < BUDGET_PARTS; part++) {
        assert_true(commit(MIB, BUDGET_TASK));
        budget_added(&budget, (enum budget_part)part, 0, MIB);
        assert_int_equal(usage_current(&budget.committed[part]), MIB);
        assert_null(budget_check(&budget));
    }
    assert_int_equal(usage_current(&budget.committed[BUDGET_PAGES]), PAGE);
    assert_int_equal(usage_current(&budget.reserved), PAGE);
    assert_int_equal(used(), 2 * MIB + PAGE);

    assert_true(commit(GIB, BUDGET_TASK));
    budget_give_back(&budget, 0, GIB); /* the OS has refused: no part has ever had it */
    budget_removed(&budget, BUDGET_PAGES, PAGE, PAGE);
    budget_removed(&budget, BUDGET_HEAP, 0, MIB);
    assert_false(budget_remove(&budget, BUDGET_FOREIGN, MIB + 1));
    assert_true(budget_remove(&budget, BUDGET_FOREIGN, MIB));
    assert_false(budget_remove(&budget, BUDGET_FOREIGN, 1));
    assert_null(budget_check(&budget));
    assert_int_equal(used(), 0);
    assert_int_equal(usage_peak(&budget.committed[BUDGET_PAGES]), PAGE);
    assert_int_equal(usage_peak(&budget.committed[BUDGET_FOREIGN]), MIB);
    assert_int_equal(usage_peak(&budget.reserved), PAGE);
}

/* As after a size that somebody has written over: nothing wraps, and the account says what is wrong. */
static void a_count_that_would_fall_below_zero_stays_and_breaks_the_budget(void **state)
{
    static const struct {
        enum budget_part part;
        bool is_there;
        size_t reserve, commit;
        const char *says;
    } cases[] = {
        {BUDGET_PAGES, false, 0, MIB + 1, "commit"},
        {BUDGET_PAGES, false, BUDGET_SLOT + 1, 0, "address space"},
        {BUDGET_PAGES, true, BUDGET_SLOT + 1, 0, "released"},
        {BUDGET_PAGES, true, 0, MIB + 1, "regions"},
        {BUDGET_HEAP, true, 0, MIB + 1, "heaps"},
        {BUDGET_FOREIGN, true, 0, MIB + 1, "others"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        budget_init(&budget);
        limit(L, 0, false);
        assert_int_equal(budget_take(&budget, BUDGET_SLOT, MIB, BUDGET_TASK), OS_OK);
        budget_added(&budget, cases[i].part, BUDGET_SLOT, MIB);
        assert_null(budget_check(&budget));
        if (cases[i].is_there) {
            budget_removed(&budget, cases[i].part, cases[i].reserve, cases[i].commit);
        } else {
            budget_give_back(&budget, cases[i].reserve, cases[i].commit);
        }
        assert_non_null(strstr(budget_broken(&budget), cases[i].says));
        assert_ptr_equal(budget_check(&budget), budget_broken(&budget));
        assert_int_equal(usage_current(&budget.committed[cases[i].part]), MIB);
        assert_int_equal(usage_current(&budget.reserved), BUDGET_SLOT);
        assert_int_equal(used(), MIB);
        assert_int_equal(usage_current(&budget.reserve.used), BUDGET_SLOT);
    }
}

/* The first reason stays: what follows may be its consequence. */
static void the_first_contradiction_is_the_one_that_is_told(void **state)
{
    (void)state;
    budget_give_back(&budget, 0, 1);
    const char *first = budget_broken(&budget);
    budget_removed(&budget, BUDGET_HEAP, 0, 1);
    assert_ptr_equal(budget_broken(&budget), first);
}

static void parts_that_are_not_the_sum_are_seen(void **state)
{
    (void)state;
    budget_added(&budget, BUDGET_HEAP, 0, 1);
    assert_non_null(strstr(budget_check(&budget), "sum of its parts"));
    budget_init(&budget);
    budget_added(&budget, BUDGET_PAGES, 1, 0);
    assert_non_null(strstr(budget_check(&budget), "address space"));
    assert_null(budget_broken(&budget));
}

static void what_can_never_fit_is_known(void **state)
{
    struct budget_limits limits = {L, E, 2 * BUDGET_SLOT, false};
    (void)state;
    budget_set_limits(&budget, &limits);
    assert_int_equal(budget_take(&budget, 0, L - E, BUDGET_TASK), OS_OK);
    assert_true(budget_can_fit(&budget, 0, L - E, BUDGET_TASK)); /* when all comes back */
    assert_false(budget_can_fit(&budget, 0, L - E + 1, BUDGET_TASK));
    assert_true(budget_can_fit(&budget, 0, L, BUDGET_PROCESS));
    assert_false(budget_can_fit(&budget, 0, L + 1, BUDGET_PROCESS));
    assert_true(budget_can_fit(&budget, BUDGET_SLOT + 1, 0, BUDGET_TASK));
    assert_false(budget_can_fit(&budget, 2 * BUDGET_SLOT + 1, 0, BUDGET_PROCESS));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(without_limits_everything_is_granted, set_up),
        cmocka_unit_test_setup(each_level_stops_at_its_own_step_of_the_ladder, set_up),
        cmocka_unit_test_setup(the_last_byte_is_granted_and_the_next_is_not, set_up),
        cmocka_unit_test_setup(a_refusal_changes_nothing, set_up),
        cmocka_unit_test_setup(only_process_critical_requests_overdraw_and_only_with_the_flag,
                               set_up),
        cmocka_unit_test_setup(a_limit_below_what_is_used_grants_nothing_until_enough_came_back,
                               set_up),
        cmocka_unit_test_setup(an_emergency_part_as_large_as_the_limit_leaves_tasks_nothing,
                               set_up),
        cmocka_unit_test_setup(reserve_has_a_limit_of_its_own, set_up),
        cmocka_unit_test_setup(both_amounts_are_taken_or_neither, set_up),
        cmocka_unit_test_setup(the_largest_overdraft_is_remembered, set_up),
        cmocka_unit_test_setup(refusals_are_counted_by_level, set_up),
        cmocka_unit_test_setup(a_request_that_takes_nothing_is_granted_above_a_lowered_limit,
                               set_up),
        cmocka_unit_test_setup(a_lowered_limit_is_no_overdraft_that_the_flag_has_granted, set_up),
        cmocka_unit_test_setup(address_space_is_charged_in_whole_slots, set_up),
        cmocka_unit_test_setup(what_is_there_is_counted_by_its_part, set_up),
        cmocka_unit_test_setup(a_count_that_would_fall_below_zero_stays_and_breaks_the_budget,
                               set_up),
        cmocka_unit_test_setup(the_first_contradiction_is_the_one_that_is_told, set_up),
        cmocka_unit_test_setup(parts_that_are_not_the_sum_are_seen, set_up),
        cmocka_unit_test_setup(what_can_never_fit_is_known, set_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
