/* SPDX-License-Identifier: MIT
 *
 * Sections of a bound runtime: each page is charged once, from the commit until the last handle and
 * the last view are gone.
 *
 * test_bind_sections <framework folder> <program> <test>
 */
#include "clr/section_calls.h"

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
        WITH(bind_hostmem, a_section_is_charged_in_whole_pages),
        WITH(bind_hostmem, a_view_that_cannot_be_unmapped_keeps_its_section),
        WITH(bind_hostmem, the_table_of_a_section_of_2_tib_is_small),
    };
    return coreclr_test_main(argc, argv, tests, sizeof(tests) / sizeof(tests[0]));
}
