/* SPDX-License-Identifier: MIT
 *
 * A page set is exact in all its forms, changes form when it must, and the prepare of a mark is the
 * only step that can fail; a clear never needs memory. Sizes are around PAGE_SET_INLINE_PAGES (192).
 */
#include "support/fake_os.h"
#include "support/random.h"
#include "support/unit.h"

#include "core/pages/page_set.h"

#include <string.h>

#define SMALL ((size_t)PAGE_SET_INLINE_PAGES)
#define LARGE (SMALL + 1)
#define LEAF PAGE_NODE_PAGES /* 1,024 */

static struct fake_os fake;
static struct table_memory memory;
static struct page_pool pool;
static size_t calls_before; /* by the test */

static int set_up(void **state)
{
    (void)state;
    fake_os_init_default(&fake);
    memory = (struct table_memory){.os = &fake.os};
    if (page_pool_create(&pool, &memory) != OS_OK) {
        return -1;
    }
    calls_before = fake_os_calls(&fake);
    return 0;
}

static size_t table_bytes(void)
{
    assert_int_equal(usage_current(&memory.committed), fake_os_table_committed(&fake));
    return fake_os_table_committed(&fake);
}

/* Nodes that are in a tree. */
static size_t nodes_taken(void)
{
    return table_bytes() / PAGE_BLOCK_BYTES * PAGE_BLOCK_NODES - pool.free_count;
}

/* Fails when a set has left a node or a promise behind, or the pool a block. */
static int tear_down(void **state)
{
    (void)state;
    bool clean = nodes_taken() == 0 && pool.promised == 0 && table_bytes() == PAGE_BLOCK_BYTES;
    page_pool_destroy(&pool);
    return clean && usage_current(&memory.committed) == 0 && fake_os_destroy(&fake) == 0 ? 0 : -1;
}

static void change(struct page_set *set, size_t pages, size_t first, size_t end, bool mark)
{
    struct page_change change;
    size_t before = page_set_count(set, pages, first, end);
    if (mark) {
        assert_true(page_set_prepare_mark(set, pages, first, end, &pool, &change));
    } else {
        page_set_prepare_clear(set, pages, first, end, &change);
    }
    assert_int_equal(change.pages, mark ? end - first - before : before);
    page_set_apply(set, pages, &change, &pool);
    assert_sound(page_set_check(set, pages));
    assert_true(pool.promised >= set->promised);
}

static void mark(struct page_set *set, size_t pages, size_t first, size_t end)
{
    change(set, pages, first, end, true);
}

static void clear(struct page_set *set, size_t pages, size_t first, size_t end)
{
    change(set, pages, first, end, false);
}

/* The runs of the set are exactly these, given as first, end, first, end … */
static void assert_runs(const struct page_set *set, size_t pages, const size_t *runs, size_t count)
{
    size_t first = POISON, end = 0, total = 0;
    for (size_t i = 0; i < count; i++) {
        assert_true(page_set_next_run(set, pages, &first, &end));
        assert_int_equal(first, runs[2 * i]);
        assert_int_equal(end, runs[2 * i + 1]);
        assert_int_equal(page_set_count(set, pages, first, end), end - first);
        total += end - first;
    }
    assert_false(page_set_next_run(set, pages, &first, &end));
    assert_int_equal(set->committed, total);
    assert_int_equal(page_set_count(set, pages, 0, pages), total);
}

#define ASSERT_RUNS(set, pages, ...)                                                               \
    assert_runs(set, pages, (const size_t[]){__VA_ARGS__},                                         \
                sizeof((const size_t[]){__VA_ARGS__}) / sizeof(size_t) / 2)

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

    for (size_t i = 0; i < 5; i++) {
        mark(&set, LARGE, 50 + 2 * i, 51 + 2 * i);
    }
    set.root->used--;
    assert_fault(page_set_check(&set, LARGE), "a tree of pages has a wrong count or an empty node");
    set.root->used++;
    assert_sound(page_set_check(&set, LARGE));
    page_set_dispose(&set, LARGE, &pool);

    page_set_init(&set, SMALL, false, &pool);
    mark(&set, SMALL, 10, 20);
    set.inline_bits[0] ^= 1;
    assert_fault(page_set_check(&set, SMALL), "the count of committed pages is not their number");
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
#if UINTPTR_MAX > UINT32_MAX
        cmocka_unit_test_setup_teardown(pages_behind_the_first_16_TiB_take_a_tree, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(scattered_commits_cost_what_they_are_worth, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(no_set_has_more_than_16_TiB_of_pages, set_up, tear_down),
#endif
        cmocka_unit_test_setup_teardown(a_new_set_is_empty_or_full_whatever_its_size, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_small_set_never_needs_memory, set_up, tear_down),
        cmocka_unit_test_setup_teardown(three_runs_of_a_large_set_need_no_memory, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(touching_and_overlapping_runs_become_one, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(clearing_cuts_splits_and_removes_runs, set_up, tear_down),
        cmocka_unit_test_setup_teardown(
            the_fourth_run_brings_a_tree_and_the_last_page_takes_it_along, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_tree_is_as_large_as_what_is_in_it, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_clear_that_splits_the_third_run_brings_a_tree_too, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_mark_that_gets_no_memory_leaves_the_set_as_it_was, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_mark_that_is_cancelled_gives_back_what_it_got, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(every_second_page_can_be_given_back_without_memory, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(every_second_page_can_be_committed_and_given_back, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(prepare_alone_changes_no_page, set_up, tear_down),
        cmocka_unit_test_setup_teardown(agrees_with_a_naive_array_over_many_random_operations,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(check_notices_every_kind_of_damage, set_up, tear_down),
        cmocka_unit_test_setup_teardown(an_empty_range_is_no_page_in_either_form, set_up,
                                        tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
