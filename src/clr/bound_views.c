/* SPDX-License-Identifier: MIT
 *
 * Sections and views: the system makes them, the manager is told of the address space. What a section
 * without a file commits is charged to the manager's budget (section_table.h).
 */
#include "bound_private.h"
#include "critical_level.h"
#include "memory_notification.h"
#include "section_table.h"

#include <stdint.h>

/* ---- Commit that is not the manager's own ---- */

/* Without the interface there is no budget. */
static BOOL take(UINT64 bytes, EMemoryCriticalLevel level)
{
    return bytes == 0 || !targets.charge ||
           IHostMemoryCharge_ChargeCommit(targets.charge, bytes, level) == S_OK;
}

static void give_back(UINT64 bytes)
{
    if (bytes != 0 && targets.charge) {
        DWORD error = GetLastError();
        IHostMemoryCharge_RefundCommit(targets.charge, bytes);
        SetLastError(error);
    }
}

/* A runtime that keeps its code in sections (7.0 and later) clears a view before it unmaps it: it
 * commits all of it and writes, without a look whether it got the memory. */
static EMemoryCriticalLevel level_in_view(const void *address, SIZE_T size, DWORD type,
                                          DWORD protect, BOOL whole)
{
    return whole && protect == PAGE_READWRITE
               ? eProcessCritical
               : critical_level_of_pages(address, size, type, protect);
}

/* The manager passes on what is in no region of its own; so the call is seen, counted and traced as
 * all others are. The charge may wait for memory, so it is made before the table is locked, and what
 * another thread has committed meanwhile is given back. */
BOOL bound_view_commit(void *address, SIZE_T size, DWORD type, DWORD protect, void **memory)
{
    UINT64 taken, added;
    BOOL whole;
    if (!(type & MEM_COMMIT) || (type & MEM_RESERVE) || !address) {
        return FALSE;
    }
    *memory = NULL;
    EMemoryCriticalLevel level;
    for (;;) {
        if (!section_table_commits(address, size, &taken, &whole)) {
            return FALSE;
        }
        level = level_in_view(address, size, type, protect, whole);
        if (!take(taken, level)) {
            return TRUE;
        }
        if (section_table_commit_begin(address, size, taken, &added)) {
            break;
        }
        give_back(taken);
    }
    BOOL done = IHostMemoryManager_VirtualAlloc(targets.manager, address, size, type, protect,
                                                level, memory) == S_OK;
    section_table_commit_end(address, size, done);
    if (!done) {
        *memory = NULL;
    }
    give_back(done ? taken - added : taken);
    return TRUE;
}

/* ---- Sections ---- */

/* The bytes that CreateFileMapping commits; 0: none, or a file has them. */
static UINT64 commit_of_section(HANDLE file, DWORD protect, UINT64 size)
{
    return file == INVALID_HANDLE_VALUE && !(protect & SEC_RESERVE) ? section_table_commit(size)
                                                                    : 0;
}

/* A section that was asked for, or NULL. `taken` has been charged for it. */
static HANDLE created(HANDLE section, HANDLE file, UINT64 size, UINT64 taken)
{
    DWORD error = GetLastError();
    /* A handle of this value that is known was closed by others. */
    if (section && section_table_begin(section)) {
        UINT64 gone = section_table_closed(section);
        section_table_end();
        give_back(gone);
    }
    BOOL is_new = section && error != ERROR_ALREADY_EXISTS;
    BOOL recorded =
        is_new && file == INVALID_HANDLE_VALUE && section_table_add(section, size, taken != 0);
    if (!recorded) {
        give_back(taken);
    }
    SetLastError(error);
    return section;
}

static EMemoryCriticalLevel level_of_section(UINT64 size)
{
    SIZE_T bytes = size > SIZE_MAX ? SIZE_MAX : (SIZE_T)size;
    return critical_level_of_pages(NULL, bytes, MEM_COMMIT, PAGE_READWRITE);
}

#define CREATE_FILE_MAPPING(create)                                                                \
    UINT64 size = (UINT64)size_high << 32 | size_low;                                              \
    UINT64 commit = commit_of_section(file, protect, size);                                        \
    if (!take(commit, level_of_section(size))) {                                                   \
        SetLastError(ERROR_COMMITMENT_LIMIT);                                                      \
        return NULL;                                                                               \
    }                                                                                              \
    return created(original.create(file, attributes, protect, size_high, size_low, name), file,    \
                   size, commit)

HANDLE WINAPI bound_CreateFileMappingW(HANDLE file, SECURITY_ATTRIBUTES *attributes, DWORD protect,
                                       DWORD size_high, DWORD size_low, const WCHAR *name)
{
    CREATE_FILE_MAPPING(CreateFileMappingW);
}

HANDLE WINAPI bound_CreateFileMappingA(HANDLE file, SECURITY_ATTRIBUTES *attributes, DWORD protect,
                                       DWORD size_high, DWORD size_low, const char *name)
{
    CREATE_FILE_MAPPING(CreateFileMappingA);
}

BOOL WINAPI bound_CloseHandle(HANDLE handle)
{
    if (!section_table_begin(handle)) {
        memory_notification_forget(handle);
        return original.CloseHandle(handle);
    }
    BOOL closed = original.CloseHandle(handle);
    UINT64 gone = closed ? section_table_closed(handle) : 0;
    section_table_end();
    give_back(gone);
    return closed;
}

/* With DUPLICATE_CLOSE_SOURCE the source is closed whether there is a duplicate or not; Wine then gives
 * the duplicate its value. */
BOOL WINAPI bound_DuplicateHandle(HANDLE source_process, HANDLE source, HANDLE process,
                                  HANDLE *duplicate, DWORD access, BOOL inherit, DWORD options)
{
    if (!is_this_process(source_process) || !section_table_begin(source)) {
        return original.DuplicateHandle(source_process, source, process, duplicate, access, inherit,
                                        options);
    }
    BOOL done = original.DuplicateHandle(source_process, source, process, duplicate, access,
                                         inherit, options);
    HANDLE other = done && duplicate && is_this_process(process) ? *duplicate : NULL;
    UINT64 gone = 0;
    if (other && other != source) {
        gone = section_table_closed(other); /* one that others closed */
        section_table_duplicated(source, other);
    }
    if ((options & DUPLICATE_CLOSE_SOURCE) && other != source) {
        gone += section_table_closed(source);
    }
    section_table_end();
    give_back(gone);
    return done;
}

/* ---- Views ---- */

/* The size of a whole view, over all the protections inside it. */
static SIZE_T view_size(const void *view)
{
    SIZE_T size = 0;
    MEMORY_BASIC_INFORMATION part;
    while (original.VirtualQuery((const BYTE *)view + size, &part, sizeof(part)) &&
           part.AllocationBase == view) {
        size += part.RegionSize;
    }
    return size;
}

static void *acquired(void *view, HANDLE section, UINT64 offset)
{
    if (view) {
        DWORD error = GetLastError();
        SIZE_T size = view_size(view);
        section_table_mapped(section, view, size, offset);
        IHostMemoryManager_AcquiredVirtualAddressSpace(targets.manager, view, size);
        SetLastError(error);
    }
    return view;
}

/* After a failure: whether the manager made room. If it did not, the error stands. */
static BOOL made_room(void *base, SIZE_T size)
{
    DWORD error = GetLastError();
    HRESULT hr = IHostMemoryManager_NeedsVirtualAddressSpace(targets.manager, base, size);
    SetLastError(error);
    return SUCCEEDED(hr);
}

void *WINAPI bound_MapViewOfFileEx(HANDLE section, DWORD access, DWORD offset_high,
                                   DWORD offset_low, SIZE_T size, void *base)
{
    void *view = original.MapViewOfFileEx(section, access, offset_high, offset_low, size, base);
    if (!view && made_room(base, size)) {
        view = original.MapViewOfFileEx(section, access, offset_high, offset_low, size, base);
    }
    return acquired(view, section, (UINT64)offset_high << 32 | offset_low);
}

void *WINAPI bound_MapViewOfFile(HANDLE section, DWORD access, DWORD offset_high, DWORD offset_low,
                                 SIZE_T size)
{
    void *view = original.MapViewOfFile(section, access, offset_high, offset_low, size);
    if (!view && made_room(NULL, size)) {
        view = original.MapViewOfFile(section, access, offset_high, offset_low, size);
    }
    return acquired(view, section, (UINT64)offset_high << 32 | offset_low);
}

void *WINAPI bound_MapViewOfFile3(HANDLE section, HANDLE process, void *base, ULONG64 offset,
                                  SIZE_T size, ULONG type, ULONG protect,
                                  struct extended_parameter *parameters, ULONG count)
{
    void *view = original.MapViewOfFile3(section, process, base, offset, size, type, protect,
                                         parameters, count);
    return !process || is_this_process(process) ? acquired(view, section, offset) : view;
}

/* `ours`: the table has been locked, so that it and the system agree: the moment after a view is
 * unmapped, another thread can have one there. */
static BOOL released(BOOL ours, BOOL done, const void *view)
{
    DWORD error = GetLastError();
    UINT64 gone = ours && done ? section_table_unmapped(view) : 0;
    if (ours) {
        section_table_end();
    }
    give_back(gone);
    if (done) {
        IHostMemoryManager_ReleasedVirtualAddressSpace(targets.manager, (void *)(UINT_PTR)view);
    }
    SetLastError(error);
    return done;
}

BOOL WINAPI bound_UnmapViewOfFile(const void *view)
{
    BOOL ours = section_table_begin_unmap(view);
    return released(ours, original.UnmapViewOfFile(view), view);
}

BOOL WINAPI bound_UnmapViewOfFileEx(void *view, ULONG flags)
{
    BOOL ours = section_table_begin_unmap(view);
    return released(ours, original.UnmapViewOfFileEx(view, flags), view);
}

BOOL WINAPI bound_UnmapViewOfFile2(HANDLE process, void *view, ULONG flags)
{
    if (!is_this_process(process)) {
        return original.UnmapViewOfFile2(process, view, flags);
    }
    BOOL ours = section_table_begin_unmap(view);
    return released(ours, original.UnmapViewOfFile2(process, view, flags), view);
}
