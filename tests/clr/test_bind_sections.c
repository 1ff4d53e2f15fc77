/* SPDX-License-Identifier: MIT
 *
 * Sections of a bound runtime: each page is charged once, from the commit until the last handle and
 * the last view are gone, whoever closes them.
 *
 * test_bind_sections <framework folder> <program> <test>
 */
#include "clr/binding_fixture.h"
#include "support/thread.h"

/* ---- Shorthands ---- */

static UINT64 foreign_commit(IHostMemoryManager *manager)
{
    return statistics_of(manager).ForeignCommitCurrentBytes;
}

static HANDLE new_section(UINT64 size, DWORD flags)
{
    HANDLE section = FUNCTION(CreateFileMappingW)(
        INVALID_HANDLE_VALUE, NULL, PAGE_READWRITE | flags, (DWORD)(size >> 32), (DWORD)size, NULL);
    assert_non_null(section);
    return section;
}

static BYTE *new_view(HANDLE section)
{
    BYTE *view = FUNCTION(MapViewOfFile)(section, FILE_MAP_WRITE, 0, 0, 0);
    assert_non_null(view);
    return view;
}

static void close_section(HANDLE section)
{
    assert_true(FUNCTION(CloseHandle)(section));
}

static HANDLE duplicate(HANDLE section, DWORD options)
{
    HANDLE other = NULL, process = GetCurrentProcess();
    SetLastError(MARKER);
    assert_true(FUNCTION(DuplicateHandle)(process, section, process, &other, 0, FALSE,
                                          DUPLICATE_SAME_ACCESS | options));
    assert_int_equal(GetLastError(), MARKER);
    return other;
}

/* ---- What is charged ---- */

/* What the runtime commits in sections of its own is charged, each page once. */
static void sections_without_a_file_are_charged_once(void **state)
{
    IHostMemoryManager *manager = *state;
    UINT64 before_all = statistics_of(manager).ChargedCurrentBytes;
    HANDLE section = FUNCTION(CreateFileMappingW)(INVALID_HANDLE_VALUE, NULL,
                                                  PAGE_READWRITE | SEC_RESERVE, 0, 1 << 20, NULL);
    assert_non_null(section);
    assert_int_equal(statistics_of(manager).ForeignCommitCurrentBytes, 0);
    BYTE *view = FUNCTION(MapViewOfFile)(section, FILE_MAP_WRITE, 0, 0, 0);
    BYTE *part = FUNCTION(MapViewOfFile)(section, FILE_MAP_WRITE, 0, 0x10000, 0x10000);
    assert_non_null(view);
    assert_non_null(part);
    assert_ptr_equal(FUNCTION(VirtualAlloc)(view + 0xf000, 0x3000, MEM_COMMIT, PAGE_READWRITE),
                     view + 0xf000);
    assert_int_equal(statistics_of(manager).ForeignCommitCurrentBytes, 0x3000);
    assert_ptr_equal(FUNCTION(VirtualAlloc)(part + 0x1fff, 2, MEM_COMMIT, PAGE_READWRITE),
                     part + 0x1000); /* one page that is, and one that is not */
    assert_int_equal(statistics_of(manager).ForeignCommitCurrentBytes, 0x4000);
    assert_int_equal(statistics_of(manager).ChargedCurrentBytes, before_all + 0x4000);
    view[0x10000] = 42;
    assert_int_equal(part[0], 42);
    assert_true(FUNCTION(UnmapViewOfFile)(view));
    assert_true(FUNCTION(CloseHandle)(section));
    assert_int_equal(statistics_of(manager).ForeignCommitCurrentBytes, 0x4000);
    assert_true(FUNCTION(UnmapViewOfFile)(part));
    assert_int_equal(statistics_of(manager).ForeignCommitCurrentBytes, 0);
    assert_int_equal(statistics_of(manager).ForeignCommitPeakBytes, 0x4000);

    section =
        FUNCTION(CreateFileMappingW)(INVALID_HANDLE_VALUE, NULL, PAGE_READWRITE, 0, 1 << 20, NULL);
    assert_int_equal(statistics_of(manager).ForeignCommitCurrentBytes, 1 << 20);
    assert_true(FUNCTION(CloseHandle)(section));
    assert_int_equal(statistics_of(manager).ChargedCurrentBytes, before_all);
}

static void a_section_beyond_the_limit_is_refused(void **state)
{
    IHostMemoryManager *manager = *state;
    const UINT64 room = 0x2000;
    HOSTMEM_LIMITS limits = {.Size = sizeof(limits)};
    IHostMemoryLimits *setter = INTERFACE_OF(manager, IHostMemoryLimits);
    HANDLE section = FUNCTION(CreateFileMappingW)(INVALID_HANDLE_VALUE, NULL,
                                                  PAGE_READWRITE | SEC_RESERVE, 0, 1 << 20, NULL);
    BYTE *view = FUNCTION(MapViewOfFile)(section, FILE_MAP_WRITE, 0, 0, 0);
    limits.CommitLimit = statistics_of(manager).ChargedCurrentBytes + room;
    assert_int_equal(IHostMemoryLimits_SetLimits(setter, &limits), S_OK);

    SetLastError(0);
    assert_null(
        FUNCTION(CreateFileMappingW)(INVALID_HANDLE_VALUE, NULL, PAGE_READWRITE, 0, 1 << 20, NULL));
    assert_int_equal(GetLastError(), ERROR_COMMITMENT_LIMIT);
    assert_null(FUNCTION(VirtualAlloc)(view, room + 1, MEM_COMMIT, PAGE_READWRITE));
    assert_int_equal(statistics_of(manager).ForeignCommitCurrentBytes, 0);
    assert_ptr_equal(FUNCTION(VirtualAlloc)(view, room, MEM_COMMIT, PAGE_READWRITE), view);
    assert_int_equal(statistics_of(manager).ChargedCurrentBytes, limits.CommitLimit);
    IHostMemoryLimits_Release(setter);
}

/* A request that is refused takes back what the heaps keep for blocks to come: what is charged then is
 * in use. */
static void take_back_what_is_kept(IHostMemoryManager *manager)
{
    void *memory;
    SET_LIMITS(manager, .CommitLimit = 1);
    assert_int_equal(IHostMemoryManager_VirtualAlloc(manager, NULL, 1, MEM_COMMIT, PAGE_READWRITE,
                                                     eProcessCritical, &memory),
                     E_OUTOFMEMORY);
}

/* The runtime clears the view that it is about to unmap, and does not look whether it could. */
static void a_commit_of_a_whole_view_draws_on_the_emergency_part(void **state)
{
    const SIZE_T size = 0x10000;
    IHostMemoryManager *manager = *state;
    HOSTMEM_LIMITS limits = {.Size = sizeof(limits)};
    IHostMemoryLimits *setter = INTERFACE_OF(manager, IHostMemoryLimits);
    HANDLE section = FUNCTION(CreateFileMappingW)(INVALID_HANDLE_VALUE, NULL,
                                                  PAGE_READWRITE | SEC_RESERVE, 0, 1 << 20, NULL);
    BYTE *view = FUNCTION(MapViewOfFile)(section, FILE_MAP_WRITE, 0, 0, size);
    assert_int_equal(coreclr_start(), S_OK);
    assert_int_equal(coreclr_run_program(), 3); /* 2.0 has started when it runs */
    take_back_what_is_kept(manager);
    limits.EmergencyCommit = 1 << 20; /* and half of it for the process alone */
    limits.CommitLimit = statistics_of(manager).ChargedCurrentBytes + limits.EmergencyCommit / 2;
    assert_int_equal(IHostMemoryLimits_SetLimits(setter, &limits), S_OK);

    UINT64 denied = statistics_of(manager).DeniedAppDomain;
    assert_null(FUNCTION(VirtualAlloc)(view, size - 0x1000, MEM_COMMIT, PAGE_READWRITE));
    assert_null(FUNCTION(VirtualAlloc)(view + 0x1000, size - 0x1000, MEM_COMMIT, PAGE_READWRITE));
    assert_null(FUNCTION(VirtualAlloc)(view, size, MEM_COMMIT, PAGE_READONLY));
    assert_int_equal(statistics_of(manager).DeniedAppDomain, denied + 3);
    assert_ptr_equal(FUNCTION(VirtualAlloc)(view, size, MEM_COMMIT, PAGE_READWRITE), view);
    IHostMemoryLimits_Release(setter);
}

static void a_section_larger_than_an_x86_address_space_is_charged_in_full(void **state)
{
    const UINT64 size = (UINT64)1 << 32 | PAGE;
    IHostMemoryManager *manager = *state;
    SET_LIMITS(manager, .CommitLimit = 64 * MIB);
    SetLastError(0);
    assert_null(FUNCTION(CreateFileMappingW)(INVALID_HANDLE_VALUE, NULL, PAGE_READWRITE,
                                             (DWORD)(size >> 32), (DWORD)size, NULL));
    assert_int_equal(GetLastError(), ERROR_COMMITMENT_LIMIT);
    assert_int_equal(foreign_commit(manager), 0);

    HANDLE section = new_section(size, SEC_RESERVE);
    BYTE *last = FUNCTION(MapViewOfFile)(section, FILE_MAP_WRITE, 1, 0, PAGE);
    assert_non_null(last);
    assert_ptr_equal(FUNCTION(VirtualAlloc)(last, PAGE, MEM_COMMIT, PAGE_READWRITE), last);
    assert_int_equal(foreign_commit(manager), PAGE);
    close_section(section);
    assert_true(FUNCTION(UnmapViewOfFile)(last));
    assert_int_equal(foreign_commit(manager), 0);
}

static void every_section_of_many_is_charged(void **state)
{
    enum { MANY = 300 };
    IHostMemoryManager *manager = *state;
    HANDLE sections[MANY];
    BYTE *views[MANY];
    for (int i = 0; i < MANY; i++) {
        sections[i] = new_section(PAGE, 0);
        views[i] = new_view(sections[i]);
    }
    assert_int_equal(foreign_commit(manager), MANY * PAGE);
    for (int i = 0; i < MANY; i++) {
        close_section(sections[i]);
        assert_int_equal(foreign_commit(manager), (SIZE_T)(MANY - i) * PAGE);
        assert_true(FUNCTION(UnmapViewOfFile)(views[i]));
    }
    assert_int_equal(foreign_commit(manager), 0);
}

/* ---- Handles ---- */

static void a_section_stays_as_long_as_it_has_a_handle(void **state)
{
    IHostMemoryManager *manager = *state;
    HANDLE section = new_section(MIB, SEC_RESERVE);
    HANDLE other = duplicate(section, 0), third = duplicate(other, 0);
    close_section(section);
    BYTE *view = new_view(other);
    assert_ptr_equal(FUNCTION(VirtualAlloc)(view, PAGE, MEM_COMMIT, PAGE_READWRITE), view);
    assert_true(FUNCTION(UnmapViewOfFile)(view));
    close_section(other);
    assert_int_equal(foreign_commit(manager), PAGE);
    view = new_view(third); /* what was committed is known */
    assert_ptr_equal(FUNCTION(VirtualAlloc)(view, 2 * PAGE, MEM_COMMIT, PAGE_READWRITE), view);
    assert_int_equal(foreign_commit(manager), 2 * PAGE);
    close_section(third);
    assert_int_equal(foreign_commit(manager), 2 * PAGE);
    assert_true(FUNCTION(UnmapViewOfFile)(view));
    assert_int_equal(foreign_commit(manager), 0);
}

static void a_duplicate_can_take_the_place_of_its_source(void **state)
{
    IHostMemoryManager *manager = *state;
    HANDLE section = new_section(MIB, 0), other = duplicate(section, DUPLICATE_CLOSE_SOURCE);
    assert_int_equal(foreign_commit(manager), MIB);
    close_section(other);
    assert_int_equal(foreign_commit(manager), 0);
}

/* The documentation: the source is closed whatever happens. */
static void a_source_is_closed_though_there_is_no_duplicate(void **state)
{
    IHostMemoryManager *manager = *state;
    HANDLE section = new_section(MIB, 0), other = NULL, process = GetCurrentProcess();
    __typeof__(&DuplicateHandle) bound_duplicate = FUNCTION(DuplicateHandle);
    HANDLE no_process = section;
    assert_false(bound_duplicate(process, section, no_process, &other, 0, FALSE, 0));
    assert_int_equal(foreign_commit(manager), MIB);
    assert_false(
        bound_duplicate(process, section, no_process, &other, 0, FALSE, DUPLICATE_CLOSE_SOURCE));
    assert_int_equal(GetLastError(), ERROR_INVALID_HANDLE);
    assert_int_equal(foreign_commit(manager), 0);
}

static void a_handle_that_cannot_be_closed_keeps_its_section(void **state)
{
    IHostMemoryManager *manager = *state;
    HANDLE section = new_section(MIB, 0);
    assert_true(SetHandleInformation(section, HANDLE_FLAG_PROTECT_FROM_CLOSE,
                                     HANDLE_FLAG_PROTECT_FROM_CLOSE));
    assert_false(FUNCTION(CloseHandle)(section));
    assert_int_equal(foreign_commit(manager), MIB);
    assert_true(SetHandleInformation(section, HANDLE_FLAG_PROTECT_FROM_CLOSE, 0));
    close_section(section);
    assert_int_equal(foreign_commit(manager), 0);
}

/* Another module closes a handle without us, and its value comes again: mostly at once, if no other
 * thread has opened something in between. */
static void a_value_that_comes_again_is_a_new_section(void **state)
{
    IHostMemoryManager *manager = *state;
    HANDLE first, again;
    UINT64 expected;
    do {
        first = new_section(MIB, 0);
        expected = foreign_commit(manager) - MIB + 2 * MIB;
        assert_true(CloseHandle(first));
        again = new_section(2 * MIB, 0);
    } while (again != first);
    assert_int_equal(foreign_commit(manager), expected);
    close_section(again);
    assert_int_equal(foreign_commit(manager), expected - 2 * MIB);

    /* And the same of a duplicate. */
    HANDLE source = new_section(PAGE, 0);
    do {
        first = new_section(MIB, 0);
        expected = foreign_commit(manager) - MIB;
        assert_true(CloseHandle(first));
    } while (duplicate(source, 0) != first);
    assert_int_equal(foreign_commit(manager), expected);
}

/* ---- Threads ---- */

static void close_after_a_while(void *section)
{
    Sleep(200);
    close_section(section);
}

static int bind_patient_manager(void **state)
{
    if (load_runtime(state) != 0) {
        return -1;
    }
    *state = CREATE_MANAGER(.CommitWaitMilliseconds = 60000); /* longer than the test may take */
    EXPECT_HR(HostMemBindRuntime(*state, coreclr, NULL), S_OK);
    imports_read(coreclr, &after);
    return 0;
}

/* Were the table locked meanwhile, nobody could make room. */
static void a_commit_waits_for_room_that_another_section_makes(void **state)
{
    IHostMemoryManager *manager = *state;
    HANDLE section = new_section(MIB, SEC_RESERVE), other = new_section(MIB, 0);
    BYTE *view = new_view(section);
    struct thread thread;
    SET_LIMITS(manager, .CommitLimit = statistics_of(manager).ChargedCurrentBytes + PAGE);
    thread_start(&thread, close_after_a_while, other);
    assert_ptr_equal(FUNCTION(VirtualAlloc)(view, MIB, MEM_COMMIT, PAGE_READWRITE), view);
    thread_join(&thread);
    assert_int_equal(foreign_commit(manager), MIB);
}

enum { THREADS = 4, SHARED_PAGES = 256 };
static BYTE *shared_view;

static void commit_every_page(void *failures)
{
    for (SIZE_T i = 0; i < SHARED_PAGES; i++) {
        BYTE *page = shared_view + i * PAGE;
        if (FUNCTION(VirtualAlloc)(page, PAGE, MEM_COMMIT, PAGE_READWRITE) != page) {
            InterlockedIncrement(failures);
        }
    }
}

static void threads_that_commit_the_same_pages_charge_them_once(void **state)
{
    IHostMemoryManager *manager = *state;
    for (int round = 0; round < 20; round++) {
        struct thread threads[THREADS];
        LONG failures = 0;
        HANDLE section = new_section(SHARED_PAGES * PAGE, SEC_RESERVE);
        shared_view = new_view(section);
        for (int i = 0; i < THREADS; i++) {
            thread_start(&threads[i], commit_every_page, &failures);
        }
        for (int i = 0; i < THREADS; i++) {
            thread_join(&threads[i]);
        }
        assert_int_equal(failures, 0);
        assert_int_equal(foreign_commit(manager), SHARED_PAGES * PAGE);
        close_section(section);
        assert_true(FUNCTION(UnmapViewOfFile)(shared_view));
        assert_int_equal(foreign_commit(manager), 0);
    }
}

static void a_section_is_charged_in_whole_pages(void **state)
{
    IHostMemoryManager *manager = *state;
    for (int round = 0; round < 3; round++) {
        HANDLE other = new_section(MIB + 1, 0), section = new_section(100, 0);
        assert_int_equal(foreign_commit(manager), MIB + 2 * PAGE);
        close_section(section);
        assert_int_equal(foreign_commit(manager), MIB + PAGE);
        close_section(other);
        assert_int_equal(foreign_commit(manager), 0);
    }
}

/* With a flag that there is not. */
static void a_view_that_cannot_be_unmapped_keeps_its_section(void **state)
{
    IHostMemoryManager *manager = *state;
    __typeof__(BOOL WINAPI(void *, ULONG)) *unmap = (__typeof__(unmap))(void (*)(void))FUNCTION(
        GetProcAddress)(GetModuleHandleW(L"kernelbase.dll"), "UnmapViewOfFileEx");
    HANDLE section = new_section(MIB, 0);
    BYTE *view = new_view(section);
    close_section(section);
    if (!unmap) {
        print_message("this system has no UnmapViewOfFileEx\n");
    } else {
        assert_false(unmap(view + 64 * MIB, 0)); /* of no view at all */
        if (!unmap(view, 0x80)) {
            assert_int_equal(foreign_commit(manager), MIB);
            assert_true(unmap(view, 0));
        }
        assert_int_equal(foreign_commit(manager), 0);
    }
}

/* ---- What others free with imports of their own: this program's lead to the system ---- */

static HOSTMEM_BINDING binding(void)
{
    HOSTMEM_BINDING result = {.Size = sizeof(result)};
    assert_int_equal(HostMemGetBinding(&result), S_OK);
    return result;
}

#define EXPECT_FREED_BEHIND(count) assert_int_equal(binding().FreedBehind, (count))

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

/* As .NET 7 and later have one for code. */
static void the_table_of_a_section_of_2_tib_is_small(void **state)
{
    const UINT64 size = (UINT64)2 << 40;
    IHostMemoryManager *manager = *state;
    HANDLE section =
        FUNCTION(CreateFileMappingW)(INVALID_HANDLE_VALUE, NULL, PAGE_READWRITE | SEC_RESERVE,
                                     (DWORD)(size >> 32), (DWORD)size, NULL);
    if (!section) {
        print_message("this system makes no section of 2 TiB: error %lu\n", GetLastError());
        return;
    }
    assert_int_equal(foreign_commit(manager), 0);
    for (DWORD i = 0; i < 3; i++) {
        BYTE *view = FUNCTION(MapViewOfFile)(section, FILE_MAP_WRITE, i * 170, 0, MIB);
        assert_non_null(view);
        assert_ptr_equal(FUNCTION(VirtualAlloc)(view, PAGE, MEM_COMMIT, PAGE_READWRITE), view);
        assert_int_equal(foreign_commit(manager), (i + 1) * PAGE);
    }
    assert_in_range(binding().TableBytes, 1, 65536);
}

/* ---- The end of the process ---- */

static volatile LONG at_work;

static void make_and_close_sections(void *unused)
{
    (void)unused;
    for (;;) {
        HANDLE section =
            FUNCTION(CreateFileMappingW)(INVALID_HANDLE_VALUE, NULL, PAGE_READWRITE, 0, PAGE, NULL);
        FUNCTION(CloseHandle)(section);
        at_work = TRUE;
    }
}

/* When this thread is the last one. Without a word to cmocka, which is gone: the process hangs, or
 * ends with 1. */
static void WINAPI at_the_end(void *view)
{
    if (!FUNCTION(UnmapViewOfFile)(view)) {
        TerminateProcess(GetCurrentProcess(), 1);
    }
}

/* Threads end anywhere in what they do, with the lock in their hands. */
static void the_last_thread_passes_over_the_locks_of_the_dead(void **state)
{
    static struct thread threads[THREADS];
    (void)state;
    HANDLE section = new_section(MIB, 0);
    assert_true(FlsSetValue(FlsAlloc(at_the_end), new_view(section)));
    for (int i = 0; i < THREADS; i++) {
        thread_start(&threads[i], make_and_close_sections, NULL);
    }
    while (!at_work) {
        Sleep(1);
    }
}

int main(int argc, char **argv)
{
#define WITH(setup, name) cmocka_unit_test_setup(name, setup)
    const struct CMUnitTest tests[] = {
        WITH(bind_hostmem, sections_without_a_file_are_charged_once),
        WITH(bind_hostmem, a_section_beyond_the_limit_is_refused),
        WITH(bind_hostmem, a_commit_of_a_whole_view_draws_on_the_emergency_part),
        WITH(bind_hostmem, a_section_larger_than_an_x86_address_space_is_charged_in_full),
        WITH(bind_hostmem, every_section_of_many_is_charged),
        WITH(bind_hostmem, a_section_stays_as_long_as_it_has_a_handle),
        WITH(bind_hostmem, a_duplicate_can_take_the_place_of_its_source),
        WITH(bind_hostmem, a_source_is_closed_though_there_is_no_duplicate),
        WITH(bind_hostmem, a_handle_that_cannot_be_closed_keeps_its_section),
        WITH(bind_hostmem, a_value_that_comes_again_is_a_new_section),
        WITH(bind_patient_manager, a_commit_waits_for_room_that_another_section_makes),
        WITH(bind_hostmem, threads_that_commit_the_same_pages_charge_them_once),
        WITH(bind_hostmem, a_section_is_charged_in_whole_pages),
        WITH(bind_hostmem, a_view_that_cannot_be_unmapped_keeps_its_section),
        WITH(bind_hostmem, a_view_that_others_unmapped_is_found_when_it_is_unmapped),
        WITH(bind_hostmem, a_commit_where_a_view_was_is_answered_as_windows_does),
        WITH(bind_hostmem, a_view_takes_the_place_of_one_that_others_unmapped),
        WITH(bind_hostmem, a_region_takes_the_place_of_a_view_that_others_unmapped),
        WITH(bind_hostmem, a_handle_that_others_closed_is_found_when_it_is_closed),
        WITH(bind_hostmem, a_value_that_comes_again_is_no_section),
        WITH(bind_hostmem, a_section_with_two_handles_loses_one),
        WITH(bind_hostmem, a_refund_that_the_manager_refuses_is_counted),
        WITH(bind_hostmem, the_table_of_a_section_of_2_tib_is_small),
        WITH(bind_hostmem, the_last_thread_passes_over_the_locks_of_the_dead),
    };
    return coreclr_test_main(argc, argv, tests, sizeof(tests) / sizeof(tests[0]));
}
