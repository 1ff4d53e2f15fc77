/* SPDX-License-Identifier: MIT
 *
 * As much of the public header as the fuzzed files need.
 */
#ifndef HOSTMEM_FUZZ_HOSTMEM_H
#define HOSTMEM_FUZZ_HOSTMEM_H

#include <windows.h>

typedef struct IHostMemoryManager IHostMemoryManager;

HRESULT IHostMemoryManager_VirtualProtect(IHostMemoryManager *manager, void *address, SIZE_T size,
                                          DWORD protect, DWORD *old_protect);

#endif
