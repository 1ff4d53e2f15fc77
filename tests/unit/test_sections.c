/* SPDX-License-Identifier: MIT
 *
 * The table of sections: each page is charged once, from its commit until the last handle and the last
 * view are gone.
 */
#include "unit/sections_fixture.h"

/* ---- What is charged ---- */

static void a_committed_section_is_charged_in_whole_pages_until_its_last_name(void **state)
{
    (void)state;
    add_committed(FIRST, 10 * PAGE + 1);
    assert_int_equal(charged, 11 * PAGE);
    add_committed(SECOND, 1);
    assert_int_equal(charged, 12 * PAGE);
    map(FIRST, VIEW, 2 * PAGE, 0);
    map(FIRST, VIEW_2, 2 * PAGE, 0);
    assert_true(is_of_none(VIEW, PAGE)); /* there is nothing more to charge */
    close_handle(FIRST);
    assert_true(unmap(VIEW));
    assert_int_equal(charged, 12 * PAGE);
    assert_true(unmap(VIEW_2));
    assert_int_equal(charged, PAGE);
    close_handle(SECOND);
    assert_int_equal(charged, 0);
    assert_true(sections_are_none(&table));
    assert_int_equal(table.freed_behind, 0);
}

static void a_page_is_charged_once_through_any_view(void **state)
{
    (void)state;
    add_reserved(FIRST, MIB);
    map(FIRST, VIEW, 16 * SLOT, 0);
    map(FIRST, VIEW_2, SLOT, SLOT);
    assert_int_equal(commit(VIEW + SLOT - PAGE, 3 * PAGE, true), SECTION_READY);
    assert_int_equal(charged, 3 * PAGE);
    assert_int_equal(commit(VIEW_2 + 2 * PAGE - 1, 2, true), SECTION_READY);
    assert_int_equal(charged, 4 * PAGE); /* one of the two was */
    assert_int_equal(commit(VIEW, 16 * SLOT, true), SECTION_READY);
    assert_int_equal(charged, MIB);
    assert_true(unmap(VIEW + SLOT)); /* any address of the view will do */
    close_handle(FIRST);
    assert_int_equal(charged, MIB);
    assert_true(unmap(VIEW_2));
    assert_int_equal(charged, 0);
}

static void a_commit_that_the_system_refuses_marks_nothing(void **state)
{
    (void)state;
    add_reserved(FIRST, MIB);
    map(FIRST, VIEW, MIB, 0);
    assert_int_equal(commit(VIEW, PAGE, false), SECTION_READY);
    assert_int_equal(charged, 0);
    assert_int_equal(commit(VIEW, 2 * PAGE, true), SECTION_READY);
    assert_int_equal(charged, 2 * PAGE);
}

static void a_commit_ends_with_its_view_and_its_section(void **state)
{
    (void)state;
    add_reserved(FIRST, MIB - 1);
    map(FIRST, VIEW, SLOT, 0);
    map(FIRST, VIEW + SLOT, SLOT, 4 * SLOT); /* its neighbour in memory, and not in the section */
    assert_int_equal(commit(VIEW + SLOT - PAGE, 3 * PAGE, true), SECTION_READY);
    assert_int_equal(charged, PAGE);
    assert_int_equal(commit(VIEW + SLOT, 1, true), SECTION_READY);
    assert_int_equal(charged, 2 * PAGE);
    assert_int_equal(commit(VIEW, SIZE_MAX, true), SECTION_READY);
    assert_int_equal(charged, SLOT + PAGE);
    map(FIRST, VIEW_2, 2 * SLOT, 15 * SLOT); /* and a slot of nothing */
    assert_int_equal(commit(VIEW_2, 2 * SLOT, true), SECTION_READY);
    assert_int_equal(charged, 2 * SLOT + PAGE);
    assert_int_equal(commit(VIEW_2 + SLOT, SLOT, true), SECTION_READY);
    assert_int_equal(charged, 2 * SLOT + PAGE);
    assert_true(is_of_none(VIEW - 1, 2));
    assert_true(is_of_none(VIEW + 2 * SLOT, 1));
    map(FIRST, VIEW_3, SLOT, MIB); /* behind the last page: no system maps that */
    assert_true(is_of_none(VIEW_3, 1));
}

static void a_commit_of_all_of_a_view_is_known_as_one(void **state)
{
    (void)state;
    add_reserved(FIRST, MIB);
    map(FIRST, VIEW, SLOT, 0);
    assert_true(is_whole(VIEW, SLOT));
    assert_true(is_whole(VIEW, 2 * SLOT));
    assert_false(is_whole(VIEW, SLOT - PAGE));
    assert_false(is_whole(VIEW + PAGE, SLOT));
}

/* Another thread was there between the charge and the commit. */
static void what_was_charged_is_looked_at_again(void **state)
{
    struct section_commit change;
    (void)state;
    add_reserved(FIRST, MIB);
    map(FIRST, VIEW, MIB, 0);
    assert_int_equal(commit(VIEW, 2 * PAGE, true), SECTION_READY);
    assert_int_equal(sections_commit_begin(&table, VIEW, 4 * PAGE, PAGE, &change),
                     SECTION_CHARGE_MORE);
    assert_int_equal(sections_commit_begin(&table, VIEW, 4 * PAGE, 3 * PAGE, &change),
                     SECTION_READY);
    assert_int_equal(change.bytes, 2 * PAGE); /* a page of the charge is to be given back */
    sections_commit_end(&table, &change, true);
    charged += change.bytes;
    assert_true(unmap(VIEW));
    assert_int_equal(sections_commit_begin(&table, VIEW, 4 * PAGE, 3 * PAGE, &change),
                     SECTION_READY);
    assert_int_equal(change.bytes, 0);
    sections_commit_end(&table, &change, false);
    close_handle(FIRST);
    assert_int_equal(charged, 0);
}

/* As .NET 7 and later have one. */
static void a_section_of_2_tib_costs_as_much_as_is_committed_in_it(void **state)
{
    const uint64_t size = (uint64_t)2 << 40;
    (void)state;
    add_reserved(FIRST, size);
    for (uintptr_t i = 0; i < 32; i++) { /* scattered over all of it */
        uintptr_t view = VIEW + i * SLOT;
        map(FIRST, view, SLOT, i * (size / 32));
        assert_int_equal(commit(view + 5 * PAGE, 2 * PAGE, true), SECTION_READY);
    }
    assert_int_equal(charged, 64 * PAGE);
    assert_true(usage_current(&table.memory.committed) <= 64 * KIB);
    close_handle(FIRST);
    for (uintptr_t i = 0; i < 32; i++) {
        assert_true(unmap(VIEW + i * SLOT));
    }
    assert_int_equal(charged, 0);
}

/* Every second page, which takes more than runs; the teardown counts what is left. */
static void a_scattered_section_gives_its_table_memory_back(void **state)
{
    (void)state;
    for (int round = 0; round < 3; round++) {
        add_reserved(FIRST, 4 * MIB);
        map(FIRST, VIEW, 4 * MIB, 0);
        for (uintptr_t page = 0; page < 1024; page += 2) {
            assert_int_equal(commit(VIEW + page * PAGE, PAGE, true), SECTION_READY);
        }
        assert_int_equal(charged, 2 * MIB);
        assert_int_equal(commit(VIEW, 4 * MIB, true), SECTION_READY);
        assert_int_equal(charged, 4 * MIB);
        close_handle(FIRST);
        assert_true(unmap(VIEW));
        assert_int_equal(charged, 0);
    }
}

/* ---- Names ---- */

static void a_section_lives_as_long_as_it_has_a_name(void **state)
{
    (void)state;
    add_reserved(FIRST, MIB);
    duplicate(FIRST, SECOND);
    duplicate(SECOND, THIRD);
    close_handle(FIRST);
    map(SECOND, VIEW, MIB, 0);
    assert_int_equal(commit(VIEW, PAGE, true), SECTION_READY);
    assert_true(unmap(VIEW));
    close_handle(SECOND);
    assert_int_equal(charged, PAGE);
    map(THIRD, VIEW, MIB, 0); /* what was committed is known */
    assert_int_equal(commit(VIEW, 2 * PAGE, true), SECTION_READY);
    assert_int_equal(charged, 2 * PAGE);
    close_handle(THIRD);
    assert_int_equal(charged, 2 * PAGE);
    assert_true(unmap(VIEW));
    assert_int_equal(charged, 0);
    assert_false(sections_lock_handle(&table, THIRD));
    assert_false(sections_lock_view(&table, VIEW));
}

static void many_names_keep_their_order(void **state)
{
    enum { MANY = 1000 };
    (void)state;
    for (uintptr_t i = 0; i < MANY; i++) {
        uintptr_t place = i * 7 % MANY;
        add_committed(FIRST + 4 * place, PAGE);
        map(FIRST + 4 * place, VIEW + place * SLOT, PAGE, 0);
    }
    assert_sound(sections_check(&table));
    assert_int_equal(charged, MANY * PAGE);
    for (uintptr_t i = 0; i < MANY; i++) {
        uintptr_t place = i * 3 % MANY;
        close_handle(FIRST + 4 * place);
        assert_int_equal(charged, (MANY - i) * PAGE);
        assert_true(unmap(VIEW + place * SLOT));
    }
    assert_int_equal(charged, 0);
    size_t peak = usage_current(&table.memory.committed);
    for (uintptr_t i = 0; i < MANY; i++) { /* places are used again */
        add_committed(FIRST, PAGE);
        close_handle(FIRST);
    }
    assert_int_equal(usage_current(&table.memory.committed), peak);
}

static void handles_of_others_are_passed_over(void **state)
{
    struct section_gone gone;
    (void)state;
    sections_mapped(&table, FIRST, VIEW, PAGE, 0); /* there is no section at all */
    assert_false(sections_lock_view(&table, VIEW));
    assert_false(sections_range_given(&table, VIEW, PAGE, &gone));
    add_committed(SECOND, PAGE);
    assert_int_equal(sections_unmapped(&table, VIEW, true).view, 0);
    assert_false(sections_lock_handle(&table, FIRST));
    assert_false(sections_lock_handle(&table, SECOND + 1));
    assert_int_equal(sections_handle_given(&table, THIRD), 0);
    assert_true(sections_lock_handle(&table, SECOND));
    assert_int_equal(sections_duplicated(&table, FIRST, THIRD), 0);
    sections_unlock(&table);
    assert_false(sections_lock_handle(&table, THIRD));
    sections_mapped(&table, THIRD, VIEW, PAGE, 0);
    sections_mapped(&table, SECOND, VIEW, 0, 0);
    assert_false(sections_lock_view(&table, VIEW));
    assert_int_equal(sections_closed(&table, FIRST, true), 0);
    assert_int_equal(table.freed_behind, 0);
}

static void the_check_finds_damage(void **state)
{
    (void)state;
    add_reserved(FIRST, MIB);
    add_committed(SECOND, MIB);
    map(FIRST, VIEW, SLOT, 0);
    map(SECOND, VIEW_2, SLOT, 0);
    struct section_name *views = table.views.items, second = views[1];
    views[1].begin = VIEW + SLOT - 1;
    assert_fault(sections_check(&table), "two names overlap, or are not in order");
    views[1] = second;
    views[1].section = 2;
    assert_fault(sections_check(&table), "a name is of no section");
    views[1].section = 0;
    assert_fault(sections_check(&table), "the count of names is not their number");
    views[1] = second;
    table.handles.items[0].size = 0;
    assert_fault(sections_check(&table), "a name is of no section");
    table.handles.items[0].size = 1;
    table.in_use++;
    assert_fault(sections_check(&table), "the count of sections is not their number");
    table.in_use--;
}

/* ---- Without memory ---- */

static void a_section_without_table_memory_is_not_recorded(void **state)
{
    (void)state;
    for (size_t nth = 1; nth <= 2; nth++) { /* for the section, and for its handle */
        fake_os_fail(&fake, FAKE_TABLE_COMMIT, nth);
        assert_false(sections_add(&table, FIRST, MIB, true));
        assert_true(sections_are_none(&table));
        assert_sound(sections_check(&table));
    }
    fake_os_fail(&fake, FAKE_TABLE_RESERVE, 1); /* for the nodes of its pages */
    assert_false(sections_add(&table, FIRST, MIB, false));
    assert_true(sections_are_none(&table));
    add_committed(FIRST, MIB);
    fake_os_fail(&fake, FAKE_TABLE_RESERVE, 1);
    map(FIRST, VIEW, MIB, 0);
    assert_false(sections_lock_view(&table, VIEW));
    close_handle(FIRST);
    assert_int_equal(charged, 0);
}

static void a_commit_without_table_memory_is_refused_and_marks_nothing(void **state)
{
    enum { MANY = 1000 };
    uint64_t before = 0;
    uintptr_t view = VIEW;
    enum section_answer answer = SECTION_READY;
    (void)state;
    add_reserved(FIRST, MANY * 4 * (uint64_t)MIB);
    for (uint64_t i = 0; answer == SECTION_READY && i < MANY; i++) { /* as scattered as can be */
        view = VIEW + (uintptr_t)i * SLOT;
        map(FIRST, view, SLOT, i * 4 * MIB);
        before = charged;
        fake_os_fail(&fake, FAKE_TABLE_COMMIT, 1);
        answer = commit(view, PAGE, true);
        fake_os_fail(&fake, FAKE_ANY_KIND, 0);
    }
    assert_int_equal(answer, SECTION_NO_MEMORY);
    assert_int_equal(charged, before);
    assert_sound(sections_check(&table));
    assert_int_equal(commit(view, SLOT, true), SECTION_READY);
    assert_int_equal(charged, before + SLOT);
}

static void a_section_beyond_all_pages_is_not_recorded(void **state)
{
    (void)state;
    if (sizeof(size_t) == 8) {
        print_message("64-bit sizes reach any page\n");
        return;
    }
    assert_false(sections_add(&table, FIRST, UINT64_MAX, false));
    add_committed(FIRST, (uint64_t)1 << 50);
    assert_int_equal(charged, (uint64_t)1 << 50);
    close_handle(FIRST);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_committed_section_is_charged_in_whole_pages_until_its_last_name),
        TEST(a_page_is_charged_once_through_any_view),
        TEST(a_commit_that_the_system_refuses_marks_nothing),
        TEST(a_commit_ends_with_its_view_and_its_section),
        TEST(a_commit_of_all_of_a_view_is_known_as_one),
        TEST(what_was_charged_is_looked_at_again),
        TEST(a_section_of_2_tib_costs_as_much_as_is_committed_in_it),
        TEST(a_scattered_section_gives_its_table_memory_back),
        TEST(a_section_lives_as_long_as_it_has_a_name),
        TEST(many_names_keep_their_order),
        TEST(handles_of_others_are_passed_over),
        TEST(the_check_finds_damage),
        TEST(a_section_without_table_memory_is_not_recorded),
        TEST(a_commit_without_table_memory_is_refused_and_marks_nothing),
        TEST(a_section_beyond_all_pages_is_not_recorded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
