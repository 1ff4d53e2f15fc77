/* SPDX-License-Identifier: MIT
 *
 * What the bound functions share: where their calls lead, and where the imports led before. Both
 * are set before the first slot is redirected.
 */
#ifndef CLR_BOUND_PRIVATE_H
#define CLR_BOUND_PRIVATE_H

#include "bound_functions.h"

#include <malloc.h>
#include <stdlib.h>

/* X(name, type, group): every function that takes the place of an import. The functions of LATER
 * are not in every Windows, and the headers do not declare them for all; who imports them or asks
 * for them by name has them. */
#define BOUND_FUNCTIONS(X)                                                                         \
    X(VirtualAlloc, __typeof__(&VirtualAlloc), PAGES)                                              \
    X(VirtualAllocExNuma, __typeof__(&VirtualAllocExNuma), PAGES)                                  \
    X(VirtualAlloc2, virtual_alloc_2, LATER)                                                       \
    X(VirtualFree, __typeof__(&VirtualFree), PAGES)                                                \
    X(VirtualQuery, __typeof__(&VirtualQuery), PAGES)                                              \
    X(VirtualProtect, __typeof__(&VirtualProtect), PAGES)                                          \
    X(CreateFileMappingW, __typeof__(&CreateFileMappingW), PAGES)                                  \
    X(CreateFileMappingA, __typeof__(&CreateFileMappingA), PAGES)                                  \
    X(CloseHandle, __typeof__(&CloseHandle), PAGES)                                                \
    X(DuplicateHandle, __typeof__(&DuplicateHandle), PAGES)                                        \
    X(MapViewOfFile, __typeof__(&MapViewOfFile), PAGES)                                            \
    X(MapViewOfFileEx, __typeof__(&MapViewOfFileEx), PAGES)                                        \
    X(MapViewOfFile3, map_view_of_file_3, LATER)                                                   \
    X(UnmapViewOfFile, __typeof__(&UnmapViewOfFile), PAGES)                                        \
    X(UnmapViewOfFileEx, unmap_view_of_file_ex, LATER)                                             \
    X(UnmapViewOfFile2, unmap_view_of_file_2, LATER)                                               \
    X(HeapAlloc, __typeof__(&HeapAlloc), HEAP)                                                     \
    X(HeapReAlloc, __typeof__(&HeapReAlloc), HEAP)                                                 \
    X(HeapFree, __typeof__(&HeapFree), HEAP)                                                       \
    X(HeapSize, __typeof__(&HeapSize), HEAP)                                                       \
    X(HeapValidate, __typeof__(&HeapValidate), HEAP)                                               \
    X(malloc, __typeof__(&malloc), CRT)                                                            \
    X(calloc, __typeof__(&calloc), CRT)                                                            \
    X(_calloc_base, __typeof__(&calloc), CRT)                                                      \
    X(realloc, __typeof__(&realloc), CRT)                                                          \
    X(free, __typeof__(&free), CRT)                                                                \
    X(_free_base, __typeof__(&free), CRT)                                                          \
    X(_msize, __typeof__(&_msize), CRT)                                                            \
    X(_aligned_malloc, __typeof__(&_aligned_malloc), CRT)                                          \
    X(_aligned_free, __typeof__(&_aligned_free), CRT)                                              \
    X(GlobalMemoryStatusEx, __typeof__(&GlobalMemoryStatusEx), PAGES)                              \
    X(CreateMemoryResourceNotification, __typeof__(&CreateMemoryResourceNotification), PAGES)      \
    X(QueryMemoryResourceNotification, __typeof__(&QueryMemoryResourceNotification),               \
      NOTIFICATIONS)                                                                               \
    X(TerminateProcess, __typeof__(&TerminateProcess), PAGES)                                      \
    X(RaiseFailFastException, __typeof__(&RaiseFailFastException), PAGES)                          \
    X(GetProcAddress, __typeof__(&GetProcAddress), PAGES)

/* MEM_EXTENDED_PARAMETER, which is only handed on. */
struct extended_parameter;

typedef void *WINAPI virtual_alloc_2_fn(HANDLE process, void *address, SIZE_T size, ULONG type,
                                        ULONG protect, struct extended_parameter *parameters,
                                        ULONG count);
typedef void *WINAPI map_view_of_file_3_fn(HANDLE section, HANDLE process, void *base,
                                           ULONG64 offset, SIZE_T size, ULONG type, ULONG protect,
                                           struct extended_parameter *parameters, ULONG count);
typedef BOOL WINAPI unmap_view_of_file_ex_fn(void *view, ULONG flags);
typedef BOOL WINAPI unmap_view_of_file_2_fn(HANDLE process, void *view, ULONG flags);
typedef virtual_alloc_2_fn *virtual_alloc_2;
typedef map_view_of_file_3_fn *map_view_of_file_3;
typedef unmap_view_of_file_ex_fn *unmap_view_of_file_ex;
typedef unmap_view_of_file_2_fn *unmap_view_of_file_2;

struct original_functions {
#define ORIGINAL(name, type, group) type name;
    BOUND_FUNCTIONS(ORIGINAL)
#undef ORIGINAL
};

extern struct bound_targets targets;
extern struct original_functions original;

static inline BOOL is_this_process(HANDLE process)
{
    return process == GetCurrentProcess() || GetProcessId(process) == GetCurrentProcessId();
}

/* bound_pages.c */
void *WINAPI bound_VirtualAlloc(void *, SIZE_T, DWORD, DWORD);
void *WINAPI bound_VirtualAllocExNuma(HANDLE, void *, SIZE_T, DWORD, DWORD, DWORD);
virtual_alloc_2_fn bound_VirtualAlloc2;
BOOL WINAPI bound_VirtualFree(void *, SIZE_T, DWORD);
SIZE_T WINAPI bound_VirtualQuery(const void *, MEMORY_BASIC_INFORMATION *, SIZE_T);
BOOL WINAPI bound_VirtualProtect(void *, SIZE_T, DWORD, DWORD *);

/* bound_views.c */

void bound_views_prepare(void);

/* The system has given out [base, base + size): a view that the table has there is gone. */
void bound_views_range_given(const void *base, SIZE_T size);

/* A VirtualAlloc that commits pages of a view: TRUE, and *memory is the answer. FALSE: of anything
 * else. */
BOOL bound_view_commit(void *address, SIZE_T size, DWORD type, DWORD protect, void **memory);

HANDLE WINAPI bound_CreateFileMappingW(HANDLE, SECURITY_ATTRIBUTES *, DWORD, DWORD, DWORD,
                                       const WCHAR *);
HANDLE WINAPI bound_CreateFileMappingA(HANDLE, SECURITY_ATTRIBUTES *, DWORD, DWORD, DWORD,
                                       const char *);
BOOL WINAPI bound_CloseHandle(HANDLE);
BOOL WINAPI bound_DuplicateHandle(HANDLE, HANDLE, HANDLE, HANDLE *, DWORD, BOOL, DWORD);
void *WINAPI bound_MapViewOfFile(HANDLE, DWORD, DWORD, DWORD, SIZE_T);
void *WINAPI bound_MapViewOfFileEx(HANDLE, DWORD, DWORD, DWORD, SIZE_T, void *);
map_view_of_file_3_fn bound_MapViewOfFile3;
BOOL WINAPI bound_UnmapViewOfFile(const void *);
unmap_view_of_file_ex_fn bound_UnmapViewOfFileEx;
unmap_view_of_file_2_fn bound_UnmapViewOfFile2;

/* bound_heap.c */
void *WINAPI bound_HeapAlloc(HANDLE, DWORD, SIZE_T);
void *WINAPI bound_HeapReAlloc(HANDLE, DWORD, void *, SIZE_T);
BOOL WINAPI bound_HeapFree(HANDLE, DWORD, void *);
SIZE_T WINAPI bound_HeapSize(HANDLE, DWORD, const void *);
BOOL WINAPI bound_HeapValidate(HANDLE, DWORD, const void *);
void bound_heap_prepare(void);

/* bound_crt.c */
void *__cdecl bound_malloc(size_t);
void *__cdecl bound_calloc(size_t, size_t);
void *__cdecl bound__calloc_base(size_t, size_t);
void *__cdecl bound_realloc(void *, size_t);
void __cdecl bound_free(void *);
void __cdecl bound__free_base(void *);
size_t __cdecl bound__msize(void *);
void *__cdecl bound__aligned_malloc(size_t, size_t);
void __cdecl bound__aligned_free(void *);

/* bound_end.c */
BOOL WINAPI bound_TerminateProcess(HANDLE, UINT);
void WINAPI bound_RaiseFailFastException(EXCEPTION_RECORD *, CONTEXT *, DWORD);

/* bound_load.c */
BOOL WINAPI bound_GlobalMemoryStatusEx(MEMORYSTATUSEX *);
HANDLE WINAPI bound_CreateMemoryResourceNotification(MEMORY_RESOURCE_NOTIFICATION_TYPE);
BOOL WINAPI bound_QueryMemoryResourceNotification(HANDLE, BOOL *);

#endif
