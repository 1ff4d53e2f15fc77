/* SPDX-License-Identifier: MIT
 *
 * As much of the public header as the fuzzed files need.
 */
#ifndef HOSTMEM_FUZZ_HOSTMEM_H
#define HOSTMEM_FUZZ_HOSTMEM_H

#include <windows.h>

typedef struct IHostMemoryManager IHostMemoryManager;

/* As in hostmem.idl. */
enum {
    HOSTMEM_FAULT_TASK = 1,
    HOSTMEM_FAULT_APP_DOMAIN = 2,
    HOSTMEM_FAULT_PROCESS = 4,
    HOSTMEM_FAULT_VIRTUAL_ALLOC = 1,
    HOSTMEM_FAULT_ALLOC = 2
};

/* As in hostmem.h. */
#define HOSTMEM_BIND_CRT_HEAP 1u

typedef enum {
    HOSTMEM_FUNCTION_IMPORT,
    HOSTMEM_FUNCTION_DELAY_LOADED,
} HOSTMEM_FUNCTION_KIND;

typedef struct {
    UINT32 Size;
    UINT32 Levels;
    UINT32 Methods;
    UINT32 RateNumerator;
    UINT32 RateDenominator;
    UINT32 Reserved;
    UINT64 Seed;
    UINT64 MinimumBytes;
    UINT64 Skip;
    UINT64 Count;
} HOSTMEM_FAULTS;

HRESULT IHostMemoryManager_VirtualProtect(IHostMemoryManager *manager, void *address, SIZE_T size,
                                          DWORD protect, DWORD *old_protect);

#endif
