/* SPDX-License-Identifier: MIT
 *
 * One function per import, a table of them at the end.
 *
 * LastError: the manager's methods set it when they fail and leave it alone when they succeed, so
 * there is nothing to do here but where a call of the system comes in between.
 *
 * "Foreign" is memory that the manager did not hand out: allocated before the binding, or by
 * another module. Freeing it is refused with HOST_E_INVALIDOPERATION, and the call goes where it
 * would have gone without a binding.
 */
#include "bound_functions.h"
#include "critical_level.h"
#include "memory_notification.h"
#include "runtime_start.h"

#include <corerror.h>
#include <string.h>

static struct bound_targets targets;
static HANDLE process_heap;

/* Where the imports led. */
static struct {
    __typeof__(&VirtualAlloc) VirtualAlloc;
    __typeof__(&VirtualAllocExNuma) VirtualAllocExNuma;
    __typeof__(&VirtualFree) VirtualFree;
    __typeof__(&VirtualQuery) VirtualQuery;
    __typeof__(&VirtualProtect) VirtualProtect;
    __typeof__(&HeapAlloc) HeapAlloc;
    __typeof__(&HeapReAlloc) HeapReAlloc;
    __typeof__(&HeapFree) HeapFree;
    __typeof__(&HeapSize) HeapSize;
    __typeof__(&HeapValidate) HeapValidate;
    __typeof__(&GlobalMemoryStatusEx) GlobalMemoryStatusEx;
    __typeof__(&CreateMemoryResourceNotification) CreateMemoryResourceNotification;
    __typeof__(&QueryMemoryResourceNotification) QueryMemoryResourceNotification;
    __typeof__(&MapViewOfFile) MapViewOfFile;
    __typeof__(&MapViewOfFileEx) MapViewOfFileEx;
    __typeof__(&UnmapViewOfFile) UnmapViewOfFile;
} original;

/* ---- Virtual memory ---- */

static void *WINAPI bound_VirtualAlloc(void *address, SIZE_T size, DWORD type, DWORD protect)
{
    void *memory = NULL;
    HRESULT hr = IHostMemoryManager_VirtualAlloc(
        targets.manager, address, size, type, protect,
        critical_level_of_pages(address, size, type, protect), &memory);
    if (hr != S_OK) {
        return NULL;
    }
    critical_level_allocated(memory, size, type, protect);
    return memory;
}

/* The node is a preference, and the interface cannot express it. */
static void *WINAPI bound_VirtualAllocExNuma(HANDLE process, void *address, SIZE_T size, DWORD type,
                                             DWORD protect, DWORD node)
{
    if (process != GetCurrentProcess() && GetProcessId(process) != GetCurrentProcessId()) {
        return original.VirtualAllocExNuma(process, address, size, type, protect, node);
    }
    return bound_VirtualAlloc(address, size, type, protect);
}

static BOOL WINAPI bound_VirtualFree(void *address, SIZE_T size, DWORD type)
{
    if (type & MEM_RELEASE) {
        critical_level_released(address);
    }
    HRESULT hr = IHostMemoryManager_VirtualFree(targets.manager, address, size, type);
    if (hr == HOST_E_INVALIDOPERATION) {
        return original.VirtualFree(address, size, type);
    }
    return hr == S_OK;
}

static SIZE_T WINAPI bound_VirtualQuery(const void *address, MEMORY_BASIC_INFORMATION *information,
                                        SIZE_T length)
{
    SIZE_T written = 0;
    HRESULT hr = IHostMemoryManager_VirtualQuery(targets.manager, (void *)(UINT_PTR)address,
                                                 information, length, &written);
    return SUCCEEDED(hr) ? written : 0;
}

static BOOL WINAPI bound_VirtualProtect(void *address, SIZE_T size, DWORD protect,
                                        DWORD *old_protect)
{
    if (!old_protect) {
        return original.VirtualProtect(address, size, protect, old_protect);
    }
    DWORD old = 0;
    if (IHostMemoryManager_VirtualProtect(targets.manager, address, size, protect, &old) != S_OK) {
        return FALSE;
    }
    *old_protect = old;
    return TRUE;
}

/* ---- The process heap ---- */

static void *no_heap_memory(DWORD flags)
{
    if (flags & HEAP_GENERATE_EXCEPTIONS) {
        RaiseException(STATUS_NO_MEMORY, 0, 0, NULL);
    }
    return NULL;
}

static void *allocate(SIZE_T size)
{
    void *block = NULL;
    HRESULT hr = IHostMalloc_Alloc(targets.heap, size, critical_level_of_block(), &block);
    if (hr != S_OK || !block) {
        SetLastError(ERROR_NOT_ENOUGH_MEMORY);
        return NULL;
    }
    return block;
}

static void *WINAPI bound_HeapAlloc(HANDLE heap, DWORD flags, SIZE_T size)
{
    if (heap != process_heap) {
        return original.HeapAlloc(heap, flags, size);
    }
    void *block = allocate(size);
    if (!block) {
        return no_heap_memory(flags);
    }
    if (flags & HEAP_ZERO_MEMORY) {
        memset(block, 0, size);
    }
    return block;
}

/* HOST_E_INVALIDOPERATION: not a block of the manager's. Any other failure is of one that is, and the
 * system must not get it. */
static HRESULT size_of_block(HANDLE heap, const void *block, SIZE_T *size)
{
    *size = 0;
    return heap == process_heap && block
               ? IHostMallocBlocks_GetBlockSize(targets.blocks, (void *)(UINT_PTR)block, size)
               : HOST_E_INVALIDOPERATION;
}

/* A block of another size is another block: IHostMalloc has no way to grow one where it is. */
static void *WINAPI bound_HeapReAlloc(HANDLE heap, DWORD flags, void *block, SIZE_T size)
{
    SIZE_T old_size;
    HRESULT hr = size_of_block(heap, block, &old_size);
    if (hr == HOST_E_INVALIDOPERATION) {
        return original.HeapReAlloc(heap, flags, block, size);
    }
    if (hr != S_OK) {
        return no_heap_memory(flags);
    }
    if (size == old_size) {
        return block;
    }
    if (flags & HEAP_REALLOC_IN_PLACE_ONLY) {
        SetLastError(ERROR_NOT_ENOUGH_MEMORY);
        return no_heap_memory(flags);
    }
    void *grown = allocate(size);
    if (!grown) {
        return no_heap_memory(flags); /* the old block is as it was */
    }
    memcpy(grown, block, size < old_size ? size : old_size);
    if ((flags & HEAP_ZERO_MEMORY) && size > old_size) {
        memset((BYTE *)grown + old_size, 0, size - old_size);
    }
    IHostMalloc_Free(targets.heap, block);
    return grown;
}

static BOOL WINAPI bound_HeapFree(HANDLE heap, DWORD flags, void *block)
{
    if (heap != process_heap) {
        return original.HeapFree(heap, flags, block);
    }
    HRESULT hr = IHostMalloc_Free(targets.heap, block);
    if (hr == HOST_E_INVALIDOPERATION) {
        return original.HeapFree(heap, flags, block);
    }
    return hr == S_OK;
}

static SIZE_T WINAPI bound_HeapSize(HANDLE heap, DWORD flags, const void *block)
{
    SIZE_T size;
    HRESULT hr = size_of_block(heap, block, &size);
    if (hr == HOST_E_INVALIDOPERATION) {
        return original.HeapSize(heap, flags, block);
    }
    return hr == S_OK ? size : (SIZE_T)-1;
}

static BOOL WINAPI bound_HeapValidate(HANDLE heap, DWORD flags, const void *block)
{
    SIZE_T size;
    HRESULT hr = size_of_block(heap, block, &size);
    if (hr == HOST_E_INVALIDOPERATION) {
        return original.HeapValidate(heap, flags, block);
    }
    return hr == S_OK;
}

/* ---- Memory load ---- */

/* The load from which on the collector takes the machine for nearly full. It then puts off full
 * collections that promise little, even when an allocation was refused: seen on 2.0, which reports
 * out of memory while a third of its heap is garbage. */
#define HIGH_LOAD 90

static void lower(DWORDLONG *value, DWORDLONG limit)
{
    if (*value > limit) {
        *value = limit;
    }
}

/* With a limit the budget is the machine: the collector sizes its first generation by the memory
 * there is, not by what is available. A full budget is no full machine, though: it is the refusal
 * that makes the collector give memory back, and a high load that keeps it from doing so. */
static void apply_limit(MEMORYSTATUSEX *status, DWORD machine_load)
{
    HOSTMEM_LIMITS limits = {.Size = sizeof(limits)};
    if (!targets.policy || IHostMemoryPolicy_GetLimits(targets.policy, &limits) != S_OK ||
        !limits.CommitLimit) {
        return;
    }
    lower(&status->ullTotalPhys, limits.CommitLimit);
    lower(&status->ullTotalPageFile, limits.CommitLimit);
    lower(&status->ullAvailPageFile, status->ullAvailPhys);
    if (status->dwMemoryLoad >= HIGH_LOAD) {
        status->dwMemoryLoad = machine_load < HIGH_LOAD ? HIGH_LOAD - 1 : machine_load;
    }
}

static BOOL WINAPI bound_GlobalMemoryStatusEx(MEMORYSTATUSEX *status)
{
    if (!original.GlobalMemoryStatusEx(status)) {
        return FALSE;
    }
    DWORD load;
    SIZE_T available;
    if (IHostMemoryManager_GetMemoryLoad(targets.manager, &load, &available) == S_OK) {
        DWORD machine_load = status->dwMemoryLoad;
        status->dwMemoryLoad = load;
        status->ullAvailPhys = available;
        if (status->ullAvailPhys > status->ullTotalVirtual) { /* 32-bit: more than can be had */
            status->ullAvailPhys = status->ullAvailVirtual;
        }
        apply_limit(status, machine_load);
    }
    return TRUE;
}

static HANDLE WINAPI bound_CreateMemoryResourceNotification(MEMORY_RESOURCE_NOTIFICATION_TYPE type)
{
    runtime_start_reached_finalizer();
    return memory_notification_create(type);
}

static BOOL WINAPI bound_QueryMemoryResourceNotification(HANDLE notification, BOOL *state)
{
    if (state && memory_notification_query(notification, state)) {
        return TRUE;
    }
    return original.QueryMemoryResourceNotification(notification, state);
}

/* ---- Address space: the system maps, the manager is told ---- */

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

static void *WINAPI bound_MapViewOfFileEx(HANDLE section, DWORD access, DWORD offset_high,
                                          DWORD offset_low, SIZE_T size, void *base)
{
    void *view = original.MapViewOfFileEx(section, access, offset_high, offset_low, size, base);
    if (!view && made_room(base, size)) {
        view = original.MapViewOfFileEx(section, access, offset_high, offset_low, size, base);
    }
    return acquired(view);
}

static void *WINAPI bound_MapViewOfFile(HANDLE section, DWORD access, DWORD offset_high,
                                        DWORD offset_low, SIZE_T size)
{
    void *view = original.MapViewOfFile(section, access, offset_high, offset_low, size);
    if (!view && made_room(NULL, size)) {
        view = original.MapViewOfFile(section, access, offset_high, offset_low, size);
    }
    return acquired(view);
}

static BOOL WINAPI bound_UnmapViewOfFile(const void *view)
{
    if (!original.UnmapViewOfFile(view)) {
        return FALSE;
    }
    DWORD error = GetLastError();
    IHostMemoryManager_ReleasedVirtualAddressSpace(targets.manager, (void *)(UINT_PTR)view);
    SetLastError(error);
    return TRUE;
}

/* ---- The table ---- */

enum group { ALWAYS, WITH_HEAP, WITH_NOTIFICATIONS };

#define BOUND(name, group)                                                                         \
    {                                                                                              \
#name, (import_function)bound_##name, &original.name, group                                \
    }

static const struct {
    const char *name;
    import_function replacement;
    void *original; /* where in `original` */
    enum group group;
} functions[] = {
    BOUND(VirtualAlloc, ALWAYS),
    BOUND(VirtualAllocExNuma, ALWAYS),
    BOUND(VirtualFree, ALWAYS),
    BOUND(VirtualQuery, ALWAYS),
    BOUND(VirtualProtect, ALWAYS),
    BOUND(HeapAlloc, WITH_HEAP),
    BOUND(HeapReAlloc, WITH_HEAP),
    BOUND(HeapFree, WITH_HEAP),
    BOUND(HeapSize, WITH_HEAP),
    BOUND(HeapValidate, WITH_HEAP),
    BOUND(GlobalMemoryStatusEx, ALWAYS),
    BOUND(CreateMemoryResourceNotification, WITH_NOTIFICATIONS),
    BOUND(QueryMemoryResourceNotification, WITH_NOTIFICATIONS),
    BOUND(MapViewOfFile, ALWAYS),
    BOUND(MapViewOfFileEx, ALWAYS),
    BOUND(UnmapViewOfFile, ALWAYS),
};

#define FUNCTION_COUNT (sizeof(functions) / sizeof(functions[0]))

HRESULT bound_functions_set_targets(const struct bound_targets *new_targets)
{
    /* What the module does not import is still called from here, VirtualQuery for instance. */
    HMODULE kernel32 = GetModuleHandleW(L"kernel32.dll");
    for (size_t i = 0; i < FUNCTION_COUNT; i++) {
        import_function function = (import_function)GetProcAddress(kernel32, functions[i].name);
        if (!function) {
            return HRESULT_FROM_WIN32(ERROR_PROC_NOT_FOUND);
        }
        memcpy(functions[i].original, &function, sizeof(function));
    }
    process_heap = GetProcessHeap();
    targets = *new_targets;
    return S_OK;
}

import_function bound_functions_choose(const char *name, import_function current, void *context)
{
    struct bound_choice *choice = context;
    for (size_t i = 0; i < FUNCTION_COUNT; i++) {
        if (strcmp(name, functions[i].name) != 0) {
            continue;
        }
        if ((functions[i].group == WITH_HEAP && !targets.heap) ||
            (functions[i].group == WITH_NOTIFICATIONS && !targets.notifications)) {
            return NULL;
        }
        if (functions[i].replacement == (import_function)bound_VirtualAlloc) {
            choice->virtual_alloc_found = TRUE;
        }
        memcpy(functions[i].original, &current, sizeof(current));
        return functions[i].replacement;
    }
    return NULL;
}
