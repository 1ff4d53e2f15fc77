/* SPDX-License-Identifier: MIT
 *
 * The slot map answers for every slot of a range and for no slot of another one; it has nodes where
 * regions are neighbours, and gives them back. The tests of the exact map see that no other slot leads
 * anywhere.
 */
#include "unit/slot_map_fixture.h"

static void an_empty_map_knows_no_address(void **state)
{
    uintptr_t address = 0, last;
    (void)state;
    create_up_to(0x7FFEFFFFu);
    assert_int_equal(slot_map_get(&fixture.map, 0), 0);
    assert_int_equal(slot_map_get(&fixture.map, SLOT), 0);
    assert_int_equal(slot_map_get(&fixture.map, 0x7FFEFFFFu), 0);
    assert_int_equal(slot_map_get(&fixture.map, UINTPTR_MAX), 0);
    assert_int_equal(slot_map_next(&fixture.map, &address, UINTPTR_MAX, &last), 0);
    assert_int_equal(nodes(), 0);
    destroy();
}

/* ---- exact ---- */

static void one_page_owns_its_whole_slot_and_nothing_else(void **state)
{
    (void)state;
    create_exact(0x7FFEFFFFu);
    set(0x50000, PAGE, 7);
    assert_range(0x50000, PAGE, 7, 0, 0);
    assert_int_equal(nodes(), 2);
    clear(7);
    assert_range(0x50000, PAGE, 0, 0, 0);
    assert_int_equal(nodes(), 0);
    destroy();
}

static void neighbours_are_untouched_by_set_and_by_clear(void **state)
{
    const uintptr_t base = 0x10000000;
    (void)state;
    for (size_t exact = 0; exact < 2; exact++) {
        create(0x7FFEFFFFu, exact ? NULL : range_of);
        set(base - SLOT, SLOT, 1);
        set(base + 5 * SLOT, 2 * SLOT, 3);
        set(base, 5 * SLOT - PAGE, 2);
        assert_range(base, 5 * SLOT - PAGE, 2, 1, 3);
        clear(2);
        assert_range(base, 5 * SLOT - PAGE, 0, 1, 3);
        destroy();
    }
}

static void a_whole_unit_needs_no_node_below(void **state)
{
    (void)state;
    create_exact(0xFFFEFFFFu);
    set(4 * NODE_UNIT, 2 * NODE_UNIT, 9);
    assert_int_equal(nodes(), 1);
    assert_range(4 * NODE_UNIT, 2 * NODE_UNIT, 9, 0, 0);
    clear(9);
    assert_range(4 * NODE_UNIT, 2 * NODE_UNIT, 0, 0, 0);
    destroy();
}

static void a_range_across_a_border_has_two_ragged_ends(void **state)
{
    const uintptr_t base = 4 * NODE_UNIT - SLOT;
    const size_t size = NODE_UNIT + 2 * SLOT; /* a slot, a whole unit, a slot */
    (void)state;
    create_exact(0xFFFEFFFFu);
    set(base - SLOT, SLOT, 1);
    set(base + size, SLOT, 3);
    set(base, size, 2);
    assert_range(base, size, 2, 1, 3);
    for (uintptr_t at = base; at < base + size; at += SLOT) {
        if (slot_map_get(&fixture.map, at) != 2) {
            fail_msg("slot %lu of the range", (unsigned long)((at - base) / SLOT));
        }
    }
    assert_int_equal(nodes(), 3);
    clear(2);
    assert_range(base, size, 0, 1, 3);
    destroy();
}

static void a_unit_less_one_slot_at_either_end_is_no_whole_unit(void **state)
{
    (void)state;
    create_exact(0xFFFEFFFFu);
    set(NODE_UNIT + SLOT, NODE_UNIT - SLOT, 4);
    assert_range(NODE_UNIT + SLOT, NODE_UNIT - SLOT, 4, 0, 0);
    set(2 * NODE_UNIT, NODE_UNIT - SLOT, 5);
    assert_range(2 * NODE_UNIT, NODE_UNIT - SLOT, 5, 4, 0);
    destroy();
}

static void slots_of_a_unit_can_follow_a_whole_one_and_the_other_way_round(void **state)
{
    (void)state;
    create_exact(0xFFFEFFFFu);
    for (uint32_t round = 0; round < 3; round++) {
        set(NODE_UNIT, NODE_UNIT, 10 + round);
        assert_range(NODE_UNIT, NODE_UNIT, 10 + round, 0, 0);
        clear(10 + round);
        set(NODE_UNIT, SLOT, 20 + round);
        assert_range(NODE_UNIT, SLOT, 20 + round, 0, 0);
        clear(20 + round);
    }
    assert_int_equal(nodes(), 0);
    assert_int_equal(fixture.map.node_count, 2); /* the same ones each time */
    destroy();
}

/* The one that had the whole unit is still in the map; the OS has it no longer. */
static void a_part_of_a_whole_unit_can_be_taken_over(void **state)
{
    const uintptr_t unit = 3 * NODE_UNIT;
    (void)state;
    create_exact(0xFFFEFFFFu);
    set(unit, NODE_UNIT, 1);
    set(unit + SLOT, 2 * SLOT, 2);
    assert_range(unit + SLOT, 2 * SLOT, 2, 1, 1);
    assert_range(unit, SLOT, 1, 0, 2);
    assert_range(unit + 3 * SLOT, NODE_UNIT - 3 * SLOT, 1, 2, 0);
    clear(1);
    assert_range(unit + SLOT, 2 * SLOT, 2, 0, 0);
    clear(2);
    assert_int_equal(nodes(), 0);
    destroy();
}

/* ---- alone ---- */

static void a_range_that_is_alone_needs_no_node(void **state)
{
    const uintptr_t base = 7 * NODE_UNIT + 5 * SLOT;
    (void)state;
    create_up_to(0xFFFEFFFFu);
    size_t before = table_bytes();
    for (size_t size = PAGE; size < GIB; size *= 2) {
        set(base, size, 1);
        assert_int_equal(slot_map_get(&fixture.map, base), 1);
        assert_int_equal(slot_map_get(&fixture.map, base + size - 1), 1);
        assert_int_equal(nodes(), 0);
        clear(1);
        assert_int_equal(slot_map_get(&fixture.map, base), 0);
    }
    assert_int_equal(table_bytes(), before);
    destroy();
}

static void who_was_alone_is_found_when_another_one_comes(void **state)
{
    const uintptr_t base = 7 * NODE_UNIT - SLOT;
    (void)state;
    create_up_to(0xFFFEFFFFu);
    set(base, NODE_UNIT + 5 * SLOT, 1); /* in three units */
    set(base + NODE_UNIT + 5 * SLOT, SLOT, 2);
    assert_int_equal(nodes(), 2); /* where they are neighbours */
    for (uintptr_t at = base; at < base + NODE_UNIT + 5 * SLOT; at += SLOT) {
        assert_int_equal(slot_map_get(&fixture.map, at), 1);
    }
    assert_int_equal(slot_map_get(&fixture.map, base + NODE_UNIT + 5 * SLOT), 2);
    assert_int_equal(slot_map_get(&fixture.map, base + NODE_UNIT + 6 * SLOT), 0);
    clear(1); /* and the other stays */
    assert_int_equal(slot_map_get(&fixture.map, base + NODE_UNIT + 5 * SLOT), 2);
    assert_int_equal(slot_map_get(&fixture.map, base + NODE_UNIT + 4 * SLOT), 0);
    assert_int_equal(nodes(), 2);
    clear(2);
    assert_int_equal(nodes(), 0);
    destroy();
}

/* A region is cleared when its addresses may have a successor already. */
static void a_clear_leaves_the_slots_of_a_successor_alone(void **state)
{
    const struct range old[] = {
        {7 * NODE_UNIT, SLOT}, {7 * NODE_UNIT, NODE_UNIT}, {7 * NODE_UNIT, NODE_UNIT + SLOT}};
    const struct range fresh[] = {{7 * NODE_UNIT, PAGE},
                                  {7 * NODE_UNIT + SLOT, 2 * SLOT},
                                  {6 * NODE_UNIT, 2 * NODE_UNIT},
                                  {6 * NODE_UNIT + SLOT, 3 * NODE_UNIT}};
    (void)state;
    for (size_t i = 0; i < 3 * 4 * 4; i++) {
        struct range of = old[i % 3], by = fresh[i / 3 % 4];
        create_up_to(0xFFFEFFFFu);
        if (i / 12 % 2 != 0) {
            set(20 * NODE_UNIT, SLOT, 3); /* nobody is alone */
        }
        if (i / 24 != 0) {
            set(of.base + of.size, SLOT, 4);
            clear(4);
        }
        set(of.base, of.size, 1);
        set(by.base, by.size, 2);
        clear(1);
        for (uintptr_t at = by.base; at < by.base + by.size; at += SLOT) {
            assert_int_equal(slot_map_get(&fixture.map, at), 2);
        }
        uintptr_t at = of.base + of.size - SLOT;
        if (at - by.base >= by.size) {
            assert_int_not_equal(slot_map_get(&fixture.map, at), 1);
        }
        clear(2);
        if (i / 12 % 2 != 0) {
            clear(3);
        }
        assert_int_equal(nodes(), 0);
        destroy();
    }
}

static void next_visits_the_ids_in_address_order_and_hops_over_nothing(void **state)
{
    const struct range ranges[] = {{SLOT, PAGE},
                                   {3 * SLOT, 2 * SLOT},
                                   {NODE_UNIT - SLOT, 2 * SLOT}, /* across a border */
                                   {2 * NODE_UNIT, NODE_UNIT},
                                   {0xFFFE0000u, SLOT}};
    (void)state;
    create_exact(0xFFFEFFFFu);
    for (uint32_t i = 0; i < 5; i++) {
        set(ranges[i].base, ranges[i].size, i + 1);
    }
    uintptr_t at = 0, last = 0;
    for (uint32_t i = 0; i < 5; i++) {
        assert_int_equal(slot_map_next(&fixture.map, &at, UINTPTR_MAX, &last), i + 1);
        assert_true(at == ranges[i].base);
        assert_true(last == (i == 3 ? at + NODE_UNIT - 1 : at + SLOT - 1));
        /* Inside a slot that has an id the address stays as it is. */
        at = ranges[i].base + ranges[i].size - 1;
        assert_int_equal(slot_map_next(&fixture.map, &at, UINTPTR_MAX, &last), i + 1);
        assert_true(at == ranges[i].base + ranges[i].size - 1);
        at = (at | (SLOT - 1)) + 1;
    }
    assert_int_equal(slot_map_next(&fixture.map, &at, UINTPTR_MAX, &last), 0);
    destroy();
}

static void next_tells_what_an_answer_is_for(void **state)
{
    uintptr_t at = 5, last = 0;
    (void)state;
    create_up_to(0xFFFEFFFFu);
    set(2 * NODE_UNIT + 3 * SLOT, SLOT, 1); /* alone in all there is */
    assert_int_equal(slot_map_next(&fixture.map, &at, UINTPTR_MAX, &last), 1);
    assert_true(at == 5 && last >= 0xFFFFFFFFu);
    set(5 * NODE_UNIT, SLOT, 2);
    assert_int_equal(slot_map_next(&fixture.map, &at, UINTPTR_MAX, &last), 1);
    assert_true(at == 2 * NODE_UNIT && last == 3 * NODE_UNIT - 1);
    at = 2 * NODE_UNIT + 7 * SLOT;
    assert_int_equal(slot_map_next(&fixture.map, &at, UINTPTR_MAX, &last), 1);
    assert_true(at == 2 * NODE_UNIT + 7 * SLOT && last == 3 * NODE_UNIT - 1);
    set(2 * NODE_UNIT + 4 * SLOT, SLOT, 3);
    assert_int_equal(slot_map_next(&fixture.map, &at, UINTPTR_MAX, &last), 2);
    assert_true(at == 5 * NODE_UNIT && last == 6 * NODE_UNIT - 1);
    destroy();
}

/* Regions of all sizes come and go, alone or not; each slot leads to its region, and who is in no
 * region is told of none that contains him. */
static void agrees_with_a_naive_array_over_many_random_operations(void **state)
{
    static uint16_t owner[3 * 512 + 100];
    const uintptr_t first = 4 * NODE_UNIT - 50 * SLOT;
    const size_t slots = sizeof(owner) / sizeof(owner[0]);
    struct random random = {random_seed("test_slot_map")};
    (void)state;
    for (size_t exact = 0; exact < 2; exact++) {
        create(0xFFFEFFFFu, exact ? NULL : range_of);
        memset(owner, 0, sizeof(owner));
        memset(fixture.ranges, 0, sizeof(fixture.ranges));
        for (size_t i = 0; i < 20000; i++) {
            uint32_t id = 1 + (uint32_t)random_below(&random, 40);
            size_t slot = (fixture.ranges[id].base - first) / SLOT, end;
            if (fixture.ranges[id].size != 0) {
                end = slot + (fixture.ranges[id].size + SLOT - 1) / SLOT;
                clear(id);
                fixture.ranges[id].size = 0;
                memset(&owner[slot], 0, (end - slot) * sizeof(owner[0]));
            } else {
                slot = random_below(&random, slots);
                end = slot;
                size_t most = random_one_in(&random, 4) ? slots : 3;
                while (end < slots && end < slot + most && owner[end] == 0) {
                    owner[end++] = (uint16_t)id;
                }
                if (end > slot) {
                    set(first + slot * SLOT, (end - slot) * SLOT - random_below(&random, SLOT), id);
                }
            }
            for (size_t k = 0; k < slots; k += i % 100 == 0 ? 1 : 17) {
                uint32_t found = slot_map_get(&fixture.map, first + k * SLOT);
                if (found != owner[k] && (exact || owner[k] != 0)) {
                    fail_msg("operation %lu, slot %lu", (unsigned long)i, (unsigned long)k);
                }
            }
            if (i % 100 == 0) {
                assert_sound(slot_map_check(&fixture.map));
            }
        }
        destroy();
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_empty_map_knows_no_address),
        cmocka_unit_test(one_page_owns_its_whole_slot_and_nothing_else),
        cmocka_unit_test(neighbours_are_untouched_by_set_and_by_clear),
        cmocka_unit_test(a_whole_unit_needs_no_node_below),
        cmocka_unit_test(a_range_across_a_border_has_two_ragged_ends),
        cmocka_unit_test(a_unit_less_one_slot_at_either_end_is_no_whole_unit),
        cmocka_unit_test(slots_of_a_unit_can_follow_a_whole_one_and_the_other_way_round),
        cmocka_unit_test(a_part_of_a_whole_unit_can_be_taken_over),
        cmocka_unit_test(a_range_that_is_alone_needs_no_node),
        cmocka_unit_test(who_was_alone_is_found_when_another_one_comes),
        cmocka_unit_test(a_clear_leaves_the_slots_of_a_successor_alone),
        cmocka_unit_test(next_visits_the_ids_in_address_order_and_hops_over_nothing),
        cmocka_unit_test(next_tells_what_an_answer_is_for),
        cmocka_unit_test(agrees_with_a_naive_array_over_many_random_operations),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
