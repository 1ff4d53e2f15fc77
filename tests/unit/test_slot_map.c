/* SPDX-License-Identifier: MIT
 *
 * The slot map answers for every slot of a range and for no slot of another one, at all edges of the
 * address space and of its units; it has nodes where regions are neighbours, gives them back, and
 * refuses what lies beyond it. The tests of the exact map see that no other slot leads anywhere.
 */
#include "support/fake_os.h"
#include "support/random.h"
#include "support/unit.h"

#include "core/pages/slot_map.h"

#include <string.h>

#define NODE_UNIT ((uintptr_t)1 << (SLOT_SHIFT + SLOT_NODE_SHIFT)) /* 32 MiB */
#define IDS 2048

struct range {
    uintptr_t base;
    size_t size;
};

struct fixture {
    struct fake_os fake;
    struct table_memory memory;
    struct slot_map map;
    struct range ranges[IDS]; /* by id */
};

static struct fixture fixture;

static void range_of(const void *owner, uint32_t id, uintptr_t *first, uintptr_t *last)
{
    const struct range *range = &((const struct fixture *)owner)->ranges[id];
    *first = range->base;
    *last = range->base + range->size - 1;
}

static void create(uintptr_t max_address, slot_map_range *of)
{
    fake_os_init(&fixture.fake, SLOT, max_address);
    fixture.memory = (struct table_memory){.os = &fixture.fake.os};
    assert_int_equal(slot_map_create(&fixture.map, &fixture.memory, of, &fixture), OS_OK);
}

static void create_exact(uintptr_t max_address)
{
    create(max_address, NULL);
}

static void create_up_to(uintptr_t max_address)
{
    create(max_address, range_of);
}

static size_t table_bytes(void)
{
    assert_int_equal(usage_current(&fixture.memory.committed),
                     fake_os_table_committed(&fixture.fake));
    return fake_os_table_committed(&fixture.fake);
}

/* Nodes in the tree. */
static size_t nodes(void)
{
    size_t free = 0;
    assert_sound(slot_map_check(&fixture.map));
    for (uint32_t i = fixture.map.free_head; i != 0; i = fixture.map.nodes[i - 1].next_free) {
        free++;
    }
    return fixture.map.node_count - free;
}

static void destroy(void)
{
    assert_sound(slot_map_check(&fixture.map));
    slot_map_destroy(&fixture.map);
    assert_int_equal(usage_current(&fixture.memory.committed), 0);
    assert_int_equal(fake_os_destroy(&fixture.fake), 0);
}

static void set(uintptr_t base, size_t size, uint32_t id)
{
    fixture.ranges[id] = (struct range){base, size};
    assert_int_equal(slot_map_set(&fixture.map, base, size, id), OS_OK);
}

static void clear(uint32_t id)
{
    slot_map_clear(&fixture.map, fixture.ranges[id].base, fixture.ranges[id].size, id);
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

/* ---- edges ---- */

static void the_last_slot_of_a_32_bit_space_is_covered(void **state)
{
    const uintptr_t slot = 0xFFFE0000u;
    (void)state;
    create_exact(0xFFFEFFFFu);
    set(slot, SLOT, 11);
    assert_int_equal(slot_map_get(&fixture.map, slot), 11);
    assert_int_equal(slot_map_get(&fixture.map, slot + SLOT - 1), 11);
    assert_int_equal(slot_map_get(&fixture.map, slot - 1), 0);
    assert_int_equal(slot_map_get(&fixture.map, UINT32_MAX), 0);
    uintptr_t at = 0, last = 0;
    assert_int_equal(slot_map_next(&fixture.map, &at, UINTPTR_MAX, &last), 11);
    assert_true(at == slot && last == slot + SLOT - 1);
    destroy();
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

/* On 32-bit systems one word of the top is for all there is. */
#if UINTPTR_MAX > UINT32_MAX
static void assert_refused(uintptr_t base, size_t size, uint32_t id)
{
    fixture.ranges[id] = (struct range){base, size};
    assert_int_equal(slot_map_set(&fixture.map, base, size, id), OS_NOT_ENOUGH_MEMORY);
}

static void a_range_beyond_the_map_is_refused_and_leaves_no_trace(void **state)
{
    (void)state;
    create_up_to(0x3FFFFFFFu);
    size_t before = table_bytes();
    const uintptr_t end = (uintptr_t)1 << SLOT_TOP_SHIFT;
    assert_refused(end, SLOT, 1);
    assert_refused(end - SLOT, 2 * SLOT, 1);
    assert_refused(UINTPTR_MAX - SLOT + 1, SLOT, 1);
    assert_int_equal(slot_map_get(&fixture.map, end), 0);
    assert_int_equal(slot_map_get(&fixture.map, end - SLOT), 0);
    assert_int_equal(table_bytes(), before);
    uintptr_t at = UINTPTR_MAX, last;
    assert_int_equal(slot_map_next(&fixture.map, &at, UINTPTR_MAX, &last), 0);
    destroy();
}

static void a_region_of_256_gib_needs_nodes_at_its_ends_at_most(void **state)
{
    const uintptr_t base = ((uintptr_t)1 << 40) + 3 * SLOT;
    (void)state;
    create_up_to(((uintptr_t)1 << 47) - 1);
    set(base, 256 * GIB, 13);
    assert_int_equal(nodes(), 0);
    set(base - SLOT, SLOT, 14);
    set(base + 256 * GIB, SLOT, 15);
    assert_int_equal(nodes(), 4);
    assert_range(base, 256 * GIB, 13, 14, 15);
    clear(13);
    assert_range(base, 256 * GIB, 0, 14, 15);
    destroy();
}

static void the_47_bit_edge_is_covered_and_not_one_slot_more(void **state)
{
    const uintptr_t end = (uintptr_t)1 << 47;
    (void)state;
    create_exact(end - 1);
    assert_refused(end, SLOT, 14);
    assert_refused(end - SLOT, 2 * SLOT, 14);
    set(end - SLOT, SLOT, 14);
    assert_range(end - SLOT, SLOT, 14, 0, 0);
    clear(14);
    set(end - GIB, GIB, 15);
    assert_range(end - GIB, GIB, 15, 0, 0);
    destroy();
}

static void a_57_bit_space_is_covered_up_to_48_bits(void **state)
{
    const uintptr_t end = (uintptr_t)1 << 48;
    (void)state;
    create_exact(((uintptr_t)1 << 56) - 1);
    set(end - SLOT, SLOT, 16);
    assert_range(end - SLOT, SLOT, 16, 0, 0);
    assert_refused(end, SLOT, 17);
    assert_int_equal(slot_map_get(&fixture.map, end), 0);
    destroy();
}

static void a_thousand_regions_a_gib_apart_leave_little_behind(void **state)
{
    (void)state;
    create_up_to(((uintptr_t)1 << 47) - 1);
    size_t before = table_bytes();
    assert_int_equal(before, 32 * KIB);
    for (size_t round = 0; round < 3; round++) {
        for (uint32_t i = 1; i <= 1000; i++) {
            set(((uintptr_t)1 << 40) + i * GIB, PAGE, i);
        }
        assert_int_equal(nodes(), 63);
        for (uint32_t i = 1; i <= 1000; i++) {
            clear(i);
        }
        assert_int_equal(nodes(), 0);
        assert_in_range(table_bytes() - before, 63 * sizeof(struct slot_node), 136 * KIB);
    }
    destroy();
}
#endif

/* ---- memory ---- */

static void no_memory_for_a_node_is_reported_and_a_later_attempt_succeeds(void **state)
{
    const uintptr_t base = 4 * NODE_UNIT - SLOT;
    (void)state;
    create_up_to(0xFFFEFFFFu);
    set(base - SLOT, SLOT, 1);
    set(base + 2 * SLOT, SLOT, 2);
    for (size_t nth = 1;; nth++) {
        fake_os_fail(&fixture.fake, FAKE_TABLE_COMMIT, nth);
        if (slot_map_set(&fixture.map, base, 2 * SLOT, 12) == OS_OK) {
            assert_int_equal(nth, 2); /* two nodes in a page of their own */
            break;
        }
        assert_int_equal(fixture.fake.failed_kind, FAKE_TABLE_COMMIT);
        for (uintptr_t at = base; at < base + 2 * SLOT; at += SLOT) {
            assert_int_not_equal(slot_map_get(&fixture.map, at), 12);
        }
        assert_int_equal(slot_map_get(&fixture.map, base - SLOT), 1);
        assert_int_equal(slot_map_get(&fixture.map, base + 2 * SLOT), 2);
        assert_sound(slot_map_check(&fixture.map));
        table_bytes();
    }
    fake_os_fail(&fixture.fake, FAKE_ANY_KIND, 0);
    assert_range(base, 2 * SLOT, 12, 1, 2);
    destroy();
}

static void create_fails_cleanly_without_memory(void **state)
{
    (void)state;
    fake_os_init_default(&fixture.fake);
    fixture.memory = (struct table_memory){.os = &fixture.fake.os};
    for (size_t nth = 1; nth <= 3; nth++) {
        fake_os_fail(&fixture.fake, FAKE_ANY_KIND, nth);
        assert_int_equal(slot_map_create(&fixture.map, &fixture.memory, NULL, NULL),
                         OS_NOT_ENOUGH_MEMORY);
        assert_int_equal(usage_current(&fixture.memory.committed), 0);
        assert_int_equal(fixture.fake.table_count, 0);
    }
    assert_int_equal(slot_map_create(&fixture.map, &fixture.memory, NULL, NULL), OS_OK);
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
        cmocka_unit_test(a_range_that_is_alone_needs_no_node),
        cmocka_unit_test(who_was_alone_is_found_when_another_one_comes),
        cmocka_unit_test(a_clear_leaves_the_slots_of_a_successor_alone),
        cmocka_unit_test(the_last_slot_of_a_32_bit_space_is_covered),
        cmocka_unit_test(next_visits_the_ids_in_address_order_and_hops_over_nothing),
        cmocka_unit_test(next_tells_what_an_answer_is_for),
#if UINTPTR_MAX > UINT32_MAX
        cmocka_unit_test(a_range_beyond_the_map_is_refused_and_leaves_no_trace),
        cmocka_unit_test(a_region_of_256_gib_needs_nodes_at_its_ends_at_most),
        cmocka_unit_test(the_47_bit_edge_is_covered_and_not_one_slot_more),
        cmocka_unit_test(a_57_bit_space_is_covered_up_to_48_bits),
        cmocka_unit_test(a_thousand_regions_a_gib_apart_leave_little_behind),
#endif
        cmocka_unit_test(no_memory_for_a_node_is_reported_and_a_later_attempt_succeeds),
        cmocka_unit_test(create_fails_cleanly_without_memory),
        cmocka_unit_test(agrees_with_a_naive_array_over_many_random_operations),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
