/* SPDX-License-Identifier: MIT
 *
 * The cushion holds what was asked for, gives up neighbours first, and comes back when there is
 * room, whichever call of the OS fails (trap 30).
 */
#include "support/fake_os.h"
#include "support/unit.h"

#include "core/limits/cushion.h"

static struct fake_os fake;
static struct cushion cushion;

static int set_up(void **state)
{
    (void)state;
    fake_os_init_default(&fake);
    return 0;
}

/* 2 GiB, as a 32-bit process has. */
static int set_up_small(void **state)
{
    (void)state;
    fake_os_init(&fake, SLOT, ((uintptr_t)1 << 31) - SLOT - 1);
    return 0;
}

static int tear_down(void **state)
{
    size_t reserved, committed;
    (void)state;
    cushion_destroy(&cushion);
    fake_os_totals(&fake, &reserved, &committed);
    return fake_os_destroy(&fake) == 0 && reserved == 0 ? 0 : -1;
}

static void create(uint64_t size)
{
    assert_int_equal(cushion_create(&cushion, &fake.os, size), OS_OK);
}

/* The cushion's own count and the OS's. */
static void assert_held(size_t bytes)
{
    size_t reserved = POISON, committed = POISON;
    assert_int_equal(cushion_bytes(&cushion), bytes);
    fake_os_totals(&fake, &reserved, &committed);
    assert_int_equal(reserved, bytes);
    assert_int_equal(committed, 0);
}

/* Memory of others in every place but the cushion's. */
static void fill_up(void)
{
    uintptr_t base;
    for (size_t size = GIB; size >= SLOT; size /= 2) {
        while (fake.os.virtual_alloc(&fake.os, 0, size, OS_MEM_RESERVE, OS_PAGE_NOACCESS, &base) ==
               OS_OK) {
            fake_os_region(&fake, base)->foreign = true;
        }
    }
}

static bool has_room(size_t size)
{
    uintptr_t base;
    if (fake.os.virtual_alloc(&fake.os, 0, size, OS_MEM_RESERVE, OS_PAGE_NOACCESS, &base) !=
        OS_OK) {
        return false;
    }
    assert_int_equal(fake.os.virtual_free(&fake.os, base, 0, OS_MEM_RELEASE), OS_OK);
    return true;
}

/* ---- create ---- */

static void no_cushion_holds_nothing_and_asks_for_nothing(void **state)
{
    (void)state;
    create(0);
    assert_held(0);
    assert_false(cushion_give_up(&cushion, 0, 1));
    assert_false(cushion_give_up(&cushion, SLOT, 1));
    cushion_restore(&cushion, 1000000);
    assert_int_equal(fake_os_calls(&fake), 0);
}

static void sizes_are_rounded_up_to_whole_parts(void **state)
{
    const struct {
        size_t size, part_size, part_count;
    } cases[] = {
        {1, SLOT, 1},
        {SLOT, SLOT, 1},
        {SLOT + 1, SLOT, 2},
        {16 * SLOT, SLOT, 16},
        {16 * SLOT + 1, 2 * SLOT, 9},
        {64 * MIB, 4 * MIB, 16},
        {100 * MIB, 100 * SLOT, 16},
        {512 * MIB, 32 * MIB, 16},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        create(cases[i].size);
        assert_int_equal(cushion.part_size, cases[i].part_size);
        assert_int_equal(cushion.part_count, cases[i].part_count);
        assert_held(cases[i].part_size * cases[i].part_count);
        cushion_destroy(&cushion);
        assert_held(0);
    }
}

static void parts_are_inaccessible_neighbours_at_the_top(void **state)
{
    (void)state;
    create(64 * MIB);
    for (size_t i = 0; i < 16; i++) {
        const struct fake_region *region = fake_os_region(&fake, cushion.parts[i]);
        assert_non_null(region);
        assert_int_equal(region->protect, OS_PAGE_NOACCESS);
        assert_int_equal(region->base, cushion.parts[i]);
        assert_int_equal(cushion.parts[i] - cushion.parts[0], i * 4 * MIB);
    }
    assert_int_equal(cushion.parts[15] + 4 * MIB - 1, fake.os.max_address);
}

static void more_than_there_is_is_refused_and_leaves_nothing(void **state)
{
    const uint64_t sizes[] = {GIB * 2, UINT64_MAX, (uint64_t)1 << 32, SIZE_MAX - 1};
    (void)state;
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        assert_int_equal(cushion_create(&cushion, &fake.os, sizes[i]), OS_NOT_ENOUGH_MEMORY);
        assert_held(0);
        assert_false(cushion_give_up(&cushion, 0, 0));
    }
}

static void without_room_in_one_piece_the_parts_lie_apart(void **state)
{
    (void)state;
    for (uintptr_t at = 32 * MIB; at <= fake.os.max_address; at += 32 * MIB) {
        fake_os_add_foreign(&fake, at, SLOT);
    }
    create(512 * MIB - 16 * SLOT); /* a part is 32 MiB less 64 KiB: one in each gap */
    assert_held(512 * MIB - 16 * SLOT);
    assert_true(cushion_give_up(&cushion, 40 * MIB, 0)); /* no neighbours: all of it */
    assert_held(0);
}

static void any_failing_call_at_creation_leaves_nothing(void **state)
{
    (void)state;
    for (size_t nth = 1;; nth++) {
        fake_os_fail(&fake, FAKE_VIRTUAL_ALLOC, nth);
        os_error error = cushion_create(&cushion, &fake.os, 4 * SLOT);
        if (fake.failed_kind == FAKE_ANY_KIND) {
            assert_int_equal(nth, 6); /* one piece, four parts */
            break;
        }
        assert_int_equal(error, OS_OK); /* each has a second way */
        assert_held(4 * SLOT);
        cushion_destroy(&cushion);
        assert_held(0);
    }
}

static void take_all_room(struct fake_os *os, enum fake_kind kind)
{
    if (kind == FAKE_VIRTUAL_FREE) {
        os->after = NULL;
        fill_up();
    }
}

static void room_that_is_taken_while_a_cushion_is_made_leaves_nothing(void **state)
{
    (void)state;
    fake.after = take_all_room; /* between the search for one piece and the first part */
    assert_int_equal(cushion_create(&cushion, &fake.os, 64 * MIB), OS_NOT_ENOUGH_MEMORY);
    assert_null(fake.after);
    assert_held(0);
}

/* ---- give up ---- */

static void size_0_gives_up_everything_once(void **state)
{
    (void)state;
    create(MIB);
    assert_true(cushion_give_up(&cushion, 0, 5));
    assert_held(0);
    assert_false(cushion_give_up(&cushion, 0, 6));
    assert_false(cushion_give_up(&cushion, 1, 7));
}

static void a_request_gets_as_many_neighbours_as_it_needs(void **state)
{
    (void)state;
    create(64 * MIB);
    assert_true(cushion_give_up(&cushion, 10 * MIB, 0));
    assert_held(52 * MIB);
    assert_true(cushion_give_up(&cushion, 4 * MIB, 0));
    assert_held(48 * MIB);
    assert_true(cushion_give_up(&cushion, 4 * MIB + 1, 0));
    assert_held(40 * MIB);
    assert_true(cushion_give_up(&cushion, 1, 0));
    assert_held(36 * MIB);
    assert_true(cushion_give_up(&cushion, 36 * MIB, 0));
    assert_held(0);
}

static void a_request_for_more_than_there_is_gets_all(void **state)
{
    (void)state;
    create(MIB);
    assert_true(cushion_give_up(&cushion, SIZE_MAX, 0));
    assert_held(0);
}

static void what_is_given_up_can_be_used_in_one_piece(void **state)
{
    (void)state;
    create(64 * MIB);
    fill_up();
    assert_false(has_room(SLOT));
    assert_true(cushion_give_up(&cushion, 10 * MIB, 0));
    assert_true(has_room(10 * MIB));
    assert_false(has_room(12 * MIB + SLOT));
}

static void a_hole_in_the_middle_is_no_neighbourhood(void **state)
{
    (void)state;
    create(16 * SLOT);
    /* Parts 3 and 9 are gone: runs of 3, 5 and 6 parts. */
    for (size_t i = 3; i <= 9; i += 6) {
        assert_int_equal(fake.os.virtual_free(&fake.os, cushion.parts[i], 0, OS_MEM_RELEASE), 0);
        cushion.parts[i] = 0;
    }
    fill_up();
    assert_true(cushion_give_up(&cushion, 4 * SLOT, 0));
    assert_true(has_room(4 * SLOT));
    assert_held(10 * SLOT);
    assert_int_not_equal(cushion.parts[2], 0);
    assert_int_equal(cushion.parts[4], 0);
    assert_true(cushion_give_up(&cushion, 6 * SLOT, 0));
    assert_true(has_room(6 * SLOT));
    assert_true(cushion_give_up(&cushion, 5 * SLOT, 0)); /* 3 and 1 are left: all of it */
    assert_held(0);
}

static void a_release_that_the_os_refuses_is_not_given(void **state)
{
    (void)state;
    create(SLOT);
    fake_os_fail(&fake, FAKE_VIRTUAL_FREE, 1);
    assert_false(cushion_give_up(&cushion, 0, 0));
    assert_int_equal(cushion_bytes(&cushion), 0);
    /* For the teardown: nobody knows of it any more. */
    fake.regions[0]->foreign = true;
}

/* ---- restore ---- */

static void it_comes_back_after_a_rest_and_to_the_same_place(void **state)
{
    uintptr_t before[CUSHION_PARTS];
    (void)state;
    create(MIB);
    for (size_t i = 0; i < CUSHION_PARTS; i++) {
        before[i] = cushion.parts[i];
    }
    assert_true(cushion_give_up(&cushion, 0, 5000));
    cushion_restore(&cushion, 5000);
    cushion_restore(&cushion, 5000 + CUSHION_REST_MS - 1);
    assert_held(0);
    cushion_restore(&cushion, 5000 + CUSHION_REST_MS);
    assert_held(MIB);
    for (size_t i = 0; i < CUSHION_PARTS; i++) {
        assert_int_equal(cushion.parts[i], before[i]);
    }
    assert_true(cushion_give_up(&cushion, MIB, 7000)); /* and again */
    assert_held(0);
}

static void a_whole_cushion_asks_for_nothing(void **state)
{
    (void)state;
    create(MIB);
    size_t calls = fake_os_calls(&fake);
    cushion_restore(&cushion, 1000000);
    assert_true(cushion_give_up(&cushion, SLOT, 1000000));
    cushion_restore(&cushion, 2000000);
    assert_int_equal(fake_os_calls(&fake), calls + 2);
    cushion_restore(&cushion, 3000000);
    assert_int_equal(fake_os_calls(&fake), calls + 2);
}

static void only_what_is_missing_is_reserved_again(void **state)
{
    (void)state;
    create(MIB);
    assert_true(cushion_give_up(&cushion, 5 * SLOT, 1));
    assert_held(11 * SLOT);
    size_t calls = fake.calls[FAKE_VIRTUAL_ALLOC];
    cushion_restore(&cushion, 10000);
    assert_int_equal(fake.calls[FAKE_VIRTUAL_ALLOC], calls + 5);
    assert_held(MIB);
}

static void a_place_that_is_taken_is_replaced_by_another(void **state)
{
    (void)state;
    create(MIB);
    uintptr_t home = cushion.parts[0];
    assert_true(cushion_give_up(&cushion, SLOT, 1));
    fake_os_add_foreign(&fake, home, PAGE);
    cushion_restore(&cushion, 10000);
    assert_held(MIB);
    assert_int_not_equal(cushion.parts[0], home);
}

static void without_room_it_waits_for_the_next_occasion(void **state)
{
    (void)state;
    create(MIB);
    fill_up();
    assert_true(cushion_give_up(&cushion, 0, 0));
    uintptr_t taken = fake_os_add_foreign(&fake, cushion.home[4], SLOT); /* the runtime's */
    cushion_restore(&cushion, 1000);
    assert_held(15 * SLOT); /* one is without a place */
    size_t calls = fake_os_calls(&fake);
    cushion_restore(&cushion, 1999);
    assert_int_equal(fake_os_calls(&fake), calls);
    assert_int_equal(fake.os.virtual_free(&fake.os, taken, 0, OS_MEM_RELEASE), OS_OK);
    cushion_restore(&cushion, 2000);
    assert_held(MIB);
}

static void failures_of_the_os_lose_nothing(void **state)
{
    (void)state;
    create(4 * SLOT);
    for (size_t nth = 1; nth <= 8; nth++) {
        assert_true(cushion_give_up(&cushion, 0, nth * 10000));
        fake_os_fail(&fake, FAKE_VIRTUAL_ALLOC, nth);
        cushion_restore(&cushion, nth * 10000 + 1000);
        size_t held = cushion_bytes(&cushion);
        assert_held(held); /* the OS agrees */
        fake_os_fail(&fake, FAKE_ANY_KIND, 0);
        cushion_restore(&cushion, nth * 10000 + 2000);
        assert_held(4 * SLOT);
    }
}

/* ---- two threads, played by a hook of the OS ---- */

static void give_up_again(struct fake_os *os, enum fake_kind kind)
{
    if (kind == FAKE_VIRTUAL_ALLOC) {
        os->after = NULL;
        assert_true(cushion_give_up(&cushion, 0, 20000));
    }
}

static void what_is_given_up_during_a_restore_is_not_forgotten(void **state)
{
    (void)state;
    create(4 * SLOT);
    assert_true(cushion_give_up(&cushion, 2 * SLOT, 0));
    fake.after = give_up_again; /* parts 2 and 3, while part 0 is coming back */
    cushion_restore(&cushion, 10000);
    assert_held(SLOT); /* the one that was under way */
    cushion_restore(&cushion, 20999);
    assert_held(SLOT);
    cushion_restore(&cushion, 21000);
    assert_held(4 * SLOT);
}

static void restore_too(struct fake_os *os, enum fake_kind kind)
{
    if (kind == FAKE_VIRTUAL_ALLOC) {
        os->before = NULL;
        cushion_restore(&cushion, 50000); /* a period later: not kept off by the clock */
    }
}

static void two_restores_at_once_reserve_nothing_twice(void **state)
{
    (void)state;
    create(4 * SLOT);
    assert_true(cushion_give_up(&cushion, 0, 0));
    fake.before = restore_too;
    cushion_restore(&cushion, 10000);
    assert_held(4 * SLOT);
}

#define cushion_test(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
#define small_test(name) cmocka_unit_test_setup_teardown(name, set_up_small, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cushion_test(no_cushion_holds_nothing_and_asks_for_nothing),
        cushion_test(sizes_are_rounded_up_to_whole_parts),
        cushion_test(parts_are_inaccessible_neighbours_at_the_top),
        small_test(sizes_are_rounded_up_to_whole_parts),
        small_test(parts_are_inaccessible_neighbours_at_the_top),
        small_test(more_than_there_is_is_refused_and_leaves_nothing),
        small_test(without_room_in_one_piece_the_parts_lie_apart),
        cushion_test(any_failing_call_at_creation_leaves_nothing),
        cushion_test(size_0_gives_up_everything_once),
        cushion_test(a_request_gets_as_many_neighbours_as_it_needs),
        cushion_test(a_request_for_more_than_there_is_gets_all),
        small_test(what_is_given_up_can_be_used_in_one_piece),
        small_test(a_hole_in_the_middle_is_no_neighbourhood),
        cushion_test(a_release_that_the_os_refuses_is_not_given),
        cushion_test(it_comes_back_after_a_rest_and_to_the_same_place),
        cushion_test(a_whole_cushion_asks_for_nothing),
        cushion_test(only_what_is_missing_is_reserved_again),
        cushion_test(a_place_that_is_taken_is_replaced_by_another),
        small_test(without_room_it_waits_for_the_next_occasion),
        cushion_test(failures_of_the_os_lose_nothing),
        cushion_test(what_is_given_up_during_a_restore_is_not_forgotten),
        cushion_test(two_restores_at_once_reserve_nothing_twice),
        cmocka_unit_test_setup_teardown(room_that_is_taken_while_a_cushion_is_made_leaves_nothing,
                                        set_up_small, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
