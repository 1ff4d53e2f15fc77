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
    struct alloc_site *site = site_table_get(&sites, name, 7);
    assert_non_null(site);
    assert_ptr_equal(site_table_get(&sites, "a.cpp", 7), site);
    assert_ptr_not_equal(site_table_get(&sites, "a.cpp", 8), site);
    assert_ptr_not_equal(site_table_get(&sites, "b.cpp", 7), site);
    assert_int_equal(site->line, 7);
    name[0] = 'x'; /* the name was copied */
    assert_string_equal(site->file, "a.cpp");
}

static void a_block_without_a_file_name_has_a_site_too(void **state)
{
    (void)state;
    struct alloc_site *site = site_table_get(&sites, NULL, 1);
    assert_non_null(site);
    assert_string_equal(site->file, "?");
    assert_ptr_equal(site_table_get(&sites, NULL, 1), site);
}

static void sites_come_in_the_order_they_were_made(void **state)
{
    const struct alloc_site *site = NULL;
    (void)state;
    assert_null(site_table_next(&sites, NULL));
    for (uint64_t line = 0; line < 2000; line++) {
        assert_non_null(site_table_get(&sites, "file.cpp", line));
        assert_non_null(site_table_get(&sites, "file.cpp", line / 2));
    }
    for (uint64_t line = 0; line < 2000; line++) {
        site = site_table_next(&sites, site);
        assert_int_equal(site->line, line);
        assert_int_equal(usage_current(&site->blocks), 0);
    }
    assert_null(site_table_next(&sites, site));
}

static void without_memory_there_is_no_site_and_the_next_try_has_one(void **state)
{
    (void)state;
    fake_os_fail(&fake, FAKE_TABLE_RESERVE, 1);
    assert_null(site_table_get(&sites, "a.cpp", 1));
    fake_os_fail(&fake, FAKE_TABLE_COMMIT, 1);
    assert_null(site_table_get(&sites, "a.cpp", 1));
    assert_null(site_table_next(&sites, NULL));
    assert_non_null(site_table_get(&sites, "a.cpp", 1));
}

static void a_full_table_still_knows_the_sites_it_has(void **state)
{
    static char name[1 << 20];
    size_t made = 0;
    (void)state;
    memset(name, 'n', sizeof(name) - 1);
    struct alloc_site *first = site_table_get(&sites, name, 0);
    while (site_table_get(&sites, name, ++made) != NULL) {
        assert_true(made < 100);
    }
    assert_int_equal(made, 15); /* of a MiB each, with their fields, in 16 MiB */
    assert_ptr_equal(site_table_get(&sites, name, 0), first);
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
    struct alloc_site *made[2 * SITE_BUCKETS];
    char name[] = "aa.c";
    (void)state;
    for (size_t round = 0; round < 2; round++) {
        for (size_t i = 0; i < 2 * SITE_BUCKETS; i++) {
            name[0] = (char)('a' + i % 26);
            name[1] = (char)('a' + i / 26);
            struct alloc_site *site = site_table_get(&sites, name, 7);
            assert_non_null(site);
            assert_string_equal(site->file, name);
            assert_true(round == 0 || site == made[i]);
            made[i] = site;
        }
    }
    struct alloc_site *site = NULL;
    for (size_t i = 0; i < 2 * SITE_BUCKETS; i++) {
        site = site_table_next(&sites, site);
        assert_ptr_equal(site, made[i]); /* each once, in the order they were made */
    }
    assert_null(site_table_next(&sites, site));
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
        cmocka_unit_test_setup_teardown(a_full_table_still_knows_the_sites_it_has, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_table_that_was_never_used_has_nothing_to_give_back,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(sites_that_share_a_bucket_are_told_apart_by_file_and_line,
                                        set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
