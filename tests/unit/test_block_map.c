/* SPDX-License-Identifier: MIT
 *
 * A block map knows exactly the blocks that were added, whatever else a caller points at, and two
 * maps know nothing of each other.
 */
#include "support/fake_os.h"
#include "support/random.h"
#include "support/unit.h"

#include "core/heap/block_map.h"

#define BLOCK ((uintptr_t)BLOCK_ALIGNMENT)
#define BASE ((uintptr_t)0x40100000) /* not the start of anything but a leaf */

static struct fake_os fake;
static struct table_memory memory;
static struct block_map map;

static int set_up(void **state)
{
    (void)state;
    fake_os_init_default(&fake);
    memory = (struct table_memory){.os = &fake.os};
    block_map_init(&map, &memory);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    block_map_destroy(&map);
    return usage_current(&memory.committed) == 0 && fake_os_destroy(&fake) == 0 ? 0 : -1;
}

static void an_empty_map_knows_no_block_and_needs_no_memory(void **state)
{
    const uintptr_t addresses[] = {0, 1, BLOCK, BASE, UINTPTR_MAX / 2, UINTPTR_MAX};
    (void)state;
    for (size_t i = 0; i < sizeof(addresses) / sizeof(addresses[0]); i++) {
        assert_false(block_map_contains(&map, addresses[i]));
        assert_false(block_map_remove(&map, addresses[i]));
    }
    assert_int_equal(fake_os_calls(&fake), 0);
}

static void an_empty_map_has_no_next_block(void **state)
{
    (void)state;
    assert_true(block_map_next(&map, 0) == 0);
    assert_true(block_map_next(&map, BASE) == 0);
    assert_true(block_map_next(&map, UINTPTR_MAX - BLOCK + 1) == 0);
}

static void a_block_is_live_from_add_to_remove(void **state)
{
    (void)state;
    assert_true(block_map_add(&map, BASE));
    assert_true(block_map_contains(&map, BASE));
    assert_true(block_map_remove(&map, BASE));
    assert_false(block_map_contains(&map, BASE));
    assert_true(block_map_add(&map, BASE));
    assert_true(block_map_contains(&map, BASE));
}

static void a_second_remove_fails_and_leaves_the_neighbours_alive(void **state)
{
    (void)state;
    assert_true(block_map_add(&map, BASE));
    assert_true(block_map_add(&map, BASE + BLOCK));
    assert_true(block_map_add(&map, BASE + 2 * BLOCK));
    assert_true(block_map_remove(&map, BASE + BLOCK));
    assert_false(block_map_remove(&map, BASE + BLOCK));
    assert_true(block_map_contains(&map, BASE));
    assert_true(block_map_contains(&map, BASE + 2 * BLOCK));
}

static void interior_and_unaligned_addresses_are_no_blocks(void **state)
{
    (void)state;
    assert_true(block_map_add(&map, BASE));
    for (uintptr_t offset = 1; offset < 4 * BLOCK; offset++) {
        assert_false(block_map_contains(&map, BASE + offset));
        assert_false(block_map_remove(&map, BASE + offset));
        assert_false(block_map_contains(&map, BASE - offset));
        assert_false(block_map_remove(&map, BASE - offset));
    }
    assert_true(block_map_contains(&map, BASE));
}

static void the_same_place_in_other_leaves_and_nodes_is_foreign(void **state)
{
    /* The next leaf, bottom node, middle node, none; of 32 bits the next leaf and bottom node. */
    const size_t shifts[] = {20, 29, 38, 47, 30};
    (void)state;
    assert_true(block_map_add(&map, BASE));
    for (size_t i = 0; i < sizeof(shifts) / sizeof(shifts[0]); i++) {
        if (shifts[i] < sizeof(uintptr_t) * 8) {
            uintptr_t other = BASE ^ ((uintptr_t)1 << shifts[i]);
            assert_false(block_map_contains(&map, other));
            assert_false(block_map_remove(&map, other));
        }
    }
    assert_true(block_map_contains(&map, BASE));
}

static void two_maps_do_not_mix(void **state)
{
    struct block_map other;
    (void)state;
    block_map_init(&other, &memory);
    assert_true(block_map_add(&map, BASE));
    assert_true(block_map_add(&other, BASE + BLOCK));
    assert_false(block_map_contains(&other, BASE));
    assert_false(block_map_remove(&other, BASE));
    assert_false(block_map_remove(&map, BASE + BLOCK));
    assert_true(block_map_next(&other, 0) == BASE + BLOCK);
    assert_true(block_map_contains(&map, BASE));
    block_map_destroy(&other);
    assert_true(block_map_contains(&map, BASE));
}

static void next_visits_the_blocks_in_order_across_leaves_and_nodes(void **state)
{
    const uintptr_t blocks[] = {
        BLOCK,
        BASE - BLOCK, /* the last place of a leaf */
        BASE,
        BASE + BLOCK,
        BASE + 7 * (uintptr_t)MIB + 5 * BLOCK,
#if UINTPTR_MAX > UINT32_MAX
        (uintptr_t)3 << 38,
        ((uintptr_t)1 << 47) - BLOCK, /* the last place of all */
#else
        0xFFFEFFF8u,
#endif
    };
    const size_t count = sizeof(blocks) / sizeof(blocks[0]);
    (void)state;
    for (size_t i = count; i-- > 0;) {
        assert_true(block_map_add(&map, blocks[i]));
    }
    uintptr_t at = 0;
    for (size_t i = 0; i < count; i++) {
        at = block_map_next(&map, at);
        assert_true(at == blocks[i]);
        assert_true(block_map_next(&map, at) == at);
        at += BLOCK;
    }
    assert_true(block_map_next(&map, at) == 0);
    for (size_t i = 0; i < count; i++) {
        assert_true(block_map_remove(&map, blocks[i]));
    }
    assert_true(block_map_next(&map, 0) == 0); /* over nodes that are there and empty */
}

#if UINTPTR_MAX > UINT32_MAX
static void addresses_beyond_47_bits_are_refused(void **state)
{
    const uintptr_t end = (uintptr_t)1 << 47;
    (void)state;
    assert_false(block_map_add(&map, end));
    assert_false(block_map_add(&map, UINTPTR_MAX - BLOCK + 1));
    assert_int_equal(fake_os_calls(&fake), 0);
    assert_true(block_map_add(&map, end - BLOCK));
    assert_false(block_map_contains(&map, end));
    assert_false(block_map_remove(&map, end - BLOCK + end)); /* the same bits below the top */
    assert_true(block_map_next(&map, end) == 0);
}
#endif

static void add_without_memory_fails_and_can_be_repeated(void **state)
{
    size_t nth = 1;
    (void)state;
    for (;; nth++) {
        fake_os_fail(&fake, FAKE_ANY_KIND, nth);
        if (block_map_add(&map, BASE)) {
            break;
        }
        assert_false(block_map_contains(&map, BASE));
        assert_false(block_map_remove(&map, BASE));
        assert_true(block_map_next(&map, 0) == 0);
        block_map_destroy(&map); /* whatever nodes it has got so far */
        assert_int_equal(usage_current(&memory.committed), 0);
        assert_int_equal(fake.table_count, 0);
        block_map_init(&map, &memory);
    }
    assert_int_equal(nth, 7); /* two nodes and a leaf, a reserve and a commit each */
    assert_true(block_map_contains(&map, BASE));
}

static void a_leaf_is_made_once_for_all_its_blocks(void **state)
{
    (void)state;
    assert_true(block_map_add(&map, BASE));
    size_t calls = fake_os_calls(&fake);
    for (uintptr_t at = BASE + BLOCK; at < BASE + MIB; at += BLOCK) {
        assert_true(block_map_add(&map, at));
    }
    assert_int_equal(fake_os_calls(&fake), calls);
    for (uintptr_t at = BASE; at < BASE + MIB; at += BLOCK) {
        assert_true(block_map_remove(&map, at));
    }
    assert_true(block_map_next(&map, 0) == 0);
}

static void agrees_with_a_naive_array_over_many_random_operations(void **state)
{
    enum { PLACES = 1 << 18 }; /* 4 MiB of blocks, 2 MiB on 32-bit */
    bool *naive = calloc(PLACES, sizeof(*naive));
    struct random random = {random_seed("test_block_map")};
    (void)state;
    for (size_t i = 0; i < 300000; i++) {
        size_t place = random_below(&random, random_one_in(&random, 2) ? PLACES : 64);
        uintptr_t address = BASE + place * BLOCK;
        if (block_map_contains(&map, address) != naive[place]) {
            fail_msg("operation %lu: place %lu", (unsigned long)i, (unsigned long)place);
        }
        if (random_one_in(&random, 2)) {
            if (!naive[place]) {
                assert_true(block_map_add(&map, address));
                naive[place] = true;
            }
        } else {
            assert_int_equal(block_map_remove(&map, address), naive[place]);
            naive[place] = false;
        }
    }
    uintptr_t at = 0;
    for (size_t place = 0; place < PLACES; place++) {
        if (naive[place]) {
            at = block_map_next(&map, at);
            assert_true(at == BASE + place * BLOCK);
            at += BLOCK;
        }
    }
    assert_true(block_map_next(&map, at) == 0);
    free(naive);
}

static void add_the_same_block(struct fake_os *os, enum fake_kind kind)
{
    if (kind == FAKE_TABLE_COMMIT && os->calls[FAKE_TABLE_COMMIT] == *(size_t *)os->context) {
        os->after = NULL;
        assert_true(block_map_add(&map, BASE));
    }
}

/* Once at each of the three levels: the node that came second is given back. */
static void two_threads_may_add_to_the_same_part_of_the_tree_at_once(void **state)
{
    (void)state;
    for (size_t nth = 1; nth <= 3; nth++) {
        size_t at = fake.calls[FAKE_TABLE_COMMIT] + nth;
        fake.context = &at;
        fake.after = add_the_same_block;
        assert_true(block_map_add(&map, BASE + BLOCK));
        assert_null(fake.after);
        assert_true(block_map_contains(&map, BASE));
        assert_true(block_map_contains(&map, BASE + BLOCK));
        assert_int_equal(usage_current(&memory.committed), fake_os_table_committed(&fake));
        block_map_destroy(&map);
        assert_int_equal(fake_os_table_committed(&fake), 0);
        block_map_init(&map, &memory);
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(an_empty_map_knows_no_block_and_needs_no_memory),
        TEST(an_empty_map_has_no_next_block),
        TEST(a_block_is_live_from_add_to_remove),
        TEST(a_second_remove_fails_and_leaves_the_neighbours_alive),
        TEST(interior_and_unaligned_addresses_are_no_blocks),
        TEST(the_same_place_in_other_leaves_and_nodes_is_foreign),
        TEST(two_maps_do_not_mix),
        TEST(next_visits_the_blocks_in_order_across_leaves_and_nodes),
#if UINTPTR_MAX > UINT32_MAX
        TEST(addresses_beyond_47_bits_are_refused),
#endif
        TEST(add_without_memory_fails_and_can_be_repeated),
        TEST(a_leaf_is_made_once_for_all_its_blocks),
        TEST(agrees_with_a_naive_array_over_many_random_operations),
        TEST(two_threads_may_add_to_the_same_part_of_the_tree_at_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
