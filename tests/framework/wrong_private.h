/* SPDX-License-Identifier: MIT
 *
 * What the wrong manager's parts share.
 */
#ifndef TESTS_FRAMEWORK_WRONG_PRIVATE_H
#define TESTS_FRAMEWORK_WRONG_PRIVATE_H

#include "framework/wrong_manager.h"

struct wrong_manager {
    IHostMemoryManager IHostMemoryManager_iface;
    IHostMalloc IHostMalloc_iface;
    ICLRMemoryNotificationCallback callback; /* stands before the CLR's */
    IHostControl IHostControl_iface;
    LONG refs, control_refs;
    enum fault fault;
    IHostMemoryManager *real;
    IHostMalloc *real_heap;
    ICLRMemoryNotificationCallback *real_callback;
    IHostControl *real_control;
    IHostMemoryLimits *limits;
    IHostRuntimeLifetime *lifetime;
    SRWLOCK lock; /* of the faults that have one */
    volatile DWORD lock_owner;
    DWORD heap_owner;
    void *size_zero;
};

extern const IHostMallocVtbl wrong_malloc_vtbl;
extern const ICLRMemoryNotificationCallbackVtbl wrong_callback_vtbl;
extern const IHostControlVtbl wrong_control_vtbl;

/* E_OUTOFMEMORY as it should be. */
HRESULT wrong_refuse(void **result);

/* A lock that is given up after a while, so that whoever waits for himself goes on some day: the
 * judge has found it by then. False: it was not taken. */
bool wrong_lock(struct wrong_manager *manager);
void wrong_unlock(struct wrong_manager *manager, bool taken);

#endif
