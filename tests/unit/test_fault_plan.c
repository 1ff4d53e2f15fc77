/* SPDX-License-Identifier: MIT
 *
 * The refusals on purpose: none unless asked for, the same for the same seed, as many as the rate
 * says, and only of requests that the rules are for.
 */
#include "support/unit.h"

#include "core/limits/fault_plan.h"

#define TASK (1u << BUDGET_TASK)
#define APP_DOMAIN (1u << BUDGET_APP_DOMAIN)
#define PROCESS (1u << BUDGET_PROCESS)
#define PAGES (1u << FAULT_PAGES)
#define BLOCK (1u << FAULT_BLOCK)

static struct fault_plan plan;

static void set(struct fault_rules rules)
{
    rules.levels = rules.levels != 0 ? rules.levels : TASK;
    rules.kinds = rules.kinds != 0 ? rules.kinds : PAGES;
    assert_true(fault_rules_valid(&rules));
    fault_plan_set(&plan, &rules);
}

static int set_up(void **state)
{
    (void)state;
    plan = (struct fault_plan){0};
    return 0;
}

static bool ask(void)
{
    return fault_plan_refuses(&plan, BUDGET_TASK, FAULT_PAGES, PAGE);
}

static unsigned refusals_of(unsigned requests)
{
    unsigned refusals = 0;
    for (unsigned i = 0; i < requests; i++) {
        refusals += ask();
    }
    return refusals;
}

static void without_rules_nothing_is_refused_or_numbered(void **state)
{
    (void)state;
    assert_int_equal(refusals_of(1000), 0);
    set((struct fault_rules){.numerator = 1, .denominator = 1});
    assert_int_equal(refusals_of(10), 10);
    fault_plan_set(&plan, &(struct fault_rules){0});
    assert_int_equal(refusals_of(1000), 0);
    assert_int_equal(atomic_load(&plan.numbers), 10);
    assert_int_equal(fault_plan_refused(&plan, BUDGET_TASK), 10);
}

static void the_same_seed_refuses_the_same_requests_and_another_seed_others(void **state)
{
    enum { REQUESTS = 4096 };
    static bool first[REQUESTS];
    unsigned differences = 0;
    (void)state;
    set((struct fault_rules){.seed = 7, .numerator = 1, .denominator = 8});
    for (int i = 0; i < REQUESTS; i++) {
        first[i] = ask();
    }
    set((struct fault_rules){.seed = 7, .numerator = 1, .denominator = 8}); /* from 1 again */
    for (int i = 0; i < REQUESTS; i++) {
        assert_int_equal(ask(), first[i]);
    }
    set((struct fault_rules){.seed = 8, .numerator = 1, .denominator = 8});
    for (int i = 0; i < REQUESTS; i++) {
        differences += ask() != first[i];
    }
    /* Of two independent plans with p = 1/8, 2 · 1/8 · 7/8 of all, 896 with a deviation of 26. */
    assert_in_range(differences, 896 - 5 * 26, 896 + 5 * 26);
}

static void these_are_the_first_refusals_of_seed_1(void **state)
{
    /* For ever: a seed that a user has noted down has to mean the same in the next version. */
    static const unsigned numbers[] = {99, 3056, 5790, 6438, 9267, 9936};
    unsigned found = 0;
    (void)state;
    set((struct fault_rules){.seed = 1, .numerator = 1, .denominator = 1000});
    for (unsigned n = 1; found < sizeof(numbers) / sizeof(numbers[0]); n++) {
        if (ask()) {
            assert_int_equal(n, numbers[found]);
            found++;
        }
    }
}

static void expect_rate(uint32_t numerator, uint32_t denominator, unsigned least, unsigned most)
{
    set((struct fault_rules){.seed = 3, .numerator = numerator, .denominator = denominator});
    assert_in_range(refusals_of(1000000), least, most);
}

static void of_a_million_requests_as_many_are_refused_as_the_rate_says(void **state)
{
    (void)state; /* five deviations, sqrt(10^6 · p · (1 - p)), to each side */
    expect_rate(1, 1, 1000000, 1000000);
    expect_rate(UINT32_MAX, UINT32_MAX, 1000000, 1000000);
    expect_rate(1, 2, 497500, 502500);
    expect_rate(2, 3, 664309, 669024);
    expect_rate(1, 1000, 842, 1158);
    expect_rate(1, UINT32_MAX, 0, 1);
    expect_rate(UINT32_MAX - 1, UINT32_MAX, 999999, 1000000);
}

static void only_the_levels_kinds_and_sizes_asked_for_are_refused_or_numbered(void **state)
{
    (void)state;
    for (uint32_t levels = 1; levels < 8; levels++) {
        for (uint32_t kinds = 1; kinds < 4; kinds++) {
            set((struct fault_rules){.numerator = 1,
                                     .denominator = 1,
                                     .levels = levels,
                                     .kinds = kinds,
                                     .minimum = 100});
            for (int level = 0; level < BUDGET_LEVELS; level++) {
                for (int kind = 0; kind <= FAULT_NOTHING; kind++) {
                    for (size_t bytes = 99; bytes < 102; bytes++) {
                        uint64_t numbers = atomic_load(&plan.numbers);
                        bool expected =
                            (levels >> level & 1) && (kinds >> kind & 1) && bytes >= 100;
                        assert_int_equal(fault_plan_refuses(&plan, (enum budget_level)level,
                                                            (enum fault_kind)kind, bytes),
                                         expected);
                        assert_int_equal(atomic_load(&plan.numbers), numbers + expected);
                    }
                }
            }
        }
    }
}

static void what_is_refused_is_counted_by_level_for_ever(void **state)
{
    (void)state;
    for (int round = 1; round <= 2; round++) {
        set((struct fault_rules){
            .numerator = 1, .denominator = 1, .levels = TASK | APP_DOMAIN | PROCESS});
        for (int level = 0; level < BUDGET_LEVELS; level++) {
            for (int i = 0; i <= level; i++) {
                fault_plan_refuses(&plan, (enum budget_level)level, FAULT_PAGES, 1);
            }
            assert_int_equal(fault_plan_refused(&plan, (enum budget_level)level),
                             round * (level + 1));
        }
    }
}

static void the_n_th_request_alone_can_be_refused(void **state)
{
    (void)state;
    for (unsigned n = 1; n <= 20; n++) {
        set((struct fault_rules){.numerator = 1, .denominator = 1, .skip = n - 1, .count = 1});
        for (unsigned i = 1; i <= 40; i++) {
            assert_int_equal(ask(), i == n);
        }
    }
}

static void after_the_last_refusal_it_is_over(void **state)
{
    (void)state;
    set((struct fault_rules){.seed = 9, .numerator = 1, .denominator = 10, .count = 5});
    assert_int_equal(refusals_of(10000), 5);
    set((struct fault_rules){.seed = 9, .numerator = 1, .denominator = 10, .skip = 9990});
    assert_int_equal(refusals_of(9990), 0);
    assert_in_range(refusals_of(1000), 50, 150);
}

static void rules_that_make_no_sense_are_known(void **state)
{
    static const struct fault_rules wrong[] = {
        {.numerator = 1, .denominator = 0, .levels = TASK, .kinds = PAGES},
        {.numerator = 3, .denominator = 2, .levels = TASK, .kinds = PAGES},
        {.numerator = 1, .denominator = 1, .levels = 0, .kinds = PAGES},
        {.numerator = 1, .denominator = 1, .levels = TASK, .kinds = 0},
        {.numerator = 1, .denominator = 1, .levels = 8, .kinds = PAGES},
        {.numerator = 1, .denominator = 1, .levels = TASK, .kinds = 4},
        {.levels = 0x80000000},
        {.kinds = 0x80000000},
    };
    static const struct fault_rules right[] = {
        {0},
        {.denominator = 5, .levels = TASK, .kinds = BLOCK},
        {.numerator = 1, .denominator = 1, .levels = 7, .kinds = 3, .skip = UINT64_MAX},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        assert_false(fault_rules_valid(&wrong[i]));
    }
    for (size_t i = 0; i < sizeof(right) / sizeof(right[0]); i++) {
        assert_true(fault_rules_valid(&right[i]));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(without_rules_nothing_is_refused_or_numbered, set_up),
        cmocka_unit_test_setup(the_same_seed_refuses_the_same_requests_and_another_seed_others,
                               set_up),
        cmocka_unit_test_setup(these_are_the_first_refusals_of_seed_1, set_up),
        cmocka_unit_test_setup(of_a_million_requests_as_many_are_refused_as_the_rate_says, set_up),
        cmocka_unit_test_setup(only_the_levels_kinds_and_sizes_asked_for_are_refused_or_numbered,
                               set_up),
        cmocka_unit_test_setup(what_is_refused_is_counted_by_level_for_ever, set_up),
        cmocka_unit_test_setup(the_n_th_request_alone_can_be_refused, set_up),
        cmocka_unit_test_setup(after_the_last_refusal_it_is_over, set_up),
        cmocka_unit_test_setup(rules_that_make_no_sense_are_known, set_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
