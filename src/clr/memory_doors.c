/* SPDX-License-Identifier: MIT */
#include "memory_doors.h"
#include "os/os_lock.h"

#include <string.h>

/* Known and let pass, by the reason. */
static const char *const passed_on[] = {
    /* Other processes. */
    "VirtualAllocEx",
    "VirtualFreeEx",
    "VirtualProtectEx",
    "VirtualQueryEx",
    /* They change no commit, or tell about it only. */
    "DiscardVirtualMemory",
    "EmptyWorkingSet",
    "GetLargePageMinimum",
    "GetProcessHeap",
    "GetProcessHeaps",
    "GetProcessWorkingSetSize",
    "GetProcessWorkingSetSizeEx",
    "GetWriteWatch",
    "HeapCompact",
    "HeapLock",
    "HeapQueryInformation",
    "HeapSetInformation",
    "HeapUnlock",
    "HeapWalk",
    "K32EmptyWorkingSet",
    "K32QueryWorkingSet",
    "K32QueryWorkingSetEx",
    "OfferVirtualMemory",
    "PrefetchVirtualMemory",
    "QueryVirtualMemoryInformation",
    "QueryWorkingSet",
    "QueryWorkingSetEx",
    "ReclaimVirtualMemory",
    "ResetWriteWatch",
    "SetProcessWorkingSetSize",
    "SetProcessWorkingSetSizeEx",
    "VirtualLock",
    "VirtualUnlock",
    /* Sections and files of the system; what they commit is charged where it is known. */
    "CreateFileMapping2",
    "CreateFileMappingNumaA",
    "CreateFileMappingNumaW",
    "OpenFileMappingA",
    "OpenFileMappingW",
    /* The heaps of others, and of the process where blocks go from module to module. */
    "CoTaskMemAlloc",
    "CoTaskMemFree",
    "CoTaskMemRealloc",
    "GlobalAlloc",
    "GlobalFlags",
    "GlobalFree",
    "GlobalHandle",
    "GlobalLock",
    "GlobalReAlloc",
    "GlobalSize",
    "GlobalUnlock",
    "HeapAlloc",
    "HeapCreate",
    "HeapDestroy",
    "HeapFree",
    "HeapReAlloc",
    "HeapSize",
    "HeapValidate",
    "LocalAlloc",
    "LocalFlags",
    "LocalFree",
    "LocalHandle",
    "LocalLock",
    "LocalReAlloc",
    "LocalSize",
    "LocalUnlock",
    /* The C runtime's heap. */
    "_aligned_free",
    "_aligned_malloc",
    "_aligned_msize",
    "_aligned_offset_malloc",
    "_aligned_offset_realloc",
    "_aligned_realloc",
    "_calloc_base",
    "_callnewh",
    "_free_base",
    "_malloc_base",
    "_msize",
    "_msize_base",
    "_realloc_base",
    "_recalloc",
    "_set_new_mode",
    "calloc",
    "free",
    "malloc",
    "realloc",
    /* The binding had no use for them. */
    "QueryMemoryResourceNotification",
    "GlobalMemoryStatus",
};

/* What names of functions for memory begin with, or have in them. */
static const char *const beginnings[] = {
    "AllocateUserPhysical", "FreeUserPhysical",  "GlobalAlloc",
    "GlobalFree",           "GlobalReAlloc",     "Heap",
    "LocalAlloc",           "LocalFree",         "LocalReAlloc",
    "MapUserPhysical",      "NtAllocateVirtual", "NtFreeVirtual",
    "RtlAllocateHeap",      "RtlFreeHeap",       "RtlReAllocateHeap",
    "RtlCreateHeap",        "Virtual",           "ZwAllocateVirtual",
    "ZwFreeVirtual",        "_aligned_",
};
static const char *const parts[] = {
    "CoTaskMem",      "FileMapping", "GlobalMemoryStatus",
    "LargePage",      "MapView",     "mapView",
    "MemoryResource", "ProcessHeap", "UserPhysicalPages",
    "VirtualMemory",  "WorkingSet",  "WriteWatch",
    "alloc",
};

#define COUNT(list) (sizeof(list) / sizeof((list)[0]))

#define CAPACITY 256
static HOSTMEM_DOOR doors[CAPACITY];
static UINT32 door_count; /* guarded by the lock, as are the doors */
static struct os_lock lock;

static BOOL is_known(const char *name)
{
    for (size_t i = 0; i < COUNT(passed_on); i++) {
        if (strcmp(name, passed_on[i]) == 0) {
            return TRUE;
        }
    }
    return FALSE;
}

static BOOL looks_like_memory(const char *name)
{
    for (size_t i = 0; i < COUNT(beginnings); i++) {
        if (strncmp(name, beginnings[i], strlen(beginnings[i])) == 0) {
            return TRUE;
        }
    }
    for (size_t i = 0; i < COUNT(parts); i++) {
        if (strstr(name, parts[i]) != NULL) {
            return TRUE;
        }
    }
    return FALSE;
}

/* A name longer than there is room for is cut; no function for memory has one. */
static void add(const char *name, HOSTMEM_DOOR_KIND kind, HOSTMEM_DOOR_STATE state)
{
    os_lock_acquire(&lock);
    UINT32 i = 0;
    while (i < door_count && (doors[i].Kind != (UINT32)kind || strcmp(doors[i].Name, name) != 0)) {
        i++;
    }
    if (i == door_count && i < CAPACITY) {
        doors[i] = (HOSTMEM_DOOR){.Kind = (UINT32)kind, .State = (UINT32)state};
        strncpy(doors[i].Name, name, sizeof(doors[i].Name) - 1);
        door_count++;
    }
    os_lock_release(&lock);
}

void memory_doors_note(const char *name, HOSTMEM_DOOR_KIND kind, BOOL bound)
{
    if (bound) {
        if (looks_like_memory(name)) { /* not GetProcAddress, the door to doors */
            add(name, kind, HOSTMEM_DOOR_BOUND);
        }
    } else if (is_known(name)) {
        add(name, kind, HOSTMEM_DOOR_PASSED_ON);
    } else if (looks_like_memory(name)) {
        add(name, kind, HOSTMEM_DOOR_UNKNOWN);
    }
}

void memory_doors_forget(void)
{
    os_lock_acquire(&lock);
    door_count = 0;
    os_lock_release(&lock);
}

UINT32 memory_doors_get(UINT32 first, UINT32 capacity, HOSTMEM_DOOR *result)
{
    UINT32 count = 0;
    os_lock_acquire(&lock);
    while (count < capacity && first < door_count) {
        result[count++] = doors[first++];
    }
    os_lock_release(&lock);
    return count;
}

void memory_doors_count(HOSTMEM_BINDING *binding)
{
    UINT32 *const counts[] = {
        [HOSTMEM_DOOR_BOUND] = &binding->BoundDoors,
        [HOSTMEM_DOOR_PASSED_ON] = &binding->PassedOnDoors,
        [HOSTMEM_DOOR_UNKNOWN] = &binding->UnknownDoors,
    };
    os_lock_acquire(&lock);
    for (UINT32 i = 0; i < door_count; i++) {
        ++*counts[doors[i].State];
    }
    os_lock_release(&lock);
}
