/* SPDX-License-Identifier: MIT
 *
 * The slot map answers for every slot of a range and for no slot beside it, at all edges of the
 * address space, with whole-GiB entries and with leaves, and refuses what lies beyond it.
 */
#include "support/fake_os.h"
#include "support/unit.h"

#include "core/pages/slot_map.h"

struct fixture {
    struct fake_os fake;
    struct table_memory memory;
    struct slot_map map;
};

static struct fixture fixture;

static void create_up_to(uintptr_t max_address)
{
    fake_os_init(&fixture.fake, SLOT, max_address);
    fixture.memory = (struct table_memory){.os = &fixture.fake.os};
    assert_int_equal(slot_map_create(&fixture.map, &fixture.memory), OS_OK);
}

static void destroy(void)
{
    slot_map_destroy(&fixture.map);
    assert_int_equal(usage_current(&fixture.memory.committed), 0);
    assert_int_equal(fake_os_destroy(&fixture.fake), 0);
}

static void set(uintptr_t base, size_t size, uint32_t id)
{
    assert_int_equal(slot_map_prepare(&fixture.map, base, size), OS_OK);
    slot_map_set(&fixture.map, base, size, id);
}

/* First and last address of the range lead to `id`; the addresses beside it to the neighbours. */
static void assert_range(uintptr_t base, size_t size, uint32_t id, uint32_t below, uint32_t above)
{
    uintptr_t end = (base + size + SLOT - 1) & ~(SLOT - 1);
    assert_int_equal(slot_map_get(&fixture.map, base), id);
    assert_int_equal(slot_map_get(&fixture.map, base + size / 2), id);
    assert_int_equal(slot_map_get(&fixture.map, end - 1), id);
    assert_int_equal(slot_map_get(&fixture.map, base - 1), below);
    assert_int_equal(slot_map_get(&fixture.map, end), above);
}

static void an_empty_map_knows_no_address(void **state)
{
    uintptr_t address = 0;
    (void)state;
    create_up_to(0x7FFEFFFFu);
    assert_int_equal(slot_map_get(&fixture.map, 0), 0);
    assert_int_equal(slot_map_get(&fixture.map, SLOT), 0);
    assert_int_equal(slot_map_get(&fixture.map, 0x7FFEFFFFu), 0);
    assert_int_equal(slot_map_get(&fixture.map, UINTPTR_MAX), 0);
    assert_int_equal(slot_map_next(&fixture.map, &address), 0);
    destroy();
}

static void one_page_owns_its_whole_slot_and_nothing_else(void **state)
{
    (void)state;
    create_up_to(0x7FFEFFFFu);
    set(0x50000, PAGE, 7);
    assert_range(0x50000, PAGE, 7, 0, 0);
    slot_map_set(&fixture.map, 0x50000, PAGE, 0);
    assert_range(0x50000, PAGE, 0, 0, 0);
    destroy();
}

static void neighbours_are_untouched_by_set_and_by_clear(void **state)
{
    const uintptr_t base = 0x10000000;
    (void)state;
    create_up_to(0x7FFEFFFFu);
    set(base - SLOT, SLOT, 1);
    set(base + 5 * SLOT, 2 * SLOT, 3);
    set(base, 5 * SLOT - PAGE, 2);
    assert_range(base, 5 * SLOT - PAGE, 2, 1, 3);
    slot_map_set(&fixture.map, base, 5 * SLOT - PAGE, 0);
    assert_range(base, 5 * SLOT - PAGE, 0, 1, 3);
    destroy();
}

static void a_whole_gib_needs_no_leaf(void **state)
{
    (void)state;
    create_up_to(0xFFFEFFFFu);
    size_t before = fake_os_table_committed(&fixture.fake);
    set((uintptr_t)GIB, 2 * GIB, 9);
    assert_int_equal(fake_os_table_committed(&fixture.fake), before);
    assert_range((uintptr_t)GIB, 2 * GIB, 9, 0, 0);
    slot_map_set(&fixture.map, (uintptr_t)GIB, 2 * GIB, 0);
    assert_range((uintptr_t)GIB, 2 * GIB, 0, 0, 0);
    destroy();
}

static void a_range_across_a_gib_border_has_two_ragged_ends(void **state)
{
    const uintptr_t base = (uintptr_t)GIB - SLOT;
    (void)state;
    create_up_to(0xFFFEFFFFu);
    set(base - SLOT, SLOT, 1);
    set(base + GIB + 2 * SLOT, SLOT, 3);
    set(base, GIB + 2 * SLOT, 2); /* a slot, a whole GiB, a slot */
    assert_range(base, GIB + 2 * SLOT, 2, 1, 3);
    for (uintptr_t at = base; at < base + GIB + 2 * SLOT; at += SLOT) {
        if (slot_map_get(&fixture.map, at) != 2) {
            fail_msg("slot %lu of the range", (unsigned long)((at - base) / SLOT));
        }
    }
    slot_map_set(&fixture.map, base, GIB + 2 * SLOT, 0);
    assert_range(base, GIB + 2 * SLOT, 0, 1, 3);
    destroy();
}

static void a_gib_less_one_slot_at_either_end_is_no_whole_gib(void **state)
{
    (void)state;
    create_up_to(0xFFFEFFFFu);
    set((uintptr_t)GIB + SLOT, GIB - SLOT, 4);
    assert_range((uintptr_t)GIB + SLOT, GIB - SLOT, 4, 0, 0);
    set(2 * (uintptr_t)GIB, GIB - SLOT, 5);
    assert_range(2 * (uintptr_t)GIB, GIB - SLOT, 5, 4, 0);
    destroy();
}

static void slots_of_a_gib_can_follow_a_whole_one_and_the_other_way_round(void **state)
{
    (void)state;
    create_up_to(0xFFFEFFFFu);
    for (uint32_t round = 0; round < 3; round++) {
        set((uintptr_t)GIB, GIB, 10 + round);
        assert_range((uintptr_t)GIB, GIB, 10 + round, 0, 0);
        slot_map_set(&fixture.map, (uintptr_t)GIB, GIB, 0);
        set((uintptr_t)GIB, SLOT, 20 + round);
        assert_range((uintptr_t)GIB, SLOT, 20 + round, 0, 0);
        slot_map_set(&fixture.map, (uintptr_t)GIB, SLOT, 0);
    }
    destroy();
}

static void the_last_slot_of_a_32_bit_space_is_covered(void **state)
{
    const uintptr_t last = 0xFFFE0000u;
    (void)state;
    create_up_to(0xFFFEFFFFu);
    set(last, SLOT, 11);
    assert_int_equal(slot_map_get(&fixture.map, last), 11);
    assert_int_equal(slot_map_get(&fixture.map, last + SLOT - 1), 11);
    assert_int_equal(slot_map_get(&fixture.map, last - 1), 0);
    assert_int_equal(slot_map_get(&fixture.map, UINT32_MAX), 0);
    uintptr_t at = 0;
    assert_int_equal(slot_map_next(&fixture.map, &at), 11);
    assert_true(at == last);
    destroy();
}

static void a_range_beyond_the_map_is_refused_and_leaves_no_trace(void **state)
{
    (void)state;
    create_up_to(0x3FFFFFFFu); /* one GiB */
    size_t before = fake_os_table_committed(&fixture.fake);
    assert_int_equal(slot_map_prepare(&fixture.map, (uintptr_t)GIB, SLOT), OS_NOT_ENOUGH_MEMORY);
    assert_int_equal(slot_map_prepare(&fixture.map, (uintptr_t)GIB - SLOT, 2 * SLOT),
                     OS_NOT_ENOUGH_MEMORY);
    assert_int_equal(slot_map_prepare(&fixture.map, UINTPTR_MAX - SLOT + 1, SLOT),
                     OS_NOT_ENOUGH_MEMORY);
    assert_int_equal(fake_os_table_committed(&fixture.fake), before);
    assert_int_equal(slot_map_get(&fixture.map, (uintptr_t)GIB), 0);
    uintptr_t at = UINTPTR_MAX;
    assert_int_equal(slot_map_next(&fixture.map, &at), 0);
    destroy();
}

static void next_visits_the_ids_in_address_order_and_hops_over_nothing(void **state)
{
    const struct {
        uintptr_t base;
        size_t size;
    } ranges[] = {{SLOT, PAGE},
                  {3 * SLOT, 2 * SLOT},
                  {(uintptr_t)GIB - SLOT, 2 * SLOT}, /* across a border */
                  {2 * (uintptr_t)GIB, GIB},
                  {0xFFFE0000u, SLOT}};
    (void)state;
    create_up_to(0xFFFEFFFFu);
    for (uint32_t i = 0; i < 5; i++) {
        set(ranges[i].base, ranges[i].size, i + 1);
    }
    uintptr_t at = 0;
    for (uint32_t i = 0; i < 5; i++) {
        assert_int_equal(slot_map_next(&fixture.map, &at), i + 1);
        assert_true(at == ranges[i].base);
        /* Inside a slot that has an id the address stays as it is. */
        at = ranges[i].base + ranges[i].size - 1;
        assert_int_equal(slot_map_next(&fixture.map, &at), i + 1);
        assert_true(at == ranges[i].base + ranges[i].size - 1);
        at = (at | (SLOT - 1)) + 1;
    }
    assert_int_equal(slot_map_next(&fixture.map, &at), 0);
    destroy();
}

static void no_memory_for_a_leaf_is_reported_and_a_later_attempt_succeeds(void **state)
{
    const uintptr_t base = (uintptr_t)GIB - SLOT;
    (void)state;
    create_up_to(0xFFFEFFFFu);
    for (size_t leaf = 1; leaf <= 2; leaf++) { /* the first one stays when the second fails */
        fake_os_fail(&fixture.fake, FAKE_TABLE_COMMIT, 1);
        assert_int_equal(slot_map_prepare(&fixture.map, base, leaf * SLOT), OS_NOT_ENOUGH_MEMORY);
        assert_int_equal(fixture.fake.failed_kind, FAKE_TABLE_COMMIT);
        assert_int_equal(slot_map_get(&fixture.map, base), 0);
        assert_int_equal(usage_current(&fixture.memory.committed),
                         fake_os_table_committed(&fixture.fake));
        assert_int_equal(slot_map_prepare(&fixture.map, base, leaf * SLOT), OS_OK);
    }
    set(base, 2 * SLOT, 12);
    assert_range(base, 2 * SLOT, 12, 0, 0);
    destroy();
}

static void create_fails_cleanly_without_memory(void **state)
{
    (void)state;
    fake_os_init_default(&fixture.fake);
    fixture.memory = (struct table_memory){.os = &fixture.fake.os};
    for (size_t nth = 1; nth <= 3; nth++) {
        fake_os_fail(&fixture.fake, FAKE_ANY_KIND, nth);
        assert_int_equal(slot_map_create(&fixture.map, &fixture.memory), OS_NOT_ENOUGH_MEMORY);
        assert_int_equal(usage_current(&fixture.memory.committed), 0);
        assert_int_equal(fixture.fake.table_count, 0);
    }
    assert_int_equal(slot_map_create(&fixture.map, &fixture.memory), OS_OK);
    destroy();
}

#if UINTPTR_MAX > UINT32_MAX
static void a_region_of_256_gib_needs_two_leaves_at_most(void **state)
{
    const uintptr_t base = ((uintptr_t)1 << 40) + 3 * SLOT;
    (void)state;
    create_up_to(((uintptr_t)1 << 47) - 1);
    size_t before = fake_os_table_committed(&fixture.fake);
    set(base, 256 * GIB, 13);
    assert_int_equal(fake_os_table_committed(&fixture.fake) - before, 2 * sizeof(struct slot_leaf));
    assert_range(base, 256 * GIB, 13, 0, 0);
    slot_map_set(&fixture.map, base, 256 * GIB, 0);
    assert_range(base, 256 * GIB, 0, 0, 0);
    destroy();
}

static void the_47_bit_edge_is_covered_and_not_one_slot_more(void **state)
{
    const uintptr_t end = (uintptr_t)1 << 47;
    (void)state;
    create_up_to(end - 1);
    assert_int_equal(slot_map_prepare(&fixture.map, end, SLOT), OS_NOT_ENOUGH_MEMORY);
    assert_int_equal(slot_map_prepare(&fixture.map, end - SLOT, 2 * SLOT), OS_NOT_ENOUGH_MEMORY);
    set(end - SLOT, SLOT, 14);
    assert_range(end - SLOT, SLOT, 14, 0, 0);
    slot_map_set(&fixture.map, end - SLOT, SLOT, 0);
    set(end - GIB, GIB, 15);
    assert_range(end - GIB, GIB, 15, 0, 0);
    destroy();
}

static void a_57_bit_space_is_covered_up_to_48_bits(void **state)
{
    const uintptr_t end = (uintptr_t)1 << 48;
    (void)state;
    create_up_to(((uintptr_t)1 << 56) - 1);
    set(end - SLOT, SLOT, 16);
    assert_range(end - SLOT, SLOT, 16, 0, 0);
    assert_int_equal(slot_map_prepare(&fixture.map, end, SLOT), OS_NOT_ENOUGH_MEMORY);
    assert_int_equal(slot_map_get(&fixture.map, end), 0);
    destroy();
}
#endif

static void set_a_neighbour(struct fake_os *os, enum fake_kind kind)
{
    if (kind == FAKE_TABLE_COMMIT) {
        os->after = NULL;
        set(3 * SLOT, SLOT, 3);
    }
}

static void two_threads_may_install_the_same_leaf_at_once(void **state)
{
    (void)state;
    create_up_to(0x7FFEFFFFu);
    fixture.fake.after = set_a_neighbour;
    set(4 * SLOT, SLOT, 4);
    assert_null(fixture.fake.after);
    assert_range(3 * SLOT, SLOT, 3, 0, 4);
    assert_range(4 * SLOT, SLOT, 4, 3, 0);
    assert_int_equal(usage_current(&fixture.memory.committed),
                     fake_os_table_committed(&fixture.fake));
    destroy();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_empty_map_knows_no_address),
        cmocka_unit_test(one_page_owns_its_whole_slot_and_nothing_else),
        cmocka_unit_test(neighbours_are_untouched_by_set_and_by_clear),
        cmocka_unit_test(a_whole_gib_needs_no_leaf),
        cmocka_unit_test(a_range_across_a_gib_border_has_two_ragged_ends),
        cmocka_unit_test(a_gib_less_one_slot_at_either_end_is_no_whole_gib),
        cmocka_unit_test(slots_of_a_gib_can_follow_a_whole_one_and_the_other_way_round),
        cmocka_unit_test(the_last_slot_of_a_32_bit_space_is_covered),
        cmocka_unit_test(a_range_beyond_the_map_is_refused_and_leaves_no_trace),
        cmocka_unit_test(next_visits_the_ids_in_address_order_and_hops_over_nothing),
        cmocka_unit_test(no_memory_for_a_leaf_is_reported_and_a_later_attempt_succeeds),
        cmocka_unit_test(create_fails_cleanly_without_memory),
#if UINTPTR_MAX > UINT32_MAX
        cmocka_unit_test(a_region_of_256_gib_needs_two_leaves_at_most),
        cmocka_unit_test(the_47_bit_edge_is_covered_and_not_one_slot_more),
        cmocka_unit_test(a_57_bit_space_is_covered_up_to_48_bits),
#endif
        cmocka_unit_test(two_threads_may_install_the_same_leaf_at_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
