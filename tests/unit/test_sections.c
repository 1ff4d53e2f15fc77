/* SPDX-License-Identifier: MIT
 *
 * The table of sections: each page is charged once, from its commit until the last handle and the last
 * view are gone, and what others have closed or unmapped is found, refunded and counted.
 */
#include "support/fake_os.h"
#include "support/random.h"
#include "support/unit.h"

#include "core/pages/sections.h"

#include <string.h>

static struct fake_os fake;
static struct sections table;
static uint64_t charged; /* as the binding keeps it */

/* Handles are values of a system. */
enum { FIRST = 0x40, SECOND = 0x44, THIRD = 0x48, FOURTH = 0x4c };

static int set_up(void **state)
{
    (void)state;
    fake_os_init_default(&fake);
    sections_init(&table, &fake.os);
    charged = 0;
    return 0;
}

/* Fails when table memory stays behind, or is not counted. */
static int tear_down(void **state)
{
    (void)state;
    assert_sound(sections_check(&table));
    assert_int_equal(usage_current(&table.memory.committed), fake_os_table_committed(&fake));
    sections_destroy(&table);
    return usage_current(&table.memory.committed) == 0 && fake_os_destroy(&fake) == 0 ? 0 : -1;
}

/* ---- What the binding does ---- */

static void add_reserved(uintptr_t handle, uint64_t size)
{
    charged -= sections_handle_given(&table, handle);
    assert_true(sections_add(&table, handle, size, false));
}

static void add_committed(uintptr_t handle, uint64_t size)
{
    charged -= sections_handle_given(&table, handle);
    charged += sections_commit(&table, size);
    assert_true(sections_add(&table, handle, size, true));
}

static void given(uintptr_t base, size_t size)
{
    struct section_gone gone;
    while (sections_range_given(&table, base, size, &gone)) {
        assert_int_not_equal(gone.view, 0);
        charged -= gone.bytes;
    }
}

static void map(uintptr_t handle, uintptr_t base, size_t size, uint64_t offset)
{
    assert_int_equal(fake_os_add_foreign(&fake, base, size), base);
    given(base, size);
    sections_mapped(&table, handle, base, size, offset);
}

/* As others do it, whom nobody sees. */
static void unmap_behind(uintptr_t base)
{
    assert_int_equal(fake.os.virtual_free(&fake.os, base, 0, OS_MEM_RELEASE), OS_OK);
}

/* Whether the system has done it. */
static bool unmap(uintptr_t address)
{
    const struct fake_region *region = fake_os_region(&fake, address);
    bool ours = sections_lock_view(&table, address);
    bool done =
        region != NULL && fake.os.virtual_free(&fake.os, region->base, 0, OS_MEM_RELEASE) == OS_OK;
    if (ours) {
        charged -= sections_unmapped(&table, address, done).bytes;
        sections_unlock(&table);
    }
    return done;
}

static void close_handle(uintptr_t handle)
{
    assert_true(sections_lock_handle(&table, handle));
    charged -= sections_closed(&table, handle, false);
    sections_unlock(&table);
}

static void duplicate(uintptr_t handle, uintptr_t other)
{
    assert_true(sections_lock_handle(&table, handle));
    charged -= sections_duplicated(&table, handle, other);
    sections_unlock(&table);
}

static enum section_answer commit(uintptr_t address, size_t size, bool done)
{
    struct section_gone gone;
    struct section_commit change;
    uint64_t bytes = 0;
    bool whole;
    bool ours = sections_commit_size(&table, address, size, &bytes, &whole, &gone);
    charged -= gone.bytes;
    assert_true(ours);
    enum section_answer answer = sections_commit_begin(&table, address, size, bytes, &change);
    if (answer == SECTION_READY) {
        assert_int_equal(change.bytes, bytes);
        sections_commit_end(&table, &change, done);
        charged += done ? bytes : 0;
    }
    return answer;
}

static bool is_of_none(uintptr_t address, size_t size)
{
    struct section_gone gone;
    uint64_t bytes;
    bool whole;
    bool ours = sections_commit_size(&table, address, size, &bytes, &whole, &gone);
    charged -= gone.bytes;
    return !ours;
}

static bool is_whole(uintptr_t address, size_t size)
{
    struct section_gone gone;
    uint64_t bytes;
    bool whole = false;
    assert_true(sections_commit_size(&table, address, size, &bytes, &whole, &gone));
    return whole;
}

#define VIEW ((uintptr_t)0x10000000)
#define VIEW_2 ((uintptr_t)0x20000000)
#define VIEW_3 ((uintptr_t)0x30000000)

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
    (void)state;
    sections_mapped(&table, FIRST, VIEW, PAGE, 0); /* there is no section at all */
    assert_false(sections_lock_view(&table, VIEW));
    add_committed(SECOND, PAGE);
    assert_false(sections_lock_handle(&table, FIRST));
    assert_false(sections_lock_handle(&table, SECOND + 1));
    assert_int_equal(sections_handle_given(&table, THIRD), 0);
    assert_true(sections_lock_handle(&table, SECOND));
    assert_int_equal(sections_duplicated(&table, FIRST, THIRD), 0);
    sections_unlock(&table);
    assert_false(sections_lock_handle(&table, THIRD));
    sections_mapped(&table, THIRD, VIEW, PAGE, 0);
    assert_false(sections_lock_view(&table, VIEW));
    assert_int_equal(sections_closed(&table, FIRST, true), 0);
    assert_int_equal(table.freed_behind, 0);
}

/* ---- Freed behind our back ---- */

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

/* ---- Against a naive model ---- */

enum { SECTIONS = 12, PAGES = 48, PLACES = 24, HANDLES = 30, STEPS = 200000 };

static struct naive {
    int names;
    bool committed[PAGES];
    bool whole;
} naive[SECTIONS];
static int handle_of[HANDLES]; /* -1: closed */
static struct {
    int section, first;
} view_of[PLACES]; /* likewise */

static uint64_t naive_charge(void)
{
    uint64_t pages = 0;
    for (int i = 0; i < SECTIONS; i++) {
        for (int page = 0; naive[i].names > 0 && page < PAGES; page++) {
            pages += naive[i].committed[page];
        }
    }
    return pages * PAGE;
}

static uintptr_t place(size_t i)
{
    return VIEW + i * 4 * SLOT;
}

static void random_handle_step(struct random *random)
{
    size_t handle = random_below(random, HANDLES), other = random_below(random, HANDLES);
    int section = (int)random_below(random, SECTIONS);
    uintptr_t value = FIRST + 4 * handle;
    if (handle_of[handle] < 0 && naive[section].names == 0) {
        bool whole = random_below(random, 4) == 0;
        naive[section] = (struct naive){.names = 1, .whole = whole};
        memset(naive[section].committed, whole, sizeof(naive[section].committed));
        (whole ? add_committed : add_reserved)(value, PAGES * PAGE);
        handle_of[handle] = section;
    } else if (handle_of[handle] >= 0 && handle_of[other] < 0) {
        duplicate(value, FIRST + 4 * other);
        handle_of[other] = handle_of[handle];
        naive[handle_of[other]].names++;
    } else if (handle_of[handle] >= 0) {
        close_handle(value);
        naive[handle_of[handle]].names--;
        handle_of[handle] = -1;
    }
}

static void random_view_step(struct random *random)
{
    size_t i = random_below(random, PLACES), handle = random_below(random, HANDLES);
    int first = (int)random_below(random, 3) * 16, section = view_of[i].section;
    if (section < 0 && handle_of[handle] >= 0) {
        map(FIRST + 4 * handle, place(i), SLOT, (uint64_t)first * PAGE);
        view_of[i].section = handle_of[handle];
        view_of[i].first = first;
        naive[handle_of[handle]].names++;
    } else if (section >= 0 && random_below(random, 3) == 0) {
        assert_true(unmap(place(i) + random_below(random, SLOT)));
        naive[section].names--;
        view_of[i].section = -1;
    } else if (section >= 0 && !naive[section].whole) {
        size_t page = random_below(random, 16), count = 1 + random_below(random, 20);
        assert_int_equal(commit(place(i) + page * PAGE, count * PAGE, true), SECTION_READY);
        for (; count > 0 && page < 16; count--, page++) {
            naive[section].committed[(size_t)view_of[i].first + page] = true;
        }
    }
}

/* What others free is found at the next touch: that is this one. */
static void random_step_behind(struct random *random)
{
    size_t i = random_below(random, PLACES);
    if (view_of[i].section < 0) {
        return;
    }
    unmap_behind(place(i));
    naive[view_of[i].section].names--;
    view_of[i].section = -1;
    switch (random_below(random, 3)) {
    case 0:
        assert_false(unmap(place(i)));
        break;
    case 1:
        assert_true(is_of_none(place(i) + PAGE, PAGE));
        break;
    default:
        given(place(i) - SLOT, 3 * SLOT);
    }
}

static void agrees_with_a_naive_model_over_many_random_operations(void **state)
{
    struct random random = {random_seed("test_sections")};
    (void)state;
    memset(naive, 0, sizeof(naive));
    memset(handle_of, -1, sizeof(handle_of));
    memset(view_of, -1, sizeof(view_of));
    for (size_t i = 0; i < STEPS; i++) {
        switch (random_below(&random, 8)) {
        case 0:
        case 1:
        case 2:
            random_handle_step(&random);
            break;
        case 3:
            random_step_behind(&random);
            break;
        default:
            random_view_step(&random);
        }
        assert_int_equal(charged, naive_charge());
        if (i % 64 == 0) {
            assert_sound(sections_check(&table));
        }
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

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
        TEST(the_check_finds_damage),
        TEST(a_section_without_table_memory_is_not_recorded),
        TEST(a_commit_without_table_memory_is_refused_and_marks_nothing),
        TEST(a_section_beyond_all_pages_is_not_recorded),
        TEST(agrees_with_a_naive_model_over_many_random_operations),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
