/* SPDX-License-Identifier: MIT
 *
 * What a table gets is usable to its last byte and counted; in debug builds the page behind it is
 * out of reach, so that a write past the end stops there.
 */
#include "support/fake_os.h"
#include "support/unit.h"

#include "core/pages/table_memory.h"

#include <string.h>
#ifdef _WIN32
#include <windows.h>
#else
#include <unistd.h>
#endif

/* Asks the system, which says no where a program would crash. */
static bool can_be_written(char *address)
{
#ifdef _WIN32
    return !IsBadWritePtr(address, 1);
#else
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    assert_int_equal(write(ends[1], "x", 1), 1);
    bool done = read(ends[0], address, 1) == 1;
    close(ends[0]);
    close(ends[1]);
    return done;
#endif
}

static struct fake_os fake;
static struct table_memory memory;

static int set_up(void **state)
{
    (void)state;
    fake_os_init_default(&fake);
    memory = (struct table_memory){.os = &fake.os};
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    return usage_current(&memory.committed) == 0 && fake_os_destroy(&fake) == 0 ? 0 : -1;
}

static void a_table_is_zero_usable_and_counted(void **state)
{
    static const char zero[3 * 4096];
    (void)state;
    char *table = table_memory_map(&memory, 3 * PAGE);
    assert_non_null(table);
    assert_int_equal(usage_current(&memory.committed), 3 * PAGE);
    assert_memory_equal(table, zero, 3 * PAGE);
    memset(table, 1, 3 * PAGE);
    assert_true(can_be_written(table + 3 * PAGE - 1));
    table_memory_release(&memory, table, 3 * PAGE);
}

static void a_table_that_grows_is_usable_as_far_as_it_has(void **state)
{
    (void)state;
    char *table = table_memory_reserve(&memory, 2 * PAGE);
    assert_non_null(table);
    assert_true(table_memory_commit(&memory, table, PAGE));
    assert_true(can_be_written(table + PAGE - 1));
    assert_false(can_be_written(table + PAGE));
    assert_true(table_memory_commit(&memory, table + PAGE, PAGE));
    assert_true(can_be_written(table + 2 * PAGE - 1));
    table_memory_release(&memory, table, 2 * PAGE);
}

#ifndef NDEBUG
/* Next to each other, and of sizes that fill their reservations. */
static void the_page_behind_a_table_is_out_of_reach(void **state)
{
    static const size_t sizes[] = {PAGE, 2 * PAGE, 16 * PAGE, 16 * PAGE, 48 * PAGE};
    char *tables[sizeof(sizes) / sizeof(sizes[0])];
    (void)state;
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        tables[i] = table_memory_map(&memory, sizes[i]);
        assert_non_null(tables[i]);
    }
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        assert_true(can_be_written(tables[i] + sizes[i] - 1));
        assert_false(can_be_written(tables[i] + sizes[i]));
    }
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        table_memory_release(&memory, tables[i], sizes[i]);
    }
}
#endif

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_table_is_zero_usable_and_counted, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_table_that_grows_is_usable_as_far_as_it_has, set_up,
                                        tear_down),
#ifndef NDEBUG
        cmocka_unit_test_setup_teardown(the_page_behind_a_table_is_out_of_reach, set_up, tear_down),
#endif
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
