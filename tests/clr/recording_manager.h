/* SPDX-License-Identifier: MIT
 *
 * A memory manager that passes everything on to the OS, remembers what it was asked, and fails when
 * it is told to. It is also the proof that the binding needs no hostmem behind it. There is one,
 * and it is static.
 */
#ifndef TESTS_CLR_RECORDING_MANAGER_H
#define TESTS_CLR_RECORDING_MANAGER_H

#include <hostmem/hostmem.h>

struct recording {
    LONG references;
    ICLRMemoryNotificationCallback *callback;

    /* What to answer. */
    HRESULT create_malloc; /* S_OK: a heap, without IHostMallocBlocks */
    HRESULT register_result;
    HRESULT needs;
    HRESULT memory_load;
    int protects_until_failure; /* 0: VirtualProtect never fails */

    /* What was asked. */
    LONG allocations[3]; /* VirtualAlloc by critical level */
    LONG steps_back;     /* … at eProcessCritical again, after a lower level */
    EMemoryCriticalLevel last_level;
    LONG foreign_frees;
    LONG failing_frees;
    int needs_calls;
    void *acquired;
    SIZE_T acquired_size;
    void *released;
};

extern struct recording recording;

IHostMemoryManager *recording_manager(void);

/* What GetMemoryLoad answers. */
#define RECORDING_LOAD 77
#define RECORDING_AVAILABLE ((SIZE_T)123 << 20)

#endif
