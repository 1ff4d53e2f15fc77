/* SPDX-License-Identifier: MIT
 *
 * Sections as a bound runtime makes, maps and closes them, and what is counted of them.
 */
#ifndef TESTS_CLR_SECTION_CALLS_H
#define TESTS_CLR_SECTION_CALLS_H

#include "clr/binding_fixture.h"

static inline UINT64 foreign_commit(IHostMemoryManager *manager)
{
    return statistics_of(manager).ForeignCommitCurrentBytes;
}

static inline HANDLE new_section(UINT64 size, DWORD flags)
{
    HANDLE section = FUNCTION(CreateFileMappingW)(
        INVALID_HANDLE_VALUE, NULL, PAGE_READWRITE | flags, (DWORD)(size >> 32), (DWORD)size, NULL);
    assert_non_null(section);
    return section;
}

static inline BYTE *new_view(HANDLE section)
{
    BYTE *view = FUNCTION(MapViewOfFile)(section, FILE_MAP_WRITE, 0, 0, 0);
    assert_non_null(view);
    return view;
}

static inline void close_section(HANDLE section)
{
    assert_true(FUNCTION(CloseHandle)(section));
}

static inline HANDLE duplicate(HANDLE section, DWORD options)
{
    HANDLE other = NULL, process = GetCurrentProcess();
    SetLastError(MARKER);
    assert_true(FUNCTION(DuplicateHandle)(process, section, process, &other, 0, FALSE,
                                          DUPLICATE_SAME_ACCESS | options));
    assert_int_equal(GetLastError(), MARKER);
    return other;
}

static inline HOSTMEM_BINDING binding(void)
{
    HOSTMEM_BINDING result = {.Size = sizeof(result)};
    assert_int_equal(HostMemGetBinding(&result), S_OK);
    return result;
}

#define EXPECT_FREED_BEHIND(count) assert_int_equal(binding().FreedBehind, (count))

#endif
