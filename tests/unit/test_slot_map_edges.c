/* SPDX-License-Identifier: MIT
 *
 * The slot map at all edges of the address space and of its units; what lies beyond it is refused. What
 * it costs, and that without memory nothing has changed.
 */
#include "unit/slot_map_fixture.h"

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

/* ---- damage ---- */

static void check_notices_every_kind_of_damage(void **state)
{
    const char *const wrong = "a node of the slot map has a wrong count or is empty";
    const char *const lost = "a node of the slot map is lost";
    struct slot_map *map = &fixture.map;
    (void)state;
    create_exact(0xFFFEFFFFu);
    set(3 * NODE_UNIT, SLOT, 1);
    assert_int_equal(nodes(), 2);
    struct slot_node *upper = &map->nodes[0], *leaf = &map->nodes[1];
    assert_int_equal(leaf->words[0], 1);

    for (size_t i = 0; i < 2; i++) {
        struct slot_node *node = i == 0 ? upper : leaf;
        node->used++;
        assert_fault(slot_map_check(map), wrong);
        node->used -= 2; /* 0, and there is a word */
        assert_fault(slot_map_check(map), wrong);
        node->used++;
    }
    atomic_store(&leaf->words[0], 0);
    leaf->used = 0; /* a node that is empty */
    assert_fault(slot_map_check(map), wrong);
    leaf->used = 1;
    atomic_store(&leaf->words[0], SLOT_MAP_NODE | 1); /* a node below the last level */
    assert_fault(slot_map_check(map), wrong);
    atomic_store(&leaf->words[0], 1);
    assert_sound(slot_map_check(map));

    set(9 * NODE_UNIT, SLOT, 2);
    clear(2);
    uint32_t free_head = map->free_head;
    map->free_head = 0;
    assert_fault(slot_map_check(map), lost);
    map->free_head = free_head;
    map->nodes[free_head - 1].next_free = free_head; /* a list without an end */
    assert_fault(slot_map_check(map), lost);
    map->nodes[free_head - 1].next_free = 0;
    destroy();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_last_slot_of_a_32_bit_space_is_covered),
#if UINTPTR_MAX > UINT32_MAX
        cmocka_unit_test(a_range_beyond_the_map_is_refused_and_leaves_no_trace),
        cmocka_unit_test(a_region_of_256_gib_needs_nodes_at_its_ends_at_most),
        cmocka_unit_test(the_47_bit_edge_is_covered_and_not_one_slot_more),
        cmocka_unit_test(a_57_bit_space_is_covered_up_to_48_bits),
        cmocka_unit_test(a_thousand_regions_a_gib_apart_leave_little_behind),
#endif
        cmocka_unit_test(no_memory_for_a_node_is_reported_and_a_later_attempt_succeeds),
        cmocka_unit_test(create_fails_cleanly_without_memory),
        cmocka_unit_test(check_notices_every_kind_of_damage),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
