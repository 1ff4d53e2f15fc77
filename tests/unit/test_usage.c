/* SPDX-License-Identifier: MIT
 *
 * A usage knows what is in use and the most that ever was.
 */
#include "support/unit.h"

#include "core/limits/usage.h"

static void current_is_what_was_added_less_what_was_taken_off(void **state)
{
    struct usage usage = {0};
    (void)state;
    usage_add(&usage, 4096);
    usage_add(&usage, 8192);
    usage_subtract(&usage, 4096);
    assert_int_equal(usage_current(&usage), 8192);
    usage_subtract(&usage, 8192);
    assert_int_equal(usage_current(&usage), 0);
}

static void peak_stays_when_current_falls_and_moves_only_beyond_it(void **state)
{
    struct usage usage = {0};
    (void)state;
    assert_int_equal(usage_peak(&usage), 0);
    usage_add(&usage, 100);
    usage_subtract(&usage, 60);
    assert_int_equal(usage_peak(&usage), 100);
    usage_add(&usage, 59);
    assert_int_equal(usage_peak(&usage), 100);
    usage_add(&usage, 2);
    assert_int_equal(usage_peak(&usage), 101);
}

static void adding_nothing_changes_nothing(void **state)
{
    struct usage usage = {0};
    (void)state;
    usage_add(&usage, 7);
    usage_add(&usage, 0);
    usage_subtract(&usage, 0);
    assert_int_equal(usage_current(&usage), 7);
    assert_int_equal(usage_peak(&usage), 7);
}

static void counts_the_whole_address_space(void **state)
{
    struct usage usage = {0};
    (void)state;
    usage_add(&usage, SIZE_MAX);
    assert_true(usage_current(&usage) == SIZE_MAX);
    assert_true(usage_peak(&usage) == SIZE_MAX);
    usage_subtract(&usage, SIZE_MAX);
    assert_int_equal(usage_current(&usage), 0);
}

static void nothing_is_taken_off_that_is_not_there(void **state)
{
    struct usage usage = {0};
    (void)state;
    assert_false(usage_subtract(&usage, 1));
    usage_add(&usage, 7);
    assert_false(usage_subtract(&usage, 8));
    assert_false(usage_subtract(&usage, SIZE_MAX));
    assert_int_equal(usage_current(&usage), 7);
    assert_true(usage_subtract(&usage, 7));
    assert_int_equal(usage_current(&usage), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(current_is_what_was_added_less_what_was_taken_off),
        cmocka_unit_test(peak_stays_when_current_falls_and_moves_only_beyond_it),
        cmocka_unit_test(adding_nothing_changes_nothing),
        cmocka_unit_test(counts_the_whole_address_space),
        cmocka_unit_test(nothing_is_taken_off_that_is_not_there),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
