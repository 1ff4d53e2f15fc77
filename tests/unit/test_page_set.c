/* SPDX-License-Identifier: MIT
 *
 * A page set is exact in all its forms, whatever its size; a prepare alone changes nothing, and the check
 * notices every kind of damage.
 */
#include "unit/page_set_fixture.h"

static void a_new_set_is_empty_or_full_whatever_its_size(void **state)
{
    const size_t sizes[] = {1, 63, 64, 65, SMALL - 1, SMALL, LARGE, 100000};
    (void)state;
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        struct page_set set;
        memset(&set, 0xAA, sizeof(set));
        assert_true(page_set_init(&set, sizes[i], false, &pool));
        assert_runs(&set, sizes[i], NULL, 0);
        assert_sound(page_set_check(&set, sizes[i]));
        memset(&set, 0xAA, sizeof(set));
        assert_true(page_set_init(&set, sizes[i], true, &pool));
        ASSERT_RUNS(&set, sizes[i], 0, sizes[i]);
        assert_sound(page_set_check(&set, sizes[i]));
        page_set_dispose(&set, sizes[i], &pool);
    }
    assert_int_equal(fake_os_calls(&fake), calls_before);
}

static void a_small_set_never_needs_memory(void **state)
{
    struct page_set set;
    (void)state;
    page_set_init(&set, SMALL, false, &pool);
    for (size_t page = 0; page < SMALL; page += 2) {
        mark(&set, SMALL, page, page + 1);
    }
    assert_int_equal(set.committed, SMALL / 2);
    mark(&set, SMALL, 0, SMALL);
    ASSERT_RUNS(&set, SMALL, 0, SMALL);
    clear(&set, SMALL, 64, 128); /* a whole word */
    ASSERT_RUNS(&set, SMALL, 0, 64, 128, SMALL);
    clear(&set, SMALL, 0, SMALL);
    assert_runs(&set, SMALL, NULL, 0);
    mark(&set, SMALL, SMALL - 1, SMALL);
    ASSERT_RUNS(&set, SMALL, SMALL - 1, SMALL);
    assert_int_equal(fake_os_calls(&fake), calls_before);
}

static void three_runs_of_a_large_set_need_no_memory(void **state)
{
    struct page_set set;
    (void)state;
    page_set_init(&set, LARGE, false, &pool);
    mark(&set, LARGE, 100, 110);
    mark(&set, LARGE, 150, 151);
    mark(&set, LARGE, 0, 1);
    ASSERT_RUNS(&set, LARGE, 0, 1, 100, 110, 150, 151);
    assert_int_equal(set.form, PAGE_SET_KEEPS_RUNS);
    assert_int_equal(fake_os_calls(&fake), calls_before);
    page_set_dispose(&set, LARGE, &pool);
}

static void touching_and_overlapping_runs_become_one(void **state)
{
    struct page_set set;
    (void)state;
    page_set_init(&set, LARGE, false, &pool);
    mark(&set, LARGE, 10, 20);
    mark(&set, LARGE, 20, 30); /* behind */
    mark(&set, LARGE, 5, 10);  /* before */
    ASSERT_RUNS(&set, LARGE, 5, 30);
    mark(&set, LARGE, 40, 50);
    mark(&set, LARGE, 60, 70);
    mark(&set, LARGE, 28, 65); /* over one and into two */
    ASSERT_RUNS(&set, LARGE, 5, 70);
    mark(&set, LARGE, 6, 7); /* inside: nothing new */
    ASSERT_RUNS(&set, LARGE, 5, 70);
    mark(&set, LARGE, 0, LARGE);
    ASSERT_RUNS(&set, LARGE, 0, LARGE);
    assert_int_equal(set.form, PAGE_SET_KEEPS_RUNS);
    page_set_dispose(&set, LARGE, &pool);
}

static void clearing_cuts_splits_and_removes_runs(void **state)
{
    struct page_set set;
    (void)state;
    page_set_init(&set, LARGE, false, &pool);
    mark(&set, LARGE, 0, 150);
    clear(&set, LARGE, 0, 10);
    clear(&set, LARGE, 140, 190);
    ASSERT_RUNS(&set, LARGE, 10, 140);
    clear(&set, LARGE, 50, 60);
    ASSERT_RUNS(&set, LARGE, 10, 50, 60, 140);
    clear(&set, LARGE, 55, 58); /* never marked */
    ASSERT_RUNS(&set, LARGE, 10, 50, 60, 140);
    clear(&set, LARGE, 40, 70);
    ASSERT_RUNS(&set, LARGE, 10, 40, 70, 140);
    clear(&set, LARGE, 0, 40);
    ASSERT_RUNS(&set, LARGE, 70, 140);
    clear(&set, LARGE, 0, LARGE);
    assert_runs(&set, LARGE, NULL, 0);
    clear(&set, LARGE, 0, LARGE);
    assert_runs(&set, LARGE, NULL, 0);
    assert_int_equal(set.form, PAGE_SET_KEEPS_RUNS);
}

static void prepare_alone_changes_no_page(void **state)
{
    struct page_change change;
    struct page_set set;
    (void)state;
    page_set_init(&set, LARGE, false, &pool);
    mark(&set, LARGE, 0, 1);
    mark(&set, LARGE, 10, 20);
    mark(&set, LARGE, 30, 40);
    assert_true(page_set_prepare_mark(&set, LARGE, 50, 60, &pool, &change));
    ASSERT_RUNS(&set, LARGE, 0, 1, 10, 20, 30, 40);
    page_set_cancel(&change, &pool);
    page_set_prepare_clear(&set, LARGE, 12, 13, &change);
    ASSERT_RUNS(&set, LARGE, 0, 1, 10, 20, 30, 40);
    assert_sound(page_set_check(&set, LARGE));
    page_set_dispose(&set, LARGE, &pool);
}

static void fail_at(const char *what, size_t operation, size_t pages)
{
    fail_msg("operation %lu of %lu pages: %s", (unsigned long)operation, (unsigned long)pages,
             what);
}

/* `operations` random marks and clears against an array of bool. */
static void compare_with_naive(struct random *random, size_t pages, size_t operations)
{
    bool *naive = calloc(pages, sizeof(*naive));
    size_t expected = 0;
    struct page_set set;
    page_set_init(&set, pages, false, &pool);
    for (size_t i = 0; i < operations; i++) {
        size_t first = random_below(random, pages);
        size_t length = random_one_in(random, 50) ? pages : 1 + random_below(random, 1 + pages / 8);
        size_t end = length < pages - first ? first + length : pages;
        bool value = random_one_in(random, 2);
        size_t counted = 0;
        if (random_one_in(random, 100)) {
            first = 0;
            end = pages;
            value = false;
        }
        for (size_t page = first; page < end; page++) {
            counted += naive[page];
            naive[page] = value;
        }
        if (page_set_count(&set, pages, first, end) != counted) {
            fail_at("count", i, pages);
        }
        expected = value ? expected + (end - first) - counted : expected - counted;
        struct page_change change;
        if (value) {
            assert_true(page_set_prepare_mark(&set, pages, first, end, &pool, &change));
        } else {
            page_set_prepare_clear(&set, pages, first, end, &change);
        }
        page_set_apply(&set, pages, &change, &pool);
        const char *fault = page_set_check(&set, pages);
        if (fault != NULL || set.committed != expected) {
            fail_at(fault != NULL ? fault : "committed", i, pages);
        }
        if (i % 64 == 0) {
            size_t run_first, run_end = 0, previous = 0;
            while (page_set_next_run(&set, pages, &run_first, &run_end)) {
                for (size_t page = previous; page < run_end; page++) {
                    if (naive[page] != (page >= run_first)) {
                        fail_at("a page", i, pages);
                    }
                }
                previous = run_end;
            }
            for (size_t page = previous; page < pages; page++) {
                assert_false(naive[page]);
            }
        }
    }
    page_set_dispose(&set, pages, &pool);
    free(naive);
}

static void agrees_with_a_naive_array_over_many_random_operations(void **state)
{
    const size_t sizes[] = {1, 5, 64, SMALL - 1, SMALL, LARGE, LARGE + 63, 1000, 4097};
    struct random random = {random_seed("test_page_set")};
    (void)state;
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        compare_with_naive(&random, sizes[i], 20000);
    }
    compare_with_naive(&random, PAGE_NODE_CHILDREN * LEAF + 1, 2000); /* three levels */
}

static void check_notices_every_kind_of_damage(void **state)
{
    struct page_set set;
    (void)state;
    page_set_init(&set, LARGE, false, &pool);
    mark(&set, LARGE, 10, 20);
    mark(&set, LARGE, 30, 40);

    struct page_set damaged = set;
    damaged.runs[1].end = LARGE + 1;
    assert_fault(page_set_check(&damaged, LARGE), "a run of pages is empty or leaves its region");
    damaged = set;
    damaged.runs[0].first = 25;
    assert_fault(page_set_check(&damaged, LARGE), "a run of pages is empty or leaves its region");
    damaged = set;
    damaged.runs[1].first = 20;
    assert_fault(page_set_check(&damaged, LARGE), "two runs of pages touch");
    damaged = set;
    damaged.runs[2] = (struct page_run){1, 5};
    assert_fault(page_set_check(&damaged, LARGE), "the runs of a region are not in order");
    damaged = set;
    damaged.committed++;
    assert_fault(page_set_check(&damaged, LARGE),
                 "the count of committed pages is not their number");
    damaged = set;
    damaged.promised--;
    assert_fault(page_set_check(&damaged, LARGE),
                 "a decommit could need memory that was not set aside");
    assert_fault(page_set_check(&set, SMALL), "a small region keeps runs");
    assert_sound(page_set_check(&set, LARGE));

    page_set_dispose(&set, LARGE, &pool);

    page_set_init(&set, SMALL, false, &pool);
    mark(&set, SMALL, 10, 20);
    set.inline_bits[0] ^= 1;
    assert_fault(page_set_check(&set, SMALL), "the count of committed pages is not their number");
}

static void check_notices_damage_to_every_node_of_a_tree(void **state)
{
    const char *const wrong = "a tree of pages has a wrong count or an empty node";
    const size_t pages = 3 * LEAF;
    struct page_set set;
    (void)state;
    page_set_init(&set, pages, false, &pool);
    for (size_t i = 0; i < 5; i++) {
        mark(&set, pages, LEAF / 2 * i, LEAF / 2 * i + 1);
    }
    assert_int_equal(set.form, PAGE_SET_IS_TREE);
    struct page_node *root = set.root;
    struct page_node *nodes[] = {root, root->children[0], root->children[1], root->children[2]};
    for (size_t i = 0; i < 4; i++) {
        nodes[i]->used--;
        assert_fault(page_set_check(&set, pages), wrong);
        nodes[i]->used += 2;
        assert_fault(page_set_check(&set, pages), wrong);
        nodes[i]->used--;
    }
    nodes[3]->bits[0] = 0; /* its only page */
    nodes[3]->used = 0;
    assert_fault(page_set_check(&set, pages), wrong);
    nodes[3]->bits[0] = 1;
    nodes[3]->used = 1;
    set.root = NULL;
    assert_fault(page_set_check(&set, pages), wrong);
    set.root = root;
    assert_sound(page_set_check(&set, pages));
    page_set_dispose(&set, pages, &pool);
}

static void an_empty_range_is_no_page_in_either_form(void **state)
{
    const size_t sizes[] = {SMALL, LARGE};
    const size_t places[] = {0, 1, 64, 100, 128};
    struct page_set set;
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        page_set_init(&set, sizes[i], false, &pool);
        mark(&set, sizes[i], 100, 150);
        for (size_t k = 0; k < sizeof(places) / sizeof(places[0]); k++) {
            assert_int_equal(page_set_count(&set, sizes[i], places[k], places[k]), 0);
            mark(&set, sizes[i], places[k], places[k]);
            clear(&set, sizes[i], places[k], places[k]);
            ASSERT_RUNS(&set, sizes[i], 100, 150);
        }
        page_set_dispose(&set, sizes[i], &pool);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_new_set_is_empty_or_full_whatever_its_size),
        TEST(a_small_set_never_needs_memory),
        TEST(three_runs_of_a_large_set_need_no_memory),
        TEST(touching_and_overlapping_runs_become_one),
        TEST(clearing_cuts_splits_and_removes_runs),
        TEST(prepare_alone_changes_no_page),
        TEST(agrees_with_a_naive_array_over_many_random_operations),
        TEST(check_notices_every_kind_of_damage),
        TEST(check_notices_damage_to_every_node_of_a_tree),
        TEST(an_empty_range_is_no_page_in_either_form),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
