/* SPDX-License-Identifier: MIT
 *
 * What the COM objects share: the manager's fields, the constructors, the map from errors to
 * HRESULTs, and the module's life. Nothing here is public.
 */
#ifndef HOSTMEM_COM_PRIVATE_H
#define HOSTMEM_COM_PRIVATE_H

#include <hostmem/hostmem.h>

#include <assert.h>
#include <corerror.h>

#include "core/site_table.h"
#include "core/view_list.h"
#include "core/virtual_memory.h"

/* The fields of HOSTMEM_CALLS, in their order. */
enum method {
    METHOD_CREATE_MALLOC,
    METHOD_VIRTUAL_ALLOC,
    METHOD_VIRTUAL_FREE,
    METHOD_VIRTUAL_QUERY,
    METHOD_VIRTUAL_PROTECT,
    METHOD_GET_MEMORY_LOAD,
    METHOD_REGISTER_CALLBACK,
    METHOD_NEEDS_ADDRESS_SPACE,
    METHOD_ACQUIRED_ADDRESS_SPACE,
    METHOD_RELEASED_ADDRESS_SPACE,
    METHOD_ALLOC,
    METHOD_DEBUG_ALLOC,
    METHOD_FREE,
    METHOD_COUNT
};

struct host_memory_manager {
    IHostMemoryManager IHostMemoryManager_iface;
    IHostMemoryStatistics IHostMemoryStatistics_iface;
    LONG refs; /* Interlocked only */
    const struct os *os;
    struct virtual_memory memory;
    struct view_list views;
    struct site_table sites;
    struct usage heap_bytes;
    struct usage heap_blocks;
    ICLRMemoryNotificationCallback *callback; /* owned; exchanged with Interlocked */
    /* On lines of their own: every call writes here. */
    _Alignas(64) _Atomic UINT64 calls[METHOD_COUNT];
    _Atomic UINT64 foreign_virtual_free;
    _Atomic UINT64 foreign_free;
};

static inline void count_call(struct host_memory_manager *manager, enum method method)
{
    atomic_fetch_add_explicit(&manager->calls[method], 1, memory_order_relaxed);
}

/* host_memory_manager.c. `os` must outlive the manager. */
HRESULT host_memory_manager_create(const struct os *os, IHostMemoryManager **manager);

/* host_memory_statistics.c */
extern const IHostMemoryStatisticsVtbl host_memory_statistics_vtbl;

/* host_malloc.c. Holds a reference on the manager. */
HRESULT host_malloc_create(struct host_memory_manager *manager, DWORD flags, IHostMalloc **malloc);

/* class_factory.c */
HRESULT class_factory_get(REFIID iid, void **object);

/* result.c: the HRESULT for an error; sets LastError unless it is OS_OK. */
HRESULT hresult_from_error(os_error error);

/* module.c: the count of objects and locks that keep the module loaded. */
void module_add_ref(void);
void module_release(void);
bool module_in_use(void);

/* Keep the module loaded until the process ends: a CLR that has been given the manager calls it as
 * long as it runs, and that is until the very end (contract 2.12). */
void module_pin(void);

#endif
