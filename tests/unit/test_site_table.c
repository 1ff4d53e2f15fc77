/* SPDX-License-Identifier: MIT
 *
 * A site is one file and line, made once and in order; without room there is no site, and nothing
 * else goes wrong.
 */
#include "support/fake_os.h"
#include "support/unit.h"

#include "core/heap/site_table.h"

#include <string.h>

static struct fake_os fake;
static struct table_memory memory;
static struct site_table sites;

static int set_up(void **state)
{
    (void)state;
    fake_os_init_default(&fake);
    memory = (struct table_memory){.os = &fake.os};
    site_table_init(&sites, &memory);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    site_table_destroy(&sites);
    return usage_current(&memory.committed) == 0 && fake_os_destroy(&fake) == 0 ? 0 : -1;
}

static void one_file_and_line_is_one_site(void **state)
{
    char name[] = "a.cpp";
    (void)state;
    uint32_t number = site_table_get(&sites, name, 7);
    assert_int_equal(number, 1);
    assert_int_equal(site_table_get(&sites, "a.cpp", 7), number);
    assert_int_equal(site_table_get(&sites, "a.cpp", 8), 2);
    assert_int_equal(site_table_get(&sites, "b.cpp", 7), 3);
    const struct alloc_site *site = site_table_at(&sites, number);
    assert_int_equal(site->line, 7);
    name[0] = 'x'; /* the name was copied */
    assert_string_equal(site->file, "a.cpp");
}

static void a_block_without_a_file_name_has_a_site_too(void **state)
{
    (void)state;
    uint32_t number = site_table_get(&sites, NULL, 1);
    assert_string_equal(site_table_at(&sites, number)->file, "?");
    assert_int_equal(site_table_get(&sites, NULL, 1), number);
}

static void sites_come_in_the_order_they_were_made(void **state)
{
    (void)state;
    assert_null(site_table_at(&sites, 1));
    for (uint32_t line = 0; line < 2000; line++) {
        assert_int_equal(site_table_get(&sites, "file.cpp", line), line + 1);
        assert_int_equal(site_table_get(&sites, "file.cpp", line / 2), line / 2 + 1);
    }
    for (uint32_t line = 0; line < 2000; line++) {
        const struct alloc_site *site = site_table_at(&sites, line + 1);
        assert_int_equal(site->line, line);
        assert_int_equal(site->blocks, 0);
        assert_int_equal(site->bytes, 0);
    }
    assert_null(site_table_at(&sites, 2001));
    assert_null(site_table_at(&sites, UINT32_MAX));
    assert_null(site_table_at(&sites, 0));
}

static void without_memory_there_is_no_site_and_the_next_try_has_one(void **state)
{
    (void)state;
    for (int storage = 0; storage < 2; storage++) { /* of the sites, of their names */
        fake_os_fail(&fake, FAKE_TABLE_RESERVE, 1);
        assert_int_equal(site_table_get(&sites, "a.cpp", 1), 0);
        fake_os_fail(&fake, FAKE_TABLE_COMMIT, 1);
        assert_int_equal(site_table_get(&sites, "a.cpp", 1), 0);
        assert_null(site_table_at(&sites, 1));
    }
    assert_int_equal(site_table_get(&sites, "a.cpp", 1), 1);
}

static void a_table_that_is_full_of_names_still_knows_its_sites(void **state)
{
    static char name[1 << 20];
    uint32_t made = 0;
    (void)state;
    memset(name, 'n', sizeof(name) - 1);
    while (site_table_get(&sites, name, made) != 0) {
        assert_true(made++ < 100);
    }
    assert_int_equal(made, 12); /* of a MiB each, in 12 MiB */
    assert_int_equal(site_table_get(&sites, name, 0), 1);
    assert_int_equal(site_table_get(&sites, "", 1), 0);
}

static void there_are_as_many_sites_as_a_header_has_numbers(void **state)
{
    (void)state;
    for (uint32_t line = 1; line <= UINT16_MAX; line++) {
        /* Few share a bucket: the hash of a line is taken from its name here. */
        char name[8] = {(char)(line % 251 + 1), (char)(line / 251 % 251 + 1),
                        (char)(line / 63001 + 1)};
        assert_int_equal(site_table_get(&sites, name, line), line);
    }
    assert_int_equal(site_table_get(&sites, "one more", 1), 0);
    assert_non_null(site_table_at(&sites, UINT16_MAX));
}

static void a_table_that_was_never_used_has_nothing_to_give_back(void **state)
{
    (void)state;
    site_table_destroy(&sites);
    assert_int_equal(fake_os_calls(&fake), 0);
}

/* More sites on one line number than there are buckets: some share one. */
static void sites_that_share_a_bucket_are_told_apart_by_file_and_line(void **state)
{
    char name[] = "aa.c";
    (void)state;
    for (size_t round = 0; round < 2; round++) {
        for (uint32_t i = 0; i < 2 * SITE_BUCKETS; i++) {
            name[0] = (char)('a' + i % 26);
            name[1] = (char)('a' + i / 26);
            uint32_t number = site_table_get(&sites, name, 7);
            assert_int_equal(number, i + 1);
            assert_string_equal(site_table_at(&sites, number)->file, name);
        }
    }
    assert_null(site_table_at(&sites, 2 * SITE_BUCKETS + 1));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(one_file_and_line_is_one_site, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_block_without_a_file_name_has_a_site_too, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(sites_come_in_the_order_they_were_made, set_up, tear_down),
        cmocka_unit_test_setup_teardown(without_memory_there_is_no_site_and_the_next_try_has_one,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_table_that_is_full_of_names_still_knows_its_sites, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(there_are_as_many_sites_as_a_header_has_numbers, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_table_that_was_never_used_has_nothing_to_give_back,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(sites_that_share_a_bucket_are_told_apart_by_file_and_line,
                                        set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
