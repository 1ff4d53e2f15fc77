/* SPDX-License-Identifier: MIT
 *
 * Page sets over a pool of nodes; every change of one is checked, and the teardown fails when a set has
 * left a node or a promise behind. Sizes are around PAGE_SET_INLINE_PAGES (192).
 */
#ifndef HOSTMEM_TESTS_PAGE_SET_FIXTURE_H
#define HOSTMEM_TESTS_PAGE_SET_FIXTURE_H

#include "support/fake_os.h"
#include "support/random.h"
#include "support/unit.h"

#include "core/pages/page_set.h"

#include <stdlib.h>
#include <string.h>

#define SMALL ((size_t)PAGE_SET_INLINE_PAGES)
#define LARGE (SMALL + 1)
#define LEAF PAGE_NODE_PAGES /* 1,024 */

static struct fake_os fake;
static struct table_memory memory;
static struct page_pool pool;
static size_t calls_before; /* by the test */

static inline int set_up(void **state)
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

static inline size_t table_bytes(void)
{
    assert_int_equal(usage_current(&memory.committed), fake_os_table_committed(&fake));
    return fake_os_table_committed(&fake);
}

/* Nodes that are in a tree. */
static inline size_t nodes_taken(void)
{
    return table_bytes() / PAGE_BLOCK_BYTES * PAGE_BLOCK_NODES - pool.free_count;
}

/* Fails when a set has left a node or a promise behind, or the pool a block. */
static inline int tear_down(void **state)
{
    (void)state;
    bool clean = nodes_taken() == 0 && pool.promised == 0 && table_bytes() == PAGE_BLOCK_BYTES;
    page_pool_destroy(&pool);
    return clean && usage_current(&memory.committed) == 0 && fake_os_destroy(&fake) == 0 ? 0 : -1;
}

static inline void change(struct page_set *set, size_t pages, size_t first, size_t end, bool mark)
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

static inline void mark(struct page_set *set, size_t pages, size_t first, size_t end)
{
    change(set, pages, first, end, true);
}

static inline void clear(struct page_set *set, size_t pages, size_t first, size_t end)
{
    change(set, pages, first, end, false);
}

/* The runs of the set are exactly these, given as first, end, first, end … */
static inline void assert_runs(const struct page_set *set, size_t pages, const size_t *runs,
                               size_t count)
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

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

#endif
