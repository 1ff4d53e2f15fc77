/* SPDX-License-Identifier: MIT
 *
 * Views and handles of a bound runtime that others free, with imports of their own: this program's lead
 * to the system. They are found at the next call that meets them, and refunded.
 *
 * test_bind_sections_behind <framework folder> <program> <test>
 */
#include "clr/section_calls.h"

/* A view of a section that has no handle any more, of a MiB that is charged. */
static BYTE *only_view(DWORD flags)
{
    HANDLE section = new_section(MIB, flags);
    BYTE *view = new_view(section);
    if (flags & SEC_RESERVE) {
        assert_ptr_equal(FUNCTION(VirtualAlloc)(view, MIB, MEM_COMMIT, PAGE_READWRITE), view);
    }
    close_section(section);
    return view;
}

static void a_view_that_others_unmapped_is_found_when_it_is_unmapped(void **state)
{
    IHostMemoryManager *manager = *state;
    UINT64 views = statistics_of(manager).ViewsCurrent;
    BYTE *view = only_view(0);
    assert_true(UnmapViewOfFile(view));
    assert_int_equal(foreign_commit(manager), MIB);
    EXPECT_FREED_BEHIND(0);

    BOOL raw = UnmapViewOfFile(view);
    DWORD error = GetLastError();
    SetLastError(MARKER);
    assert_int_equal(FUNCTION(UnmapViewOfFile)(view), raw); /* as Windows answers */
    assert_int_equal(GetLastError(), error);
    assert_int_equal(foreign_commit(manager), 0);
    assert_int_equal(statistics_of(manager).ViewsCurrent, views);
    EXPECT_FREED_BEHIND(1);
    assert_false(FUNCTION(UnmapViewOfFile)(view));
    EXPECT_FREED_BEHIND(1);
}

static void a_commit_where_a_view_was_is_answered_as_windows_does(void **state)
{
    IHostMemoryManager *manager = *state;
    BYTE *view = only_view(SEC_RESERVE);
    assert_int_equal(foreign_commit(manager), MIB);
    assert_true(UnmapViewOfFile(view));
    assert_null(VirtualAlloc(view, PAGE, MEM_COMMIT, PAGE_READWRITE));
    DWORD error = GetLastError();
    SetLastError(MARKER);
    assert_null(FUNCTION(VirtualAlloc)(view, PAGE, MEM_COMMIT, PAGE_READWRITE));
    assert_int_equal(GetLastError(), error);
    assert_int_equal(foreign_commit(manager), 0);
    EXPECT_FREED_BEHIND(1);

    /* And where something else is by now: it is no page of a section that is committed. */
    view = only_view(SEC_RESERVE);
    assert_true(UnmapViewOfFile(view));
    assert_ptr_equal(VirtualAlloc(view, MIB, MEM_RESERVE, PAGE_NOACCESS), view);
    assert_ptr_equal(FUNCTION(VirtualAlloc)(view, PAGE, MEM_COMMIT, PAGE_READWRITE), view);
    assert_int_equal(foreign_commit(manager), 0);
    EXPECT_FREED_BEHIND(2);
    assert_true(VirtualFree(view, 0, MEM_RELEASE));
}

static void a_view_takes_the_place_of_one_that_others_unmapped(void **state)
{
    IHostMemoryManager *manager = *state;
    UINT64 views = statistics_of(manager).ViewsCurrent;
    HANDLE section = new_section(2 * MIB, 0);
    BYTE *view = only_view(0);
    assert_true(UnmapViewOfFile(view));
    BYTE *other = FUNCTION(MapViewOfFileEx)(section, FILE_MAP_WRITE, 0, 0, 2 * GRANULARITY,
                                            view + GRANULARITY);
    assert_ptr_equal(other, view + GRANULARITY);
    assert_int_equal(foreign_commit(manager), 2 * MIB);
    assert_int_equal(statistics_of(manager).ViewsCurrent, views + 1);
    EXPECT_FREED_BEHIND(1);
    close_section(section);
    assert_int_equal(foreign_commit(manager), 2 * MIB);
    assert_true(FUNCTION(UnmapViewOfFile)(other));
    assert_int_equal(foreign_commit(manager), 0);
    assert_int_equal(statistics_of(manager).ViewsCurrent, views);
    EXPECT_FREED_BEHIND(1);
}

/* What is committed there is the manager's, and charged once. */
static void a_region_takes_the_place_of_a_view_that_others_unmapped(void **state)
{
    IHostMemoryManager *manager = *state;
    UINT64 charged = statistics_of(manager).ChargedCurrentBytes;
    BYTE *view = only_view(SEC_RESERVE);
    assert_true(UnmapViewOfFile(view));
    assert_ptr_equal(FUNCTION(VirtualAlloc)(view, MIB, MEM_RESERVE, PAGE_READWRITE), view);
    EXPECT_FREED_BEHIND(1);
    assert_int_equal(statistics_of(manager).ChargedCurrentBytes, charged);
    assert_ptr_equal(FUNCTION(VirtualAlloc)(view, PAGE, MEM_COMMIT, PAGE_READWRITE), view);
    assert_int_equal(statistics_of(manager).ChargedCurrentBytes, charged + PAGE);
    assert_true(FUNCTION(VirtualFree)(view, 0, MEM_RELEASE));
    assert_int_equal(statistics_of(manager).ChargedCurrentBytes, charged);
    EXPECT_EXACT_COMMIT(manager);
}

/* A section whose handle others have closed. Other threads may open something meanwhile: there are
 * values that are given out before this one, be it the lowest or the last that was free. */
static HANDLE closed_behind(void)
{
    HANDLE events[16], section;
    for (int i = 0; i < 16; i++) {
        events[i] = CreateEventW(NULL, FALSE, FALSE, NULL);
    }
    section = new_section(MIB, 0);
    for (int i = 0; i < 8; i++) {
        assert_true(CloseHandle(events[i]));
    }
    assert_true(CloseHandle(section));
    for (int i = 8; i < 16; i++) {
        assert_true(CloseHandle(events[i]));
    }
    return section;
}

static void a_handle_that_others_closed_is_found_when_it_is_closed(void **state)
{
    IHostMemoryManager *manager = *state;
    HANDLE section = closed_behind(), copy = NULL, process = GetCurrentProcess();
    assert_int_equal(foreign_commit(manager), MIB);
    SetLastError(MARKER);
    assert_false(FUNCTION(CloseHandle)(section));
    assert_int_equal(GetLastError(), ERROR_INVALID_HANDLE);
    assert_int_equal(foreign_commit(manager), 0);
    EXPECT_FREED_BEHIND(1);

    section = closed_behind(); /* or duplicated */
    SetLastError(MARKER);
    assert_false(FUNCTION(DuplicateHandle)(process, section, process, &copy, 0, FALSE,
                                           DUPLICATE_SAME_ACCESS));
    assert_int_equal(GetLastError(), ERROR_INVALID_HANDLE);
    assert_int_equal(foreign_commit(manager), 0);
    EXPECT_FREED_BEHIND(2);
}

/* A duplicate of whatever: here of an event. */
static void a_value_that_comes_again_is_no_section(void **state)
{
    IHostMemoryManager *manager = *state;
    HANDLE event = CreateEventW(NULL, FALSE, FALSE, NULL), section;
    UINT64 expected;
    do {
        section = new_section(MIB, 0);
        expected = foreign_commit(manager) - MIB;
        assert_true(CloseHandle(section));
    } while (duplicate(event, 0) != section);
    assert_int_equal(foreign_commit(manager), expected);
    UINT32 found = binding().FreedBehind;
    assert_true(found >= 1);
    assert_true(FUNCTION(CloseHandle)(section)); /* the event's */
    assert_int_equal(foreign_commit(manager), expected);
    EXPECT_FREED_BEHIND(found);
}

/* One of its two handles is closed by others, and comes again. */
static void a_section_with_two_handles_loses_one(void **state)
{
    IHostMemoryManager *manager = *state;
    HANDLE section, other, again;
    UINT64 expected;
    do {
        section = new_section(MIB, 0);
        other = duplicate(section, 0);
        expected = foreign_commit(manager) + PAGE;
        assert_true(CloseHandle(section));
        again = new_section(PAGE, 0);
    } while (again != section);
    assert_int_equal(foreign_commit(manager), expected);
    close_section(other);
    assert_int_equal(foreign_commit(manager), expected - MIB);
    close_section(again);
    assert_int_equal(foreign_commit(manager), expected - MIB - PAGE);
}

/* Somebody has refunded what the binding has charged. */
static void a_refund_that_the_manager_refuses_is_counted(void **state)
{
    IHostMemoryManager *manager = *state;
    IHostMemoryCharge *charge = INTERFACE_OF(manager, IHostMemoryCharge);
    HANDLE section = new_section(MIB, 0);
    assert_int_equal(binding().RefusedRefunds, 0);
    assert_int_equal(IHostMemoryCharge_RefundCommit(charge, MIB), S_OK);
    close_section(section);
    assert_int_equal(binding().RefusedRefunds, 1);
    close_section(new_section(MIB, 0));
    assert_int_equal(binding().RefusedRefunds, 1);
    IHostMemoryCharge_Release(charge);
}

int main(int argc, char **argv)
{
#define WITH(setup, name) cmocka_unit_test_setup(name, setup)
    const struct CMUnitTest tests[] = {
        WITH(bind_hostmem, a_view_that_others_unmapped_is_found_when_it_is_unmapped),
        WITH(bind_hostmem, a_commit_where_a_view_was_is_answered_as_windows_does),
        WITH(bind_hostmem, a_view_takes_the_place_of_one_that_others_unmapped),
        WITH(bind_hostmem, a_region_takes_the_place_of_a_view_that_others_unmapped),
        WITH(bind_hostmem, a_handle_that_others_closed_is_found_when_it_is_closed),
        WITH(bind_hostmem, a_value_that_comes_again_is_no_section),
        WITH(bind_hostmem, a_section_with_two_handles_loses_one),
        WITH(bind_hostmem, a_refund_that_the_manager_refuses_is_counted),
    };
    return coreclr_test_main(argc, argv, tests, sizeof(tests) / sizeof(tests[0]));
}
