/* SPDX-License-Identifier: MIT
 *
 * The region table: a region is found from publish to withdraw, in every byte of it and in none
 * beside it; ids rest before they come again; and region_table_check notices every inconsistency.
 */
#include "support/fake_os.h"
#include "support/unit.h"

#include "core/pages/region_table.h"

#define BASE ((uintptr_t)0x10000000)

static struct fake_os fake;
static struct table_memory memory;
static struct region_table table;

static int set_up_in(uintptr_t max_address)
{
    fake_os_init(&fake, SLOT, max_address);
    memory = (struct table_memory){.os = &fake.os};
    return region_table_create(&table, &memory) == OS_OK ? 0 : -1;
}

static int set_up(void **state)
{
    (void)state;
    return set_up_in(0xFFFEFFFFu);
}

static int tear_down(void **state)
{
    (void)state;
    region_table_destroy(&table);
    return usage_current(&memory.committed) == 0 && fake_os_destroy(&fake) == 0 ? 0 : -1;
}

static uint32_t publish(uintptr_t base, size_t size, bool committed)
{
    const struct region_snapshot region = {
        .base = base, .size = size, .type = OS_MEM_RESERVE, .protect = OS_PAGE_READWRITE};
    uint32_t id = region_table_acquire(&table);
    assert_int_not_equal(id, 0);
    assert_int_equal(region_table_publish(&table, id, &region, committed), OS_OK);
    return id;
}

static void drop(uintptr_t base)
{
    struct region_guard guard;
    assert_true(region_table_lock(&table, base, &guard));
    region_table_withdraw(&table, &guard);
    region_table_discard(&table, &guard);
}

static void assert_found(uintptr_t address, uintptr_t base, size_t size)
{
    struct region_snapshot region = {POISON, POISON, 0xDEAD, 0xDEAD};
    assert_true(region_table_find(&table, address, &region));
    assert_true(region.base == base);
    assert_int_equal(region.size, size);
    assert_int_equal(region.type, OS_MEM_RESERVE);
    assert_int_equal(region.protect, OS_PAGE_READWRITE);
}

static void assert_nothing_at(uintptr_t address)
{
    struct region_snapshot region;
    struct region_guard guard;
    assert_false(region_table_find(&table, address, &region));
    assert_false(region_table_lock(&table, address, &guard));
}

static void an_empty_table_finds_nothing(void **state)
{
    struct region_snapshot region;
    (void)state;
    assert_nothing_at(0);
    assert_nothing_at(BASE);
    assert_nothing_at(UINTPTR_MAX);
    assert_false(region_table_next(&table, 0, &region));
    assert_sound(region_table_check(&table, 0, 0));
}

static void a_published_region_is_found_in_every_byte_and_in_none_beside_it(void **state)
{
    (void)state;
    publish(BASE, 3 * SLOT, false);
    assert_found(BASE, BASE, 3 * SLOT);
    assert_found(BASE + 1, BASE, 3 * SLOT);
    assert_found(BASE + 2 * SLOT, BASE, 3 * SLOT);
    assert_found(BASE + 3 * SLOT - 1, BASE, 3 * SLOT);
    assert_nothing_at(BASE - 1);
    assert_nothing_at(BASE + 3 * SLOT);
    assert_sound(region_table_check(&table, 3 * SLOT, 0));
}

static void the_tail_of_a_last_slot_is_nothing(void **state)
{
    (void)state;
    publish(BASE, SLOT + PAGE, false);
    assert_found(BASE + SLOT + PAGE - 1, BASE, SLOT + PAGE);
    assert_nothing_at(BASE + SLOT + PAGE);
    assert_nothing_at(BASE + 2 * SLOT - 1);
    publish(BASE + 2 * SLOT, PAGE, false);
    assert_nothing_at(BASE + 2 * SLOT - 1);
    assert_sound(region_table_check(&table, SLOT + 2 * PAGE, 0));
}

static void all_or_no_pages_are_committed_at_publish(void **state)
{
    struct region_guard guard;
    (void)state;
    publish(BASE, 5 * PAGE, true);
    publish(BASE + SLOT, 5 * PAGE, false);
    publish(BASE + 2 * SLOT, 4 * MIB, true); /* too large for bits in place */
    assert_true(region_table_lock(&table, BASE + 4 * PAGE, &guard));
    assert_true(guard.base == BASE);
    assert_int_equal(guard.size, 5 * PAGE);
    assert_int_equal(guard.page_count, 5);
    assert_int_equal(guard.pages->committed, 5);
    region_table_unlock(&table, &guard);
    assert_true(region_table_lock(&table, BASE + SLOT, &guard));
    assert_int_equal(guard.pages->committed, 0);
    region_table_unlock(&table, &guard);
    assert_sound(region_table_check(&table, 10 * PAGE + 4 * MIB, 5 * PAGE + 4 * MIB));
}

static void a_withdrawn_region_is_nowhere_and_a_restored_one_is_as_before(void **state)
{
    struct region_guard guard;
    struct region_snapshot region;
    (void)state;
    publish(BASE, 2 * SLOT, true);
    assert_true(region_table_lock(&table, BASE + SLOT, &guard));
    region_table_withdraw(&table, &guard);
    assert_nothing_at(BASE);
    assert_nothing_at(BASE + SLOT);
    assert_false(region_table_next(&table, 0, &region));
    assert_int_equal(usage_current(&table.live), 0);
    region_table_restore(&table, &guard);
    assert_found(BASE, BASE, 2 * SLOT);
    assert_int_equal(guard.pages->committed, 2 * SLOT / PAGE);
    region_table_unlock(&table, &guard);
    assert_true(region_table_lock(&table, BASE, &guard)); /* it was unlocked */
    region_table_unlock(&table, &guard);
    assert_sound(region_table_check(&table, 2 * SLOT, 2 * SLOT));
}

/* More runs than fit into a set: it becomes a tree. */
static void mark_every_second_page(const struct region_guard *guard)
{
    struct page_change change;
    for (size_t i = 0; i < 5; i++) {
        assert_true(page_set_prepare_mark(guard->pages, guard->page_count, 2 * i, 2 * i + 1,
                                          &table.pool, &change));
        page_set_apply(guard->pages, guard->page_count, &change, &table.pool);
    }
}

static void a_discarded_region_gives_its_nodes_and_its_id_back(void **state)
{
    struct region_guard guard;
    (void)state;
    uint32_t id = publish(BASE, 4 * MIB, false);
    assert_true(region_table_lock(&table, BASE, &guard));
    size_t nodes = table.pool.free_count;
    mark_every_second_page(&guard);
    assert_int_equal(table.pool.free_count, nodes - 1);
    region_table_withdraw(&table, &guard);
    region_table_discard(&table, &guard);
    assert_int_equal(table.pool.free_count, nodes);
    assert_int_equal(region_table_acquire(&table), id);
    region_table_recycle(&table, id);
    publish(BASE, SLOT, false); /* the same id with another size and no committed pages */
    assert_found(BASE, BASE, SLOT);
    assert_nothing_at(BASE + SLOT);
    assert_sound(region_table_check(&table, SLOT, 0));
}

static void ids_come_again_first_in_first_out(void **state)
{
    uint32_t ids[4];
    (void)state;
    for (size_t i = 0; i < 4; i++) {
        ids[i] = region_table_acquire(&table);
        for (size_t j = 0; j < i; j++) {
            assert_int_not_equal(ids[i], ids[j]);
        }
    }
    region_table_recycle(&table, ids[2]);
    region_table_recycle(&table, ids[0]);
    region_table_recycle(&table, ids[3]);
    assert_int_equal(region_table_acquire(&table), ids[2]);
    region_table_recycle(&table, ids[2]);
    assert_int_equal(region_table_acquire(&table), ids[0]);
    assert_int_equal(region_table_acquire(&table), ids[3]);
    assert_int_equal(region_table_acquire(&table), ids[2]);
    uint32_t fresh = region_table_acquire(&table); /* the list is empty again */
    assert_int_not_equal(fresh, 0);
    for (size_t i = 0; i < 4; i++) {
        assert_int_not_equal(fresh, ids[i]);
    }
    region_table_recycle(&table, ids[1]);
    assert_int_equal(region_table_acquire(&table), ids[1]);
}

static void next_visits_the_regions_in_order_from_any_address(void **state)
{
    struct region_snapshot region = {POISON, POISON, 0, 0};
    (void)state;
    publish(2 * (uintptr_t)GIB, GIB, false); /* a whole GiB */
    publish(BASE, SLOT + PAGE, false);
    publish(BASE + 2 * SLOT, PAGE, false);
    publish(0xFFFE0000u, SLOT, false);
    assert_true(region_table_next(&table, 0, &region));
    assert_true(region.base == BASE);
    assert_true(region_table_next(&table, BASE, &region));
    assert_true(region.base == BASE);
    assert_int_equal(region.size, SLOT + PAGE);
    const uintptr_t inside[] = {1, SLOT - 1, SLOT, SLOT + PAGE, 2 * SLOT - 1, 2 * SLOT};
    for (size_t i = 0; i < sizeof(inside) / sizeof(inside[0]); i++) {
        assert_true(region_table_next(&table, BASE + inside[i], &region));
        assert_true(region.base == BASE + 2 * SLOT);
    }
    assert_true(region_table_next(&table, BASE + 2 * SLOT + PAGE, &region));
    assert_true(region.base == 2 * (uintptr_t)GIB);
    assert_true(region_table_next(&table, 2 * (uintptr_t)GIB + 1, &region));
    assert_true(region.base == 0xFFFE0000u);
    assert_false(region_table_next(&table, 0xFFFE0001u, &region));
    assert_false(region_table_next(&table, UINTPTR_MAX, &region));
}

static void an_id_beyond_the_first_1024_brings_its_own_memory(void **state)
{
    (void)state;
    for (uintptr_t i = 0; i < 3000; i++) {
        publish(BASE + i * SLOT, PAGE, i % 2 == 0);
    }
    assert_sound(region_table_check(&table, 3000 * PAGE, 1500 * PAGE));
    assert_int_equal(usage_current(&memory.committed), fake_os_table_committed(&fake));
    for (uintptr_t i = 0; i < 3000; i += 3) {
        drop(BASE + i * SLOT);
    }
    assert_sound(region_table_check(&table, 2000 * PAGE, 1000 * PAGE));
    assert_int_equal(usage_current(&table.live), 2000);
    assert_int_equal(usage_peak(&table.live), 3000);
}

static void there_are_as_many_ids_as_the_header_says_and_then_none(void **state)
{
    const size_t capacity = sizeof(void *) == 8 ? (size_t)4 << 20 : (size_t)64 << 10;
    size_t count = 0;
    uint32_t id;
    (void)state;
    for (; (id = region_table_acquire(&table)) != 0; count++) {
        if (id != count + 1) {
            fail_msg("id %lu is %lu", (unsigned long)count + 1, (unsigned long)id);
        }
    }
    assert_int_equal(count, capacity - 1);
    assert_int_equal(region_table_acquire(&table), 0);
    region_table_recycle(&table, 77);
    assert_int_equal(region_table_acquire(&table), 77);
    table.used_count = 1; /* keeps destroy from touching 256 MiB of ids that were never published */
}

static void no_memory_for_ids_is_reported_and_a_later_attempt_succeeds(void **state)
{
    (void)state;
    for (int i = 0; i < 3; i++) {
        fake_os_fail(&fake, FAKE_TABLE_COMMIT, 1);
        assert_int_equal(region_table_acquire(&table), 0);
        assert_int_equal(usage_current(&memory.committed), fake_os_table_committed(&fake));
        assert_sound(region_table_check(&table, 0, 0));
    }
    publish(BASE, SLOT, true);
    assert_int_equal(usage_current(&memory.committed), fake_os_table_committed(&fake));
    assert_sound(region_table_check(&table, SLOT, SLOT));
}

static void no_memory_for_slots_leaves_the_id_with_the_caller(void **state)
{
    const struct region_snapshot region = {.base = BASE, .size = SLOT};
    (void)state;
    publish(BASE + SLOT, SLOT, false); /* a second one needs nodes */
    uint32_t id = region_table_acquire(&table);
    fake_os_fail(&fake, FAKE_TABLE_COMMIT, 1);
    assert_int_equal(region_table_publish(&table, id, &region, true), OS_NOT_ENOUGH_MEMORY);
    assert_nothing_at(BASE);
    assert_int_equal(usage_current(&table.live), 1);
    assert_sound(region_table_check(&table, SLOT, 0));
    region_table_recycle(&table, id);
    assert_int_equal(publish(BASE, SLOT, true), id);
    assert_sound(region_table_check(&table, 2 * SLOT, SLOT));
}

#if UINTPTR_MAX > UINT32_MAX
static int set_up_large(void **state)
{
    (void)state;
    return set_up_in(((uintptr_t)1 << 47) - SLOT - 1);
}

/* 16 TiB, less a page, are promised 600 MiB of nodes: that they are asked for is enough. */
static void a_region_takes_less_than_16_TiB_of_committed_pages(void **state)
{
    struct region_snapshot region = {.base = BASE, .size = ((size_t)PAGE_SET_MOST + 1) * PAGE};
    uint32_t id = region_table_acquire(&table);
    (void)state;
    size_t calls = fake_os_calls(&fake);
    assert_int_equal(region_table_publish(&table, id, &region, true), OS_NOT_ENOUGH_MEMORY);
    assert_int_equal(fake_os_calls(&fake), calls); /* no slots for it either */
    assert_nothing_at(BASE);
    region.size -= PAGE;
    fake_os_fail(&fake, FAKE_TABLE_COMMIT, 1);
    assert_int_equal(region_table_publish(&table, id, &region, true), OS_NOT_ENOUGH_MEMORY);
    assert_int_equal(fake.failed_kind, FAKE_TABLE_COMMIT);
    assert_nothing_at(BASE);
    assert_int_equal(region_table_publish(&table, id, &region, false), OS_OK);
    assert_sound(region_table_check(&table, region.size, 0));
    drop(BASE);
}
#endif

static void create_fails_cleanly_at_every_step(void **state)
{
    struct region_table other;
    size_t nth = 1;
    (void)state;
    size_t tables = fake.table_count, committed = usage_current(&memory.committed);
    for (;; nth++) {
        fake_os_fail(&fake, FAKE_ANY_KIND, nth);
        if (region_table_create(&other, &memory) == OS_OK) {
            break;
        }
        assert_int_equal(fake.table_count, tables);
        assert_int_equal(usage_current(&memory.committed), committed);
    }
    assert_int_equal(nth, 7); /* nodes; top: reserve, commit; pages: the same; ids */
    region_table_destroy(&other);
    assert_int_equal(fake.table_count, tables);
}

static void destroy_gives_back_the_nodes_of_regions_that_are_alive(void **state)
{
    struct region_guard guard;
    (void)state;
    publish(BASE, 4 * MIB, false);
    assert_true(region_table_lock(&table, BASE, &guard));
    mark_every_second_page(&guard);
    assert_int_equal(guard.pages->form, PAGE_SET_IS_TREE);
    region_table_unlock(&table, &guard); /* tear_down counts what is left */
}

static void check_notices_every_inconsistency(void **state)
{
    struct region_guard guard;
    (void)state;
    uint32_t id = publish(BASE, 4 * SLOT, true);
    publish(BASE + 4 * SLOT, 4 * MIB, false);
    const size_t reserved = 4 * SLOT + 4 * MIB, committed = 4 * SLOT;
    assert_sound(region_table_check(&table, reserved, committed));

    assert_fault(region_table_check(&table, reserved + PAGE, committed),
                 "the reserved bytes are not the sum of the regions");
    assert_fault(region_table_check(&table, reserved, committed - PAGE),
                 "the committed bytes are not the sum of the pages");

    for (size_t i = 0; i < 4; i++) {
        slot_map_clear(&table.slots, BASE + i * SLOT, SLOT, id); /* a slot lost */
        assert_fault(region_table_check(&table, reserved, committed),
                     "a slot does not lead to its region");
        slot_map_set(&table.slots, BASE + i * SLOT, SLOT, id);
    }
    slot_map_set(&table.slots, BASE + 3 * SLOT, SLOT, id + 1); /* a slot of another region */
    assert_fault(region_table_check(&table, reserved, committed),
                 "a slot does not lead to its region");
    slot_map_set(&table.slots, BASE + 3 * SLOT, SLOT, id);
    assert_sound(region_table_check(&table, reserved, committed));
    table.slots.nodes[0].used++;
    assert_fault(region_table_check(&table, reserved, committed),
                 "a node of the slot map has a wrong count or is empty");
    table.slots.nodes[0].used--;

    usage_add(&table.live, 1);
    assert_fault(region_table_check(&table, reserved, committed),
                 "the count of live regions is not their number");
    usage_subtract(&table.live, 1);

    assert_true(region_table_lock(&table, BASE, &guard));
    guard.pages->committed--;
    assert_fault(region_table_check(&table, reserved, committed),
                 "the count of committed pages is not their number");
    guard.pages->committed++;
    region_table_unlock(&table, &guard);
    assert_sound(region_table_check(&table, reserved, committed));
}

static void check_notices_a_region_that_is_not_aligned(void **state)
{
    (void)state;
    publish(BASE + PAGE, SLOT, false);
    assert_fault(region_table_check(&table, SLOT, 0), "a region is not aligned");
    drop(BASE + PAGE);
    publish(BASE, SLOT + 1, false);
    assert_fault(region_table_check(&table, SLOT + 1, 0), "a region is not aligned");
}

static void check_notices_a_slot_that_outlives_its_region(void **state)
{
    (void)state;
    uint32_t id = publish(BASE, SLOT, false);
    publish(BASE + SLOT, SLOT, false);
    drop(BASE);
    assert_sound(region_table_check(&table, SLOT, 0));
    slot_map_set(&table.slots, BASE, SLOT, id);
    assert_fault(region_table_check(&table, SLOT, 0),
                 "a slot leads to a region that does not exist");
    slot_map_set(&table.slots, BASE, SLOT, id + 1); /* alive, but elsewhere */
    assert_fault(region_table_check(&table, SLOT, 0),
                 "a slot leads to a region that does not exist");
    slot_map_set(&table.slots, BASE, SLOT, id + 2); /* never handed out */
    assert_fault(region_table_check(&table, SLOT, 0),
                 "a slot leads to a region that does not exist");
    slot_map_clear(&table.slots, BASE, SLOT, id + 2);
    assert_sound(region_table_check(&table, SLOT, 0));
}

/* As one that is left over for a moment, when its region has gone and the id has come again. */
static void a_slot_that_leads_elsewhere_is_passed_over(void **state)
{
    struct region_snapshot region = {POISON, POISON, 0, 0};
    (void)state;
    publish(BASE, SLOT, false);
    uint32_t other = publish(BASE + 8 * SLOT, SLOT, false);
    slot_map_set(&table.slots, BASE - 2 * SLOT, SLOT, other);  /* its region is above */
    slot_map_set(&table.slots, BASE + 16 * SLOT, SLOT, other); /* and below */
    assert_true(region_table_next(&table, 0, &region));
    assert_true(region.base == BASE);
    assert_false(region_table_next(&table, BASE + 9 * SLOT, &region));
    assert_nothing_at(BASE - 2 * SLOT);
    assert_nothing_at(BASE + 16 * SLOT);
    slot_map_clear(&table.slots, BASE - 2 * SLOT, SLOT, other);
    assert_fault(region_table_check(&table, 2 * SLOT, 0),
                 "a slot leads to a region that does not exist");
    slot_map_clear(&table.slots, BASE + 16 * SLOT, SLOT, other);
    assert_sound(region_table_check(&table, 2 * SLOT, 0));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(an_empty_table_finds_nothing),
        TEST(a_published_region_is_found_in_every_byte_and_in_none_beside_it),
        TEST(the_tail_of_a_last_slot_is_nothing),
        TEST(all_or_no_pages_are_committed_at_publish),
        TEST(a_withdrawn_region_is_nowhere_and_a_restored_one_is_as_before),
        TEST(a_discarded_region_gives_its_nodes_and_its_id_back),
        TEST(ids_come_again_first_in_first_out),
        TEST(next_visits_the_regions_in_order_from_any_address),
        TEST(an_id_beyond_the_first_1024_brings_its_own_memory),
        TEST(there_are_as_many_ids_as_the_header_says_and_then_none),
        TEST(no_memory_for_ids_is_reported_and_a_later_attempt_succeeds),
        TEST(no_memory_for_slots_leaves_the_id_with_the_caller),
#if UINTPTR_MAX > UINT32_MAX
        cmocka_unit_test_setup_teardown(a_region_takes_less_than_16_TiB_of_committed_pages,
                                        set_up_large, tear_down),
#endif
        TEST(create_fails_cleanly_at_every_step),
        TEST(destroy_gives_back_the_nodes_of_regions_that_are_alive),
        TEST(check_notices_every_inconsistency),
        TEST(check_notices_a_region_that_is_not_aligned),
        TEST(check_notices_a_slot_that_outlives_its_region),
        TEST(a_slot_that_leads_elsewhere_is_passed_over),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
