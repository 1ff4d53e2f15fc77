/* SPDX-License-Identifier: MIT
 *
 * Handles and views that others have closed or unmapped are found, refunded and counted: when their
 * value or their place comes again, when the system refuses to close or unmap them, and at a commit.
 */
#include "unit/sections_fixture.h"

static void a_handle_value_that_comes_again_drops_the_section_that_had_it(void **state)
{
    (void)state;
    add_committed(FIRST, MIB);
    add_committed(FIRST, 2 * MIB);
    assert_int_equal(charged, 2 * MIB);
    assert_int_equal(table.freed_behind, 1);
    charged -= sections_handle_given(&table, FIRST); /* for a file, say */
    assert_int_equal(charged, 0);
    assert_int_equal(table.freed_behind, 2);
    assert_true(sections_are_none(&table));

    add_committed(FIRST, MIB); /* and of a duplicate */
    add_committed(SECOND, PAGE);
    duplicate(SECOND, FIRST);
    assert_int_equal(charged, PAGE);
    assert_int_equal(table.freed_behind, 3);
    close_handle(SECOND);
    assert_int_equal(charged, PAGE);
    close_handle(FIRST);
    assert_int_equal(charged, 0);
}

static void a_section_with_a_second_name_stays(void **state)
{
    (void)state;
    add_committed(FIRST, MIB);
    duplicate(FIRST, SECOND);
    add_committed(FIRST, PAGE);
    assert_int_equal(charged, MIB + PAGE);
    duplicate(SECOND, FIRST); /* closed again; of itself this time */
    assert_int_equal(charged, MIB);
    assert_int_equal(table.freed_behind, 2);
    duplicate(FIRST, SECOND); /* each is the only other one */
    assert_int_equal(charged, MIB);
    close_handle(FIRST);
    close_handle(SECOND);
    assert_int_equal(charged, 0);
}

static void a_refused_close_drops_a_handle_that_is_gone(void **state)
{
    (void)state;
    add_committed(FIRST, MIB);
    assert_true(sections_lock_handle(&table, FIRST));
    charged -= sections_closed(&table, FIRST, true);
    sections_unlock(&table);
    assert_int_equal(charged, 0);
    assert_int_equal(table.freed_behind, 1);
}

static void a_refused_unmap_drops_a_view_that_is_gone_and_no_other(void **state)
{
    (void)state;
    add_reserved(FIRST, MIB);
    map(FIRST, VIEW, MIB, 0);
    assert_int_equal(commit(VIEW, MIB, true), SECTION_READY);
    close_handle(FIRST);

    assert_true(sections_lock_view(&table, VIEW)); /* refused for another reason */
    struct section_gone gone = sections_unmapped(&table, VIEW, false);
    assert_int_equal(gone.view, 0);
    assert_int_equal(gone.bytes, 0);
    sections_unlock(&table);

    unmap_behind(VIEW);
    fake_os_add_foreign(&fake, VIEW - SLOT, 2 * MIB); /* a view, and another one */
    assert_true(sections_lock_view(&table, VIEW + PAGE));
    gone = sections_unmapped(&table, VIEW + PAGE, false);
    assert_int_equal(gone.view, VIEW);
    assert_int_equal(gone.bytes, MIB);
    sections_unlock(&table);
    charged -= gone.bytes;
    assert_int_equal(table.freed_behind, 1);
    assert_true(sections_are_none(&table));
    unmap_behind(VIEW - SLOT);
    assert_false(unmap(VIEW));
    assert_int_equal(charged, 0);
}

/* Private memory, at the view's address or around it. */
static void other_memory_in_its_place_is_no_view(void **state)
{
    uintptr_t base;
    (void)state;
    static const uintptr_t begins[] = {VIEW, VIEW - SLOT};
    for (size_t i = 0; i < 2; i++) {
        add_committed(FIRST, MIB);
        map(FIRST, VIEW, MIB, 0);
        close_handle(FIRST);
        unmap_behind(VIEW);
        assert_int_equal(fake.os.virtual_alloc(&fake.os, begins[i], 2 * MIB, OS_MEM_RESERVE,
                                               OS_PAGE_READWRITE, &base),
                         OS_OK);
        assert_true(sections_lock_view(&table, VIEW));
        charged -= sections_unmapped(&table, VIEW, false).bytes;
        sections_unlock(&table);
        assert_int_equal(charged, 0);
        unmap_behind(begins[i]);
    }
    assert_int_equal(table.freed_behind, 2);
}

static void a_commit_where_a_view_was_is_none_of_ours(void **state)
{
    (void)state;
    add_reserved(FIRST, MIB);
    map(FIRST, VIEW, MIB, 0);
    assert_int_equal(commit(VIEW, 3 * PAGE, true), SECTION_READY);
    close_handle(FIRST);
    unmap_behind(VIEW);
    assert_true(is_of_none(VIEW, PAGE));
    assert_int_equal(charged, 0);
    assert_int_equal(table.freed_behind, 1);
    assert_true(is_of_none(VIEW, PAGE));
    assert_int_equal(table.freed_behind, 1);
}

static void what_the_system_cannot_say_is_taken_for_gone(void **state)
{
    (void)state;
    add_committed(FIRST, MIB);
    map(FIRST, VIEW, MIB, 0);
    close_handle(FIRST);
    assert_true(sections_lock_view(&table, VIEW));
    fake_os_fail(&fake, FAKE_VIRTUAL_QUERY, 1);
    assert_int_equal(sections_unmapped(&table, VIEW, false).bytes, MIB);
    sections_unlock(&table);
}

static void a_view_takes_the_place_of_those_that_were_there(void **state)
{
    (void)state;
    add_committed(FIRST, MIB);
    add_committed(SECOND, PAGE);
    map(FIRST, VIEW - SLOT, 2 * SLOT, 0);     /* reaches into it */
    map(FIRST, VIEW + SLOT, SLOT, 0);         /* inside */
    map(FIRST, VIEW + 2 * SLOT, 2 * SLOT, 0); /* begins in it */
    map(FIRST, VIEW - 2 * SLOT, SLOT, 0);     /* touches others only */
    map(FIRST, VIEW + 4 * SLOT, SLOT, 0);
    close_handle(FIRST);
    unmap_behind(VIEW - SLOT);
    unmap_behind(VIEW + SLOT);
    unmap_behind(VIEW + 2 * SLOT);
    map(SECOND, VIEW, 3 * SLOT, 0);
    assert_int_equal(table.freed_behind, 3);
    assert_sound(sections_check(&table));
    assert_int_equal(charged, MIB + PAGE);
    assert_true(unmap(VIEW - 2 * SLOT));
    assert_true(unmap(VIEW + 4 * SLOT));
    assert_int_equal(charged, PAGE);
    assert_true(unmap(VIEW));
    close_handle(SECOND);
    assert_int_equal(charged, 0);
}

static void the_same_view_again_is_one_view(void **state)
{
    (void)state;
    add_committed(FIRST, MIB);
    for (int i = 0; i < 3; i++) {
        map(FIRST, VIEW, MIB, 0);
        unmap_behind(VIEW);
    }
    map(FIRST, VIEW, MIB, 0);
    assert_int_equal(table.freed_behind, 3);
    close_handle(FIRST);
    assert_true(unmap(VIEW));
    assert_int_equal(charged, 0);
}

static void a_reservation_takes_the_place_of_a_view(void **state)
{
    struct section_gone gone;
    (void)state;
    add_committed(FIRST, MIB);
    map(FIRST, VIEW, SLOT, 0);
    close_handle(FIRST);
    assert_false(sections_range_given(&table, VIEW + SLOT, SLOT, &gone));
    assert_false(sections_range_given(&table, VIEW - SLOT, SLOT, &gone));
    assert_false(sections_range_given(&table, VIEW, 0, &gone));
    unmap_behind(VIEW);
    given(VIEW - SLOT, 4 * SLOT);
    assert_int_equal(charged, 0);
    assert_int_equal(table.freed_behind, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_handle_value_that_comes_again_drops_the_section_that_had_it),
        TEST(a_section_with_a_second_name_stays),
        TEST(a_refused_close_drops_a_handle_that_is_gone),
        TEST(a_refused_unmap_drops_a_view_that_is_gone_and_no_other),
        TEST(other_memory_in_its_place_is_no_view),
        TEST(a_commit_where_a_view_was_is_none_of_ours),
        TEST(what_the_system_cannot_say_is_taken_for_gone),
        TEST(a_view_takes_the_place_of_those_that_were_there),
        TEST(the_same_view_again_is_one_view),
        TEST(a_reservation_takes_the_place_of_a_view),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
