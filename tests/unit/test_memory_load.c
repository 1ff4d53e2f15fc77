/* SPDX-License-Identifier: MIT
 *
 * The memory load is the worst of the machine's, the job's and the budget's, and never a pair of
 * numbers that cannot be (trap 31).
 */
#include "support/fake_os.h"
#include "support/unit.h"

#include "core/limits/memory_load.h"

#define MEGA ((uint64_t)1 << 20)

static struct fake_os fake;
static struct budget budget;

static int set_up(void **state)
{
    (void)state;
    fake_os_init_default(&fake);
    budget_init(&budget);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    return fake_os_destroy(&fake) == 0 ? 0 : -1;
}

static void machine(uint32_t percent, uint64_t available)
{
    fake.load_percent = percent;
    fake.available = available;
}

static void limit(size_t commit, size_t charged)
{
    budget_set_limits(&budget, &(struct budget_limits){.commit = SIZE_MAX, .reserve = SIZE_MAX});
    budget_give_back(&budget, 0, usage_current(&budget.commit.used));
    assert_int_equal(budget_take(&budget, 0, charged, BUDGET_TASK), OS_OK);
    budget_set_limits(&budget, &(struct budget_limits){.commit = commit, .reserve = SIZE_MAX});
}

static void assert_load(uint32_t percent, uint64_t available)
{
    struct memory_load load = {POISON, POISON};
    assert_int_equal(memory_load_get(&fake.os, &budget, &load), OS_OK);
    assert_int_equal(load.percent, percent);
    assert_int_equal(load.available, available);
}

static void assert_within(uint64_t bound, uint64_t used, uint32_t percent, uint64_t available)
{
    struct memory_load none = {0, UINT64_MAX};
    struct memory_load load = memory_load_within(none, (struct memory_bound){bound, used});
    assert_int_equal(load.percent, percent);
    assert_int_equal(load.available, available);
}

/* ---- numbers ---- */

static void percents_are_rounded_down(void **state)
{
    (void)state;
    assert_within(100, 0, 0, 100);
    assert_within(1000, 9, 0, 991);
    assert_within(1000, 10, 1, 990);
    assert_within(1000, 999, 99, 1);
    assert_within(3, 2, 66, 1);
    assert_within(1, 0, 0, 1);
}

static void a_full_or_exceeded_bound_is_100_and_nothing_left(void **state)
{
    (void)state;
    assert_within(1000, 1000, 100, 0);
    assert_within(1000, 1001, 100, 0);
    assert_within(1000, UINT64_MAX, 100, 0);
    assert_within(0, 0, 100, 0);
    assert_within(0, 5, 100, 0);
}

static void no_bound_changes_nothing(void **state)
{
    (void)state;
    assert_within(MEMORY_UNBOUNDED, 0, 0, UINT64_MAX);
    assert_within(MEMORY_UNBOUNDED, UINT64_MAX, 0, UINT64_MAX);
}

static void huge_numbers_do_not_overflow(void **state)
{
    const uint64_t huge = UINT64_MAX - 1;
    (void)state;
    assert_within(huge, huge - 1, 99, 1);
    assert_within(huge, huge / 2, 49, huge - huge / 2);
    assert_within(huge, UINT64_MAX / 100, 0, huge - UINT64_MAX / 100);
    assert_within(huge, UINT64_MAX / 100 + 1, 1, huge - UINT64_MAX / 100 - 1);
    assert_within(UINT64_MAX / 100 + 2, UINT64_MAX / 100 + 1, 99, 1);
    for (uint64_t bound = 1; bound < UINT64_MAX / 2; bound *= 2) {
        assert_within(bound, bound, 100, 0);
        assert_within(bound * 2, bound, bound > UINT64_MAX / 100 ? 49 : 50, bound);
    }
}

static void nothing_available_is_a_load_of_100(void **state)
{
    struct memory_load load = {50, 0};
    (void)state;
    load = memory_load_within(load, (struct memory_bound){.limit = MEMORY_UNBOUNDED});
    assert_int_equal(load.percent, 100);
    machine(20, 0);
    assert_load(100, 0);
    machine(180, 5000); /* no machine says so */
    assert_load(100, 5000);
}

/* ---- machine, job, budget ---- */

static void without_limits_it_is_the_machine(void **state)
{
    (void)state;
    machine(40, 9000 * MEGA);
    limit(BUDGET_UNLIMITED, 123456);
    assert_load(40, 9000 * MEGA);
    machine(0, UINT64_MAX);
    assert_load(0, UINT64_MAX);
}

static void the_worst_of_all_counts(void **state)
{
    (void)state;
    machine(40, 9000 * MEGA);
    limit(64 * MIB, 48 * MIB);
    assert_load(75, 16 * MEGA);
    machine(90, 10 * MEGA);
    assert_load(90, 10 * MEGA);
    machine(90, 9000 * MEGA); /* each number from where it is worst */
    assert_load(90, 16 * MEGA);
    fake.job_limit = 500 * MEGA;
    fake.job_used = 475 * MEGA;
    assert_load(95, 16 * MEGA);
    fake.job_used = 495 * MEGA;
    assert_load(99, 5 * MEGA);
    limit(64 * MIB, 64 * MIB);
    assert_load(100, 0);
}

static void a_budget_that_is_overdrawn_or_was_lowered_is_full(void **state)
{
    (void)state;
    limit(10 * MIB, 11 * MIB);
    assert_load(100, 0);
    limit(1, 11 * MIB);
    assert_load(100, 0);
}

/* A collection's next request would be refused. */
static void a_budget_is_full_where_its_emergency_part_begins(void **state)
{
    const size_t emergency = 4 * MIB;
    (void)state;
    limit(20 * MIB, 12 * MIB);
    budget_set_limits(
        &budget,
        &(struct budget_limits){.commit = 20 * MIB, .emergency = emergency, .reserve = SIZE_MAX});
    machine(10, 9000 * MEGA);
    assert_load(75, 4 * MEGA);
    assert_int_equal(budget_take(&budget, 0, 4 * MIB, BUDGET_TASK), OS_OK);
    assert_load(100, 0);
    assert_int_equal(budget_take(&budget, 0, 4 * MIB, BUDGET_PROCESS), OS_OK);
    assert_load(100, 0);
}

static void a_job_alone_counts_too(void **state)
{
    (void)state;
    machine(10, 9000 * MEGA);
    fake.job_limit = 100 * MEGA;
    fake.job_used = 101 * MEGA;
    assert_load(100, 0);
    fake.job_limit = UINT64_MAX - 1;
    assert_load(10, 9000 * MEGA);
}

static void the_machine_s_failure_is_reported_and_nothing_written(void **state)
{
    struct memory_load load = {77, 78};
    (void)state;
    fake_os_fail(&fake, FAKE_MEMORY_LOAD, 1);
    assert_int_equal(memory_load_get(&fake.os, &budget, &load), fake.fail_error);
    assert_int_equal(load.percent, 77);
    assert_int_equal(load.available, 78);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(percents_are_rounded_down),
        cmocka_unit_test(a_full_or_exceeded_bound_is_100_and_nothing_left),
        cmocka_unit_test(no_bound_changes_nothing),
        cmocka_unit_test(huge_numbers_do_not_overflow),
        cmocka_unit_test_setup_teardown(nothing_available_is_a_load_of_100, set_up, tear_down),
        cmocka_unit_test_setup_teardown(without_limits_it_is_the_machine, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_worst_of_all_counts, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_budget_that_is_overdrawn_or_was_lowered_is_full, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_budget_is_full_where_its_emergency_part_begins, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_job_alone_counts_too, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_machine_s_failure_is_reported_and_nothing_written,
                                        set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
