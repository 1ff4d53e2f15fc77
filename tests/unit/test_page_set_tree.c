/* SPDX-License-Identifier: MIT
 *
 * When a page set becomes a tree and when it is one no longer, what a tree costs, and that the prepare of
 * a mark is the only step that can fail: a clear never needs memory.
 */
#include "unit/page_set_fixture.h"

static void the_fourth_run_brings_a_tree_and_the_last_page_takes_it_along(void **state)
{
    struct page_set set;
    (void)state;
    page_set_init(&set, LARGE, false, &pool);
    for (size_t round = 0; round < 2; round++) {
        for (size_t run = 0; run < 3; run++) {
            mark(&set, LARGE, 10 * run, 10 * run + 5);
        }
        assert_int_equal(set.form, PAGE_SET_KEEPS_RUNS);
        assert_int_equal(set.promised, 1); /* all in one leaf */
        assert_int_equal(nodes_taken(), 0);
        mark(&set, LARGE, LARGE - 1, LARGE);
        assert_int_equal(set.form, PAGE_SET_IS_TREE);
        assert_int_equal(nodes_taken(), 1);
        assert_int_equal(pool.promised, 0);
        ASSERT_RUNS(&set, LARGE, 0, 5, 10, 15, 20, 25, LARGE - 1, LARGE);
        clear(&set, LARGE, 0, LARGE - 1);
        assert_int_equal(set.form, PAGE_SET_IS_TREE); /* one page is left */
        ASSERT_RUNS(&set, LARGE, LARGE - 1, LARGE);
        clear(&set, LARGE, LARGE - 1, LARGE);
        assert_int_equal(set.form, PAGE_SET_KEEPS_RUNS);
        assert_int_equal(nodes_taken(), 0);
        assert_runs(&set, LARGE, NULL, 0);
    }
}

static void a_tree_is_as_large_as_what_is_in_it(void **state)
{
    const size_t pages = 200 * LEAF; /* three levels */
    struct page_set set;
    (void)state;
    page_set_init(&set, pages, false, &pool);
    for (size_t i = 0; i < 4; i++) {
        mark(&set, pages, 40 * i * LEAF, 40 * i * LEAF + 1);
    }
    assert_int_equal(nodes_taken(), 1 + 4 + 4);
    mark(&set, pages, LEAF - 1, LEAF + 1); /* a leaf more */
    assert_int_equal(nodes_taken(), 10);
    mark(&set, pages, 0, 16 * LEAF); /* a whole node of the second level */
    assert_int_equal(nodes_taken(), 1 + 4 + 16 + 3);
    clear(&set, pages, LEAF, 2 * LEAF);
    assert_int_equal(nodes_taken(), 1 + 4 + 15 + 3);
    clear(&set, pages, 40 * LEAF, 40 * LEAF + 1);
    assert_int_equal(nodes_taken(), 1 + 3 + 15 + 2);
    ASSERT_RUNS(&set, pages, 0, LEAF, 2 * LEAF, 16 * LEAF, 80 * LEAF, 80 * LEAF + 1, 120 * LEAF,
                120 * LEAF + 1);
    page_set_dispose(&set, pages, &pool);
}

static void a_clear_that_splits_the_third_run_brings_a_tree_too(void **state)
{
    struct page_set set;
    (void)state;
    page_set_init(&set, 100000, false, &pool);
    mark(&set, 100000, 0, 10);
    mark(&set, 100000, 20, 30);
    mark(&set, 100000, 40, 99999);
    clear(&set, 100000, 70000, 70001);
    assert_int_equal(set.form, PAGE_SET_IS_TREE);
    ASSERT_RUNS(&set, 100000, 0, 10, 20, 30, 40, 70000, 70001, 99999);
    assert_int_equal(page_set_count(&set, 100000, 69999, 70002), 2);
    page_set_dispose(&set, 100000, &pool);
    assert_int_equal(nodes_taken(), 0);
}

/* From now on the system has nothing for the tables. */
static struct fake_plan nothing_left = {.one_in = {
                                            [FAKE_TABLE_RESERVE] = 1,
                                            [FAKE_TABLE_COMMIT] = 1,
                                        }};

/* Marks until the pool has nothing left that is not promised. */
static void exhaust(struct page_set *other)
{
    size_t pages = 0;
    page_set_init(other, 1000 * LEAF, false, &pool);
    fake_os_follow(&fake, &nothing_left);
    for (struct page_change change;
         page_set_prepare_mark(other, 1000 * LEAF, pages, pages + LEAF, &pool, &change);
         pages += LEAF) {
        page_set_apply(other, 1000 * LEAF, &change, &pool);
    }
    assert_in_range(pool.free_count - pool.promised, 0, 1);
}

static void a_mark_that_gets_no_memory_leaves_the_set_as_it_was(void **state)
{
    struct page_change change;
    struct page_set set, other;
    (void)state;
    page_set_init(&set, 9 * LEAF, false, &pool);
    mark(&set, 9 * LEAF, 0, 1);
    mark(&set, 9 * LEAF, 10, 20);
    mark(&set, 9 * LEAF, 30, 40);
    exhaust(&other);
    size_t promised = pool.promised, bytes = table_bytes();
    for (size_t i = 0; i < 2; i++) {
        assert_false(page_set_prepare_mark(&set, 9 * LEAF, LEAF, 9 * LEAF, &pool, &change));
        assert_false(page_set_prepare_mark(&set, 9 * LEAF, 30, 9 * LEAF, &pool, &change));
        assert_int_equal(set.form, PAGE_SET_KEEPS_RUNS);
        ASSERT_RUNS(&set, 9 * LEAF, 0, 1, 10, 20, 30, 40);
        assert_int_equal(pool.promised, promised);
        assert_int_equal(table_bytes(), bytes);
    }
    clear(&set, 9 * LEAF, 12, 14); /* into a fourth run: a tree, with nothing left */
    assert_int_equal(set.form, PAGE_SET_IS_TREE);
    ASSERT_RUNS(&set, 9 * LEAF, 0, 1, 10, 12, 14, 20, 30, 40);
    assert_false(page_set_prepare_mark(&set, 9 * LEAF, LEAF, 9 * LEAF, &pool, &change));
    ASSERT_RUNS(&set, 9 * LEAF, 0, 1, 10, 12, 14, 20, 30, 40);
    fake_os_follow(&fake, NULL);
    mark(&set, 9 * LEAF, LEAF, 9 * LEAF);
    ASSERT_RUNS(&set, 9 * LEAF, 0, 1, 10, 12, 14, 20, 30, 40, LEAF, 9 * LEAF);
    page_set_dispose(&set, 9 * LEAF, &pool);
    page_set_dispose(&other, 1000 * LEAF, &pool);
}

static void a_mark_that_is_cancelled_gives_back_what_it_got(void **state)
{
    struct page_change change;
    struct page_set set;
    (void)state;
    page_set_init(&set, 500 * LEAF, false, &pool);
    for (size_t i = 0; i < 5; i++) { /* as runs, and from the fourth on as a tree */
        size_t promised = pool.promised, taken = nodes_taken();
        assert_true(page_set_prepare_mark(&set, 500 * LEAF, LEAF, 500 * LEAF, &pool, &change));
        assert_true(table_bytes() > PAGE_BLOCK_BYTES);
        page_set_cancel(&change, &pool);
        assert_sound(page_set_check(&set, 500 * LEAF));
        assert_int_equal(pool.promised, promised);
        assert_int_equal(nodes_taken(), taken);
        assert_int_equal(table_bytes(), PAGE_BLOCK_BYTES);
        mark(&set, 500 * LEAF, 2 * i, 2 * i + 1);
    }
    page_set_dispose(&set, 500 * LEAF, &pool);
}

/* A committed region that falls into as many pieces as it can, while there is no memory. */
static void every_second_page_can_be_given_back_without_memory(void **state)
{
    const size_t pages = 100 * LEAF;
    struct page_set set, other;
    (void)state;
    assert_true(page_set_init(&set, pages, true, &pool));
    exhaust(&other);
    size_t bytes = table_bytes();
    for (size_t page = 1; page < pages; page += 2) {
        struct page_change change;
        page_set_prepare_clear(&set, pages, page, page + 1, &change);
        page_set_apply(&set, pages, &change, &pool);
    }
    assert_sound(page_set_check(&set, pages));
    assert_int_equal(set.committed, pages / 2);
    assert_int_equal(page_set_count(&set, pages, 5, 10), 2);
    assert_int_equal(table_bytes(), bytes);
    for (size_t page = 0; page < pages; page += 2) {
        struct page_change change;
        page_set_prepare_clear(&set, pages, page, page + 1, &change);
        page_set_apply(&set, pages, &change, &pool);
    }
    assert_runs(&set, pages, NULL, 0);
    page_set_dispose(&other, 1000 * LEAF, &pool);
    fake_os_follow(&fake, NULL);
    assert_int_equal(table_bytes(), PAGE_BLOCK_BYTES);
}

/* Every second page of 1 GiB, one commit each, then one decommit each while there is no memory. */
static void every_second_page_can_be_committed_and_given_back(void **state)
{
    const size_t pages = GIB / PAGE;
    struct page_set set;
    (void)state;
    size_t before = table_bytes();
    page_set_init(&set, pages, false, &pool);
    for (size_t page = 0; page < pages; page += 2) {
        struct page_change change;
        assert_true(page_set_prepare_mark(&set, pages, page, page + 1, &pool, &change));
        page_set_apply(&set, pages, &change, &pool);
    }
    assert_sound(page_set_check(&set, pages));
    assert_int_equal(set.committed, pages / 2);
    assert_int_equal(nodes_taken(), PAGE_NODE_CHILDREN == 16 ? 1 + 16 + 256 : 1 + 8 + 256);
    fake_os_follow(&fake, &nothing_left);
    for (size_t page = 0; page < pages; page += 2) {
        struct page_change change;
        page_set_prepare_clear(&set, pages, page, page + 1, &change);
        page_set_apply(&set, pages, &change, &pool);
    }
    fake_os_follow(&fake, NULL);
    assert_runs(&set, pages, NULL, 0);
    assert_int_equal(table_bytes(), before);
}

#if UINTPTR_MAX > UINT32_MAX
/* Only the first 16 TiB of a region have page numbers that runs can keep. */
static void pages_behind_the_first_16_TiB_take_a_tree(void **state)
{
    const size_t pages = (size_t)PAGE_SET_MOST + 100;
    struct page_set set;
    (void)state;
    assert_true(page_set_init(&set, pages, false, &pool));
    mark(&set, pages, PAGE_SET_MOST - 10, PAGE_SET_MOST);
    assert_int_equal(set.form, PAGE_SET_KEEPS_RUNS);
    clear(&set, pages, PAGE_SET_MOST - 5, pages); /* a range may go on where no run can be */
    ASSERT_RUNS(&set, pages, PAGE_SET_MOST - 10, PAGE_SET_MOST - 5);
    assert_int_equal(set.form, PAGE_SET_KEEPS_RUNS);
    mark(&set, pages, PAGE_SET_MOST, (size_t)PAGE_SET_MOST + 1);
    assert_int_equal(set.form, PAGE_SET_IS_TREE);
    ASSERT_RUNS(&set, pages, PAGE_SET_MOST - 10, PAGE_SET_MOST - 5, PAGE_SET_MOST,
                (size_t)PAGE_SET_MOST + 1);
    assert_int_equal(table_bytes(), PAGE_BLOCK_BYTES);
    clear(&set, pages, 0, pages);
    assert_int_equal(set.form, PAGE_SET_KEEPS_RUNS);
}

/* 16 TiB of them are promised 600 MiB of nodes: that they are asked for is enough. */
static void no_set_has_more_than_16_TiB_of_pages(void **state)
{
    const size_t pages = (size_t)PAGE_SET_MOST + 1;
    struct page_set set;
    struct page_change change;
    (void)state;
    assert_false(page_set_init(&set, pages, true, &pool));
    assert_int_equal(fake_os_calls(&fake), calls_before);
    fake_os_fail(&fake, FAKE_TABLE_COMMIT, 1);
    assert_false(page_set_init(&set, PAGE_SET_MOST, true, &pool));
    assert_int_equal(fake.failed_kind, FAKE_TABLE_COMMIT);
    assert_runs(&set, PAGE_SET_MOST, NULL, 0);

    assert_true(page_set_init(&set, pages, false, &pool));
    mark(&set, pages, 7, 8);
    calls_before = fake_os_calls(&fake);
    assert_false(page_set_prepare_mark(&set, pages, 8, pages + 7, &pool, &change));
    assert_int_equal(fake_os_calls(&fake), calls_before);
    ASSERT_RUNS(&set, pages, 7, 8);
    page_set_dispose(&set, pages, &pool);
}

static size_t bytes_of_scattered_pages(size_t region_bytes, size_t count)
{
    const size_t pages = region_bytes / PAGE;
    struct page_set set;
    page_set_init(&set, pages, false, &pool);
    for (size_t i = 0; i < count; i++) {
        mark(&set, pages, pages / count * i, pages / count * i + 1);
    }
    size_t bytes = table_bytes();
    page_set_dispose(&set, pages, &pool);
    return bytes;
}

static void scattered_commits_cost_what_they_are_worth(void **state)
{
    (void)state;
    assert_int_equal(bytes_of_scattered_pages(256 * GIB, 4), PAGE_BLOCK_BYTES);
    assert_int_equal(bytes_of_scattered_pages(8192 * GIB, 4), PAGE_BLOCK_BYTES);
    assert_in_range(bytes_of_scattered_pages(256 * GIB, 1000), 256 * KIB, 336 * KIB);
    assert_in_range(bytes_of_scattered_pages(8192 * GIB, 1000), 256 * KIB, 512 * KIB);
}
#endif

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(the_fourth_run_brings_a_tree_and_the_last_page_takes_it_along),
        TEST(a_tree_is_as_large_as_what_is_in_it),
        TEST(a_clear_that_splits_the_third_run_brings_a_tree_too),
        TEST(a_mark_that_gets_no_memory_leaves_the_set_as_it_was),
        TEST(a_mark_that_is_cancelled_gives_back_what_it_got),
        TEST(every_second_page_can_be_given_back_without_memory),
        TEST(every_second_page_can_be_committed_and_given_back),
#if UINTPTR_MAX > UINT32_MAX
        TEST(pages_behind_the_first_16_TiB_take_a_tree),
        TEST(no_set_has_more_than_16_TiB_of_pages),
        TEST(scattered_commits_cost_what_they_are_worth),
#endif
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
