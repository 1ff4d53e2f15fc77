/* SPDX-License-Identifier: MIT */
#include "memory_functions.h"
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
static HOSTMEM_FUNCTION functions[CAPACITY];
static UINT32 function_count; /* guarded by the lock, as are the functions */
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
static void add(const char *name, HOSTMEM_FUNCTION_KIND kind, HOSTMEM_FUNCTION_STATE state)
{
    os_lock_acquire(&lock);
    UINT32 i = 0;
    while (i < function_count &&
           (functions[i].Kind != (UINT32)kind || strcmp(functions[i].Name, name) != 0)) {
        i++;
    }
    if (i == function_count && i < CAPACITY) {
        functions[i] = (HOSTMEM_FUNCTION){.Kind = (UINT32)kind, .State = (UINT32)state};
        strncpy(functions[i].Name, name, sizeof(functions[i].Name) - 1);
        function_count++;
    }
    os_lock_release(&lock);
}

void memory_functions_note(const char *name, HOSTMEM_FUNCTION_KIND kind, BOOL bound)
{
    if (bound) {
        if (looks_like_memory(name)) { /* not GetProcAddress */
            add(name, kind, HOSTMEM_FUNCTION_BOUND);
        }
    } else if (is_known(name)) {
        add(name, kind, HOSTMEM_FUNCTION_PASSED_ON);
    } else if (looks_like_memory(name)) {
        add(name, kind, HOSTMEM_FUNCTION_UNKNOWN);
    }
}

void memory_functions_forget(void)
{
    os_lock_acquire(&lock);
    function_count = 0;
    os_lock_release(&lock);
}

UINT32 memory_functions_get(UINT32 first, UINT32 capacity, HOSTMEM_FUNCTION *result)
{
    UINT32 count = 0;
    os_lock_acquire(&lock);
    while (count < capacity && first < function_count) {
        result[count++] = functions[first++];
    }
    os_lock_release(&lock);
    return count;
}

void memory_functions_count(HOSTMEM_BINDING *binding)
{
    UINT32 *const counts[] = {
        [HOSTMEM_FUNCTION_BOUND] = &binding->BoundFunctions,
        [HOSTMEM_FUNCTION_PASSED_ON] = &binding->PassedOnFunctions,
        [HOSTMEM_FUNCTION_UNKNOWN] = &binding->UnknownFunctions,
    };
    os_lock_acquire(&lock);
    for (UINT32 i = 0; i < function_count; i++) {
        ++*counts[functions[i].State];
    }
    os_lock_release(&lock);
}
