/* SPDX-License-Identifier: MIT
 *
 * Sections and views: the system makes them, the manager is told of the address space. What a section
 * without a file commits is charged to the manager's budget (core/pages/sections.h).
 *
 * The table of sections is locked while the system closes a handle of one or unmaps a view, and not
 * while it makes one: what the system has just made nobody else has, so what the table has in its
 * place is gone.
 */
#include "bound_private.h"
#include "core/pages/sections.h"
#include "critical_level.h"
#include "memory_notification.h"

#include <stdatomic.h>
#include <stdint.h>

static struct sections sections;
static atomic_uint refused_refunds;

void bound_views_prepare(void)
{
    sections_init(&sections, os_system());
}

void bound_views_count(HOSTMEM_BINDING *binding)
{
    binding->TableBytes = usage_current(&sections.memory.committed);
    binding->FreedBehind = sections.freed_behind;
    binding->RefusedRefunds = refused_refunds;
}

/* ---- Commit that is not the manager's own ---- */

/* Without the interface there is no budget. */
static BOOL charge(UINT64 bytes, EMemoryCriticalLevel level)
{
    return bytes == 0 || !targets.charge ||
           IHostMemoryCharge_ChargeCommit(targets.charge, bytes, level) == S_OK;
}

/* A manager that refuses what it was charged has lost count, and it is not for the runtime to mend:
 * HostMemGetBinding tells. */
static void refund(UINT64 bytes)
{
    if (bytes != 0 && targets.charge) {
        DWORD error = GetLastError();
        if (IHostMemoryCharge_RefundCommit(targets.charge, bytes) != S_OK) {
            atomic_fetch_add(&refused_refunds, 1);
        }
        SetLastError(error);
    }
}

/* A view that is gone, if any: the manager knows of its address space as well. */
static void give_back(struct section_gone gone)
{
    refund(gone.bytes);
    if (gone.view) {
        DWORD error = GetLastError();
        IHostMemoryManager_ReleasedVirtualAddressSpace(targets.manager, (void *)gone.view);
        SetLastError(error);
    }
}

void bound_views_range_given(const void *base, SIZE_T size)
{
    struct section_gone gone;
    while (sections_range_given(&sections, (uintptr_t)base, size, &gone)) {
        give_back(gone);
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
 * all others are. */
static BOOL commit(void *address, SIZE_T size, DWORD type, DWORD protect,
                   EMemoryCriticalLevel level, UINT64 charged, void **memory)
{
    struct section_commit change;
    enum section_answer answer =
        sections_commit_begin(&sections, (uintptr_t)address, size, charged, &change);
    if (answer == SECTION_CHARGE_MORE) {
        refund(charged);
        return FALSE;
    }
    BOOL done = FALSE;
    if (answer == SECTION_READY) {
        done = IHostMemoryManager_VirtualAlloc(targets.manager, address, size, type, protect, level,
                                               memory) == S_OK;
        sections_commit_end(&sections, &change, done);
    } else {
        SetLastError(ERROR_NOT_ENOUGH_MEMORY);
    }
    if (!done) {
        *memory = NULL;
    }
    refund(done ? charged - change.bytes : charged);
    return TRUE;
}

/* The charge may wait for memory, so it is made before the table is locked, and what another thread
 * has committed meanwhile is refunded. */
BOOL bound_view_commit(void *address, SIZE_T size, DWORD type, DWORD protect, void **memory)
{
    UINT64 bytes;
    bool whole;
    struct section_gone gone;
    EMemoryCriticalLevel level;
    if (!(type & MEM_COMMIT) || (type & MEM_RESERVE) || !address) {
        return FALSE;
    }
    *memory = NULL;
    do {
        BOOL ours =
            sections_commit_size(&sections, (uintptr_t)address, size, &bytes, &whole, &gone);
        give_back(gone);
        if (!ours) {
            return FALSE;
        }
        level = level_in_view(address, size, type, protect, whole);
        if (!charge(bytes, level)) {
            return TRUE;
        }
    } while (!commit(address, size, type, protect, level, bytes, memory));
    return TRUE;
}

/* ---- Sections ---- */

/* The bytes that CreateFileMapping commits; 0: none, or a file has them. */
static UINT64 commit_of_section(HANDLE file, DWORD protect, UINT64 size)
{
    return file == INVALID_HANDLE_VALUE && !(protect & SEC_RESERVE)
               ? sections_commit(&sections, size)
               : 0;
}

/* A section that was asked for, or NULL. `charged`: bytes, for it. */
static HANDLE created(HANDLE section, HANDLE file, UINT64 size, UINT64 charged)
{
    DWORD error = GetLastError();
    if (section) {
        refund(sections_handle_given(&sections, (uintptr_t)section));
    }
    BOOL is_new = section && error != ERROR_ALREADY_EXISTS && file == INVALID_HANDLE_VALUE;
    if (!is_new || !sections_add(&sections, (uintptr_t)section, size, charged != 0)) {
        refund(charged);
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
    if (!charge(commit, level_of_section(size))) {                                                 \
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

/* A handle that is protected from being closed is one. */
static BOOL is_handle(HANDLE handle)
{
    DWORD flags, error = GetLastError();
    BOOL is_one = GetHandleInformation(handle, &flags);
    SetLastError(error);
    return is_one;
}

BOOL WINAPI bound_CloseHandle(HANDLE handle)
{
    if (!sections_lock_handle(&sections, (uintptr_t)handle)) {
        memory_notification_forget(handle);
        return original.CloseHandle(handle);
    }
    BOOL closed = original.CloseHandle(handle), behind = !closed && !is_handle(handle);
    UINT64 gone = closed || behind ? sections_closed(&sections, (uintptr_t)handle, behind) : 0;
    sections_unlock(&sections);
    refund(gone);
    return closed;
}

/* `source` is a section of ours, and the table is locked. With DUPLICATE_CLOSE_SOURCE the source is
 * closed whether there is a duplicate or not; Wine then gives the duplicate its value. Returns the
 * bytes to be refunded. */
static UINT64 duplicated(HANDLE source, HANDLE duplicate, BOOL done, DWORD options)
{
    UINT64 gone = 0;
    if (duplicate && duplicate != source) {
        gone = sections_duplicated(&sections, (uintptr_t)source, (uintptr_t)duplicate);
    }
    if ((options & DUPLICATE_CLOSE_SOURCE) && duplicate != source) {
        gone += sections_closed(&sections, (uintptr_t)source, false);
    } else if (!done && !is_handle(source)) {
        gone += sections_closed(&sections, (uintptr_t)source, true);
    }
    return gone;
}

BOOL WINAPI bound_DuplicateHandle(HANDLE source_process, HANDLE source, HANDLE process,
                                  HANDLE *duplicate, DWORD access, BOOL inherit, DWORD options)
{
    BOOL ours =
        is_this_process(source_process) && sections_lock_handle(&sections, (uintptr_t)source);
    BOOL done = original.DuplicateHandle(source_process, source, process, duplicate, access,
                                         inherit, options);
    DWORD error = GetLastError();
    BOOL is_here = done && duplicate && is_this_process(process);
    HANDLE other = is_here ? *duplicate : NULL;
    if (ours) {
        UINT64 gone = duplicated(source, other, done, options);
        sections_unlock(&sections);
        refund(gone);
    } else if (other) {
        refund(sections_handle_given(&sections, (uintptr_t)other));
    }
    SetLastError(error);
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
        bound_views_range_given(view, size);
        sections_mapped(&sections, (uintptr_t)section, (uintptr_t)view, size, offset);
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

static BOOL lock_view(const void *view)
{
    return sections_lock_view(&sections, (uintptr_t)view);
}

/* `ours`: the table has been locked, so that it and the system agree: the moment after a view is
 * unmapped, another thread can have one there. If the system refuses, the view may be gone. */
static BOOL unmapped(BOOL ours, BOOL done, const void *view)
{
    struct section_gone gone = {.view = done ? (uintptr_t)view : 0};
    DWORD error = GetLastError();
    if (ours) {
        gone = sections_unmapped(&sections, (uintptr_t)view, done);
        sections_unlock(&sections);
    }
    give_back(gone);
    SetLastError(error);
    return done;
}

BOOL WINAPI bound_UnmapViewOfFile(const void *view)
{
    BOOL ours = lock_view(view);
    return unmapped(ours, original.UnmapViewOfFile(view), view);
}

BOOL WINAPI bound_UnmapViewOfFileEx(void *view, ULONG flags)
{
    BOOL ours = lock_view(view);
    return unmapped(ours, original.UnmapViewOfFileEx(view, flags), view);
}

BOOL WINAPI bound_UnmapViewOfFile2(HANDLE process, void *view, ULONG flags)
{
    if (!is_this_process(process)) {
        return original.UnmapViewOfFile2(process, view, flags);
    }
    BOOL ours = lock_view(view);
    return unmapped(ours, original.UnmapViewOfFile2(process, view, flags), view);
}
