/* SPDX-License-Identifier: MIT
 *
 * How a manager comes and goes. It lies in table memory of its own, zeroed, like all that it knows:
 * nothing of it is in a heap that somebody else could damage. What can fail is made one after the
 * other, and undone from the last to the first.
 */
#include "com/com_private.h"

static void close_wait_handles(struct host_memory_manager *manager)
{
    if (manager->room_made != NULL) {
        CloseHandle(manager->room_made);
    }
    if (manager->shut_down != NULL) {
        CloseHandle(manager->shut_down);
    }
}

void host_memory_manager_destroy(struct host_memory_manager *manager)
{
    const struct os *os = manager->os; /* the manager lies in table memory of its own */
    if (manager->pressure != NULL) {
        pressure_destroy(manager->pressure);
    }
    agile_destroy(&manager->agile);
    events_destroy(manager->events);
    close_wait_handles(manager);
    cushion_destroy(&manager->cushion);
    site_table_destroy(&manager->sites);
    view_list_destroy(&manager->views);
    virtual_memory_destroy(&manager->memory);
    os->table_release(os, manager);
    module_release();
}

static bool create_wait_handles(struct host_memory_manager *manager)
{
    DWORD last_error = GetLastError();
    manager->room_made = CreateEventW(NULL, FALSE, FALSE, NULL);
    manager->shut_down = CreateEventW(NULL, TRUE, FALSE, NULL);
    SetLastError(last_error); /* of a success; the caller names a failure */
    return manager->room_made != NULL && manager->shut_down != NULL;
}

/* Limits, pressure, events, and what a wait for room needs. */
static HRESULT apply_options(struct host_memory_manager *manager, const HOSTMEM_OPTIONS *options)
{
    const HOSTMEM_LIMITS limits = {
        .Size = sizeof(limits),
        .Flags = options->Flags,
        .CommitLimit = options->CommitLimit,
        .ReserveLimit = options->ReserveLimit,
        .EmergencyCommit = options->EmergencyCommit,
    };
    manager->commit_wait_ms = options->CommitWaitMilliseconds;
    manager->events = events_create();
    manager->pressure = pressure_create(manager);
    if (manager->events == NULL || manager->pressure == NULL ||
        (manager->commit_wait_ms != 0 && !create_wait_handles(manager))) {
        return hresult_from_error(OS_NOT_ENOUGH_MEMORY);
    }
    return host_memory_limits_set(manager, &limits);
}

static void tell_debugger(const char *damage)
{
    OutputDebugStringA(damage);
}

/* Fill in a zeroed manager. After a failure nothing is left of it. */
static HRESULT initialise(struct host_memory_manager *manager, const struct os *os,
                          const HOSTMEM_OPTIONS *options)
{
    struct table_memory *memory = &manager->memory.table_memory;
    manager->IHostMemoryManager_iface.lpVtbl = &host_memory_manager_vtbl;
    manager->IHostMemoryStatistics_iface.lpVtbl = &host_memory_statistics_vtbl;
    manager->IHostMemoryLimits_iface.lpVtbl = &host_memory_limits_vtbl;
    manager->IHostMemoryPressure_iface.lpVtbl = &host_memory_pressure_vtbl;
    manager->IHostRuntimeLifetime_iface.lpVtbl = &host_runtime_lifetime_vtbl;
    manager->IHostMemoryFaults_iface.lpVtbl = &host_memory_faults_vtbl;
    manager->IHostMemoryCharge_iface.lpVtbl = &host_memory_charge_vtbl;
    manager->IHostMemoryEvents_iface.lpVtbl = &host_memory_events_vtbl;
    manager->refs = 1;
    manager->os = os;
    budget_init(&manager->budget);
    os_error error = virtual_memory_create(&manager->memory, os, &manager->budget);
    if (error != OS_OK) {
        os->table_release(os, manager);
        return hresult_from_error(error);
    }
    module_add_ref();
    site_table_init(&manager->sites, memory);
    heaps_init(&manager->heaps, &manager->budget, memory, &manager->sites, tell_debugger);
    error = view_list_create(&manager->views, memory);
    if (error == OS_OK) {
        error = cushion_create(&manager->cushion, os, options->AddressSpaceCushion);
    }
    HRESULT hr = error == OS_OK ? apply_options(manager, options) : hresult_from_error(error);
    if (hr != S_OK) {
        DWORD last_error = GetLastError();
        host_memory_manager_destroy(manager);
        SetLastError(last_error);
    }
    return hr;
}

HRESULT host_memory_manager_create(const struct os *os, const HOSTMEM_OPTIONS *options,
                                   IHostMemoryManager **result)
{
    size_t bytes = (sizeof(struct host_memory_manager) + os->page_size - 1) & ~(os->page_size - 1);
    struct host_memory_manager *manager = os->table_reserve(os, bytes);
    *result = NULL;
    if (manager == NULL) {
        return hresult_from_error(OS_NOT_ENOUGH_MEMORY);
    }
    if (!os->table_commit(os, manager, bytes)) {
        os->table_release(os, manager);
        return hresult_from_error(OS_NOT_ENOUGH_MEMORY);
    }
    HRESULT hr = initialise(manager, os, options);
    if (hr == S_OK) {
        usage_add(&manager->memory.table_memory.committed, bytes);
        *result = &manager->IHostMemoryManager_iface;
    }
    return hr;
}
