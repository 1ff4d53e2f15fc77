/* SPDX-License-Identifier: MIT
 *
 * What the pool of nodes has promised can be taken when the system has nothing left; what was given
 * back goes back to the system, but for a block and a half.
 */
#include "support/fake_os.h"
#include "support/random.h"
#include "support/unit.h"

#include "core/pages/page_pool.h"

#include <string.h>

#define NODES PAGE_BLOCK_NODES

static struct fake_os fake;
static struct table_memory memory;
static struct page_pool pool;
static struct page_node *taken[6 * PAGE_BLOCK_NODES];

static int set_up(void **state)
{
    (void)state;
    fake_os_init_default(&fake);
    memory = (struct table_memory){.os = &fake.os};
    return page_pool_create(&pool, &memory) == OS_OK ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    page_pool_destroy(&pool);
    return usage_current(&memory.committed) == 0 && fake_os_destroy(&fake) == 0 ? 0 : -1;
}

static void assert_blocks(size_t count)
{
    assert_int_equal(usage_current(&memory.committed), count * PAGE_BLOCK_BYTES);
    assert_int_equal(fake_os_table_committed(&fake), count * PAGE_BLOCK_BYTES);
}

/* A node is zero when it is taken, nobody else's, and may be written to. */
static void take(size_t first, size_t end)
{
    static const uint64_t zero[PAGE_NODE_WORDS];
    for (size_t i = first; i < end; i++) {
        taken[i] = page_pool_take(&pool);
        assert_int_equal(taken[i]->used, 0);
        assert_memory_equal(taken[i]->bits, zero, sizeof(zero));
        memset(taken[i]->bits, (int)(i + 1), sizeof(zero));
    }
}

static void give(size_t first, size_t end)
{
    for (size_t i = first; i < end; i++) {
        uint64_t expected[PAGE_NODE_WORDS];
        memset(expected, (int)(i + 1), sizeof(expected));
        assert_memory_equal(taken[i]->bits, expected, sizeof(expected));
        memset(taken[i]->bits, 0, sizeof(expected));
        page_pool_give(&pool, taken[i]);
    }
}

static void what_was_promised_can_be_taken_when_nothing_is_left(void **state)
{
    (void)state;
    assert_true(page_pool_promise(&pool, 3 * NODES));
    assert_blocks(3);
    size_t calls = fake_os_calls(&fake);
    take(0, 3 * NODES);
    assert_int_equal(fake_os_calls(&fake), calls);
    assert_int_equal(pool.promised, 0);
    assert_int_equal(pool.free_count, 0);
    fake_os_fail(&fake, FAKE_TABLE_COMMIT, 1);
    assert_false(page_pool_promise(&pool, 1));
    give(0, 3 * NODES);
    assert_blocks(1);
}

static void a_promise_that_cannot_be_kept_is_none(void **state)
{
    const enum fake_kind kinds[] = {FAKE_TABLE_RESERVE, FAKE_TABLE_COMMIT};
    (void)state;
    for (size_t i = 0; i < 4; i++) {
        fake_os_fail(&fake, kinds[i % 2], 1 + i);
        assert_false(page_pool_promise(&pool, 10 * NODES));
        assert_int_equal(pool.promised, 0);
        assert_blocks(1);
        fake_os_fail(&fake, FAKE_ANY_KIND, 1);
        assert_true(page_pool_promise(&pool, NODES)); /* the first block does */
        page_pool_excuse(&pool, NODES);
        fake_os_fail(&fake, FAKE_ANY_KIND, 0);
    }
}

static void blocks_go_back_when_promises_are_excused(void **state)
{
    (void)state;
    assert_true(page_pool_promise(&pool, 5 * NODES));
    assert_blocks(5);
    page_pool_excuse(&pool, NODES); /* one block of slack */
    assert_blocks(5);
    page_pool_excuse(&pool, NODES / 2);
    assert_blocks(4);
    page_pool_excuse(&pool, 7 * NODES / 2);
    assert_blocks(1);
}

static void to_and_fro_at_the_edge_of_a_block_asks_the_system_once(void **state)
{
    (void)state;
    assert_true(page_pool_promise(&pool, NODES));
    take(0, NODES);
    size_t calls = fake.calls[FAKE_TABLE_RESERVE];
    for (size_t i = 0; i < 100; i++) {
        assert_true(page_pool_promise(&pool, 1));
        take(NODES, NODES + 1);
        give(NODES, NODES + 1);
    }
    assert_int_equal(fake.calls[FAKE_TABLE_RESERVE], calls + 1);
    give(0, NODES);
    assert_blocks(1);
}

/* Nodes come and go in any order; blocks that are whole again are found wherever they are. */
static void nodes_may_go_in_any_order(void **state)
{
    struct random random = {random_seed("test_page_pool")};
    const size_t count = sizeof(taken) / sizeof(taken[0]);
    (void)state;
    for (size_t round = 0; round < 20; round++) {
        assert_true(page_pool_promise(&pool, count));
        take(0, count);
        size_t left = count;
        while (left > 0) {
            size_t i = random_below(&random, left--);
            struct page_node *node = taken[i];
            memset(node->bits, 0, sizeof(node->bits));
            page_pool_give(&pool, node);
            taken[i] = taken[left];
        }
        assert_int_equal(pool.free_count, NODES);
        assert_blocks(1);
    }
}

static void create_fails_cleanly_without_memory(void **state)
{
    const size_t before = usage_current(&memory.committed);
    struct page_pool other;
    (void)state;
    for (size_t nth = 1; nth <= 2; nth++) {
        fake_os_fail(&fake, FAKE_ANY_KIND, nth);
        assert_int_equal(page_pool_create(&other, &memory), OS_NOT_ENOUGH_MEMORY);
        assert_int_equal(usage_current(&memory.committed), before);
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(what_was_promised_can_be_taken_when_nothing_is_left),
        TEST(a_promise_that_cannot_be_kept_is_none),
        TEST(blocks_go_back_when_promises_are_excused),
        TEST(to_and_fro_at_the_edge_of_a_block_asks_the_system_once),
        TEST(nodes_may_go_in_any_order),
        TEST(create_fails_cleanly_without_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
