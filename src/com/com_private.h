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

#include "com/agile.h"
#include "com/events.h"
#include "com/pressure.h"
#include "core/limits/cushion.h"
#include "core/limits/fault_plan.h"
#include "core/limits/memory_load.h"
#include "core/heap/heap.h"
#include "core/pages/view_list.h"
#include "core/pages/virtual_memory.h"
#include "core/status.h"
#include "core/versioned.h"

/* More than any process can have: the user's half of a 48-bit address space. Whoever limits memory to
 * more than that has miscalculated; a negative number is what comes of an int that overflows. */
#define MOST_BYTES ((UINT64)1 << 47)

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

/* The last of many requests that were refused. Written apart, so of two threads' some of each. */
struct last_refusal {
    _Atomic UINT64 bytes;
    _Atomic UINT32 level;
    _Atomic UINT32 error;
};

struct refusals {
    struct last_refusal by_limit;
    struct last_refusal by_system;
    _Atomic UINT64 system_count; /* those by a limit are counted in the budget, by level */
};

struct host_memory_manager {
    IHostMemoryManager IHostMemoryManager_iface;
    IHostMemoryStatistics IHostMemoryStatistics_iface;
    IHostMemoryLimits IHostMemoryLimits_iface;
    IHostMemoryPressure IHostMemoryPressure_iface;
    IHostRuntimeLifetime IHostRuntimeLifetime_iface;
    IHostMemoryFaults IHostMemoryFaults_iface;
    IHostMemoryCharge IHostMemoryCharge_iface;
    IHostMemoryEvents IHostMemoryEvents_iface;
    struct agile agile;
    LONG refs;                /* Interlocked only */
    _Atomic bool unavailable; /* broken or shut down: for ever */
    const struct os *os;
    struct budget budget;
    struct virtual_memory memory;
    struct view_list views;
    struct site_table sites;
    struct heaps heaps;
    struct cushion cushion;
    struct fault_plan faults;  /* set under limits_lock */
    struct pressure *pressure; /* owned */
    struct events *events;     /* owned */
    HOSTMEM_LIMITS limits;     /* in force; guarded by limits_lock */
    struct os_lock limits_lock;
    DWORD commit_wait_ms; /* 0: requests never wait for room, and there are no handles */
    HANDLE room_made;     /* auto reset: memory was given back */
    HANDLE shut_down;     /* manual reset */
    _Atomic size_t
        wanted; /* what waits has room once no more is charged than this; 0: nobody waits */
    struct refusals refusals;
    _Atomic(const char *) broken; /* why it is, or NULL */
    /* On lines of their own: every call writes here, but an Alloc or Free that succeeds. */
    _Alignas(64) _Atomic UINT64 calls[METHOD_COUNT];
    _Atomic UINT64 foreign_virtual_free;
    _Atomic UINT64 foreign_free;
    _Atomic UINT64 debug_blocks; /* of the blocks that heaps have given out, those of DebugAlloc */
};

/* Whether every method has to refuse. */
static inline bool is_unavailable(const struct host_memory_manager *manager)
{
    return atomic_load_explicit(&manager->unavailable, memory_order_relaxed);
}

static inline void count_call(struct host_memory_manager *manager, enum method method)
{
    atomic_fetch_add_explicit(&manager->calls[method], 1, memory_order_relaxed);
}

/* manager_create.c. `os` must outlive the manager; `options` is valid. */
HRESULT host_memory_manager_create(const struct os *os, const HOSTMEM_OPTIONS *options,
                                   IHostMemoryManager **manager);

/* At the last Release. */
void host_memory_manager_destroy(struct host_memory_manager *manager);

/* The other interfaces of the manager's object, each in the file of its name. Identity and lifetime
 * are the manager's, so all begin alike: MANAGER_INTERFACE defines the way from the interface to the
 * manager, impl_from_<type>, and the three methods of IUnknown; MANAGER_IUNKNOWN puts these first in
 * the table <name>_vtbl. */
#define MANAGER_INTERFACE(type, name)                                                              \
    static inline struct host_memory_manager *impl_from_##type(type *iface)                        \
    {                                                                                              \
        assert(iface->lpVtbl == &name##_vtbl);                                                     \
        return CONTAINING_RECORD(iface, struct host_memory_manager, type##_iface);                 \
    }                                                                                              \
    static HRESULT STDMETHODCALLTYPE name##_QueryInterface(type *iface, REFIID iid, void **object) \
    {                                                                                              \
        IHostMemoryManager *outer = &impl_from_##type(iface)->IHostMemoryManager_iface;            \
        return IHostMemoryManager_QueryInterface(outer, iid, object);                              \
    }                                                                                              \
    static ULONG STDMETHODCALLTYPE name##_AddRef(type *iface)                                      \
    {                                                                                              \
        return IHostMemoryManager_AddRef(&impl_from_##type(iface)->IHostMemoryManager_iface);      \
    }                                                                                              \
    static ULONG STDMETHODCALLTYPE name##_Release(type *iface)                                     \
    {                                                                                              \
        return IHostMemoryManager_Release(&impl_from_##type(iface)->IHostMemoryManager_iface);     \
    }

#define MANAGER_IUNKNOWN(name)                                                                     \
    .QueryInterface = name##_QueryInterface, .AddRef = name##_AddRef, .Release = name##_Release

extern const IHostMemoryManagerVtbl host_memory_manager_vtbl;
extern const IHostMemoryStatisticsVtbl host_memory_statistics_vtbl;
extern const IHostMemoryLimitsVtbl host_memory_limits_vtbl;
extern const IHostMemoryPressureVtbl host_memory_pressure_vtbl;
extern const IHostRuntimeLifetimeVtbl host_runtime_lifetime_vtbl;
extern const IHostMemoryFaultsVtbl host_memory_faults_vtbl;
extern const IHostMemoryChargeVtbl host_memory_charge_vtbl;
extern const IHostMemoryEventsVtbl host_memory_events_vtbl;

/* IHostMemoryLimits::SetLimits */
HRESULT host_memory_limits_set(struct host_memory_manager *manager, const HOSTMEM_LIMITS *limits);

/* Tell the host of it, and what is charged at this moment. On any thread; returns at once and keeps
 * LastError. */
void host_memory_events_post(struct host_memory_manager *manager, HOSTMEM_EVENT event);

/* host_memory_statistics.c: all that was found so far. */
struct freed_behind freed_behind_of(const struct host_memory_manager *manager);

/* request.c: a request for memory, from the first attempt to the answer.
 *
 *     struct request request;
 *     os_error error = request_begin(&request, manager, level, kind, bytes);
 *     if (error == OS_OK) {
 *         do {
 *             error = … ask the core …
 *         } while (request_again(&request, &error));
 *     }
 *     return request_end(&request, error);
 *
 * What is inline is what every request goes through: what comes right behind a system call is code
 * that the processor has forgotten, so there should be little of it, and few calls.
 */
struct request {
    struct host_memory_manager *manager;
    enum budget_level level;
    enum fault_kind kind;
    size_t bytes;
    os_error refusal;   /* what the budget said, OS_OK while it has not refused */
    bool trimmed;       /* the last refusal made the heaps give back what they had to spare */
    ULONGLONG deadline; /* of the wait for room; set by the first refusal */
    DWORD last_error;   /* of the caller, for a request that succeeds after a wait */
};

/* Of a request that was refused, whether to ask again; if not, *error may have changed. */
bool request_refused(struct request *request, os_error *error);

/* The HRESULT of a request that failed. */
HRESULT request_failed(struct request *request, os_error error);

static inline enum budget_level level_of(EMemoryCriticalLevel level)
{
    return level == eProcessCritical     ? BUDGET_PROCESS
           : level == eAppDomainCritical ? BUDGET_APP_DOMAIN
                                         : BUDGET_TASK;
}

/* OS_OK, or HM_INJECTED: this request is to be refused on purpose. */
static inline os_error request_begin(struct request *request, struct host_memory_manager *manager,
                                     EMemoryCriticalLevel level, enum fault_kind kind, size_t bytes)
{
    *request = (struct request){
        .manager = manager, .level = level_of(level), .kind = kind, .bytes = bytes};
    if (manager->commit_wait_ms != 0) {
        request->last_error = GetLastError();
    }
    return fault_plan_refuses(&manager->faults, request->level, kind, bytes) ? HM_INJECTED : OS_OK;
}

static inline bool request_again(struct request *request, os_error *error)
{
    return *error != OS_OK && request_refused(request, error);
}

static inline HRESULT request_end(struct request *request, os_error error)
{
    if (error != OS_OK) {
        return request_failed(request, error);
    }
    if (request->deadline != 0) {
        SetLastError(request->last_error); /* Windows' own refusal has set it */
    }
    pressure_check(request->manager->pressure);
    return S_OK;
}

/* Memory was given back, or a limit was raised: let those who wait try again, if it is enough for one
 * of them. A look at two numbers while it is not, whatever the number of frees: who begins to wait at
 * this moment, or whose wake-up another one took, looks again by itself. */
static inline void request_room_was_made(struct host_memory_manager *manager)
{
    size_t wanted = atomic_load_explicit(&manager->wanted, memory_order_relaxed);
    if (wanted != 0 && usage_current(&manager->budget.commit.used) <= wanted &&
        atomic_exchange_explicit(&manager->wanted, 0, memory_order_relaxed) != 0) {
        SetEvent(manager->room_made);
    }
}

/* host_malloc.c. Holds a reference on the manager. */
HRESULT host_malloc_create(struct host_memory_manager *manager, DWORD flags, IHostMalloc **malloc);

/* class_factory.c */
HRESULT class_factory_get(REFIID iid, void **object);

/* result.c: the HRESULT for an error that is not OS_OK; sets LastError. */
HRESULT hresult_of_failure(os_error error);

/* Whether Windows says so for lack of some kind of memory. */
bool is_out_of_memory(os_error error);

static inline HRESULT hresult_from_error(os_error error)
{
    return error == OS_OK ? S_OK : hresult_of_failure(error);
}

/* What HM_BROKEN means, by what was called. */
#define RESERVE_IS_BROKEN "a reservation could be neither recorded nor released"
#define RELEASE_IS_BROKEN "Windows refuses to release a region that is there"
#define HEAP_IS_BROKEN "a heap's memory was written over, or Windows refuses to release it"

/* The manager contradicts itself: it is unavailable from now on, and the host is told why. */
void host_memory_manager_break(struct host_memory_manager *manager, const char *found);

/* The same, for calls that ask for nothing; notices that the manager is broken. */
static inline HRESULT host_memory_manager_result(struct host_memory_manager *manager,
                                                 os_error error, const char *found)
{
    if (error == OS_OK && budget_broken(&manager->budget) != NULL) {
        error = HM_BROKEN;
    }
    if (error == HM_BROKEN) {
        host_memory_manager_break(manager, found);
    }
    return hresult_from_error(error);
}

/* module.c: the count of objects and locks that keep the module loaded. */
void module_add_ref(void);
void module_release(void);
bool module_in_use(void);

/* Keep the module loaded until the process ends: a CLR that has been given the manager calls it as
 * long as it runs, and that is until the very end (contract 2.12). */
void module_pin(void);

#endif
