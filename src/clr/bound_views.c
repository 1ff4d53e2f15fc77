/* SPDX-License-Identifier: MIT
 *
 * Views of files and sections: the system maps them, the manager is told of the address space.
 */
#include "bound_private.h"

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

static void *acquired(void *view)
{
    if (view) {
        DWORD error = GetLastError();
        IHostMemoryManager_AcquiredVirtualAddressSpace(targets.manager, view, view_size(view));
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
    return acquired(view);
}

void *WINAPI bound_MapViewOfFile(HANDLE section, DWORD access, DWORD offset_high, DWORD offset_low,
                                 SIZE_T size)
{
    void *view = original.MapViewOfFile(section, access, offset_high, offset_low, size);
    if (!view && made_room(NULL, size)) {
        view = original.MapViewOfFile(section, access, offset_high, offset_low, size);
    }
    return acquired(view);
}

void *WINAPI bound_MapViewOfFile3(HANDLE section, HANDLE process, void *base, ULONG64 offset,
                                  SIZE_T size, ULONG type, ULONG protect,
                                  struct extended_parameter *parameters, ULONG count)
{
    void *view = original.MapViewOfFile3(section, process, base, offset, size, type, protect,
                                         parameters, count);
    return !process || is_this_process(process) ? acquired(view) : view;
}

static BOOL released(BOOL done, const void *view)
{
    if (done) {
        DWORD error = GetLastError();
        IHostMemoryManager_ReleasedVirtualAddressSpace(targets.manager, (void *)(UINT_PTR)view);
        SetLastError(error);
    }
    return done;
}

BOOL WINAPI bound_UnmapViewOfFile(const void *view)
{
    return released(original.UnmapViewOfFile(view), view);
}

BOOL WINAPI bound_UnmapViewOfFileEx(void *view, ULONG flags)
{
    return released(original.UnmapViewOfFileEx(view, flags), view);
}

BOOL WINAPI bound_UnmapViewOfFile2(HANDLE process, void *view, ULONG flags)
{
    BOOL done = original.UnmapViewOfFile2(process, view, flags);
    return is_this_process(process) ? released(done, view) : done;
}
