/* SPDX-License-Identifier: MIT
 *
 * IHostMemoryStatistics: what the manager knows, for the host and for people.
 */
#include "com/com_private.h"

MANAGER_INTERFACE(IHostMemoryStatistics, host_memory_statistics)

static UINT64 load(const _Atomic UINT64 *counter)
{
    return atomic_load_explicit(counter, memory_order_relaxed);
}

/* An Alloc or Free that succeeds is counted by its heap. */
static HOSTMEM_CALLS calls_of(const struct host_memory_manager *manager,
                              const struct heap_counts *blocks)
{
    const _Atomic UINT64 *calls = manager->calls;
    return (HOSTMEM_CALLS){
        .CreateMalloc = load(&calls[METHOD_CREATE_MALLOC]),
        .VirtualAlloc = load(&calls[METHOD_VIRTUAL_ALLOC]),
        .VirtualFree = load(&calls[METHOD_VIRTUAL_FREE]),
        .VirtualQuery = load(&calls[METHOD_VIRTUAL_QUERY]),
        .VirtualProtect = load(&calls[METHOD_VIRTUAL_PROTECT]),
        .GetMemoryLoad = load(&calls[METHOD_GET_MEMORY_LOAD]),
        .RegisterMemoryNotificationCallback = load(&calls[METHOD_REGISTER_CALLBACK]),
        .NeedsVirtualAddressSpace = load(&calls[METHOD_NEEDS_ADDRESS_SPACE]),
        .AcquiredVirtualAddressSpace = load(&calls[METHOD_ACQUIRED_ADDRESS_SPACE]),
        .ReleasedVirtualAddressSpace = load(&calls[METHOD_RELEASED_ADDRESS_SPACE]),
        .Alloc = load(&calls[METHOD_ALLOC]) + blocks->allocs - load(&manager->debug_blocks),
        .DebugAlloc = load(&calls[METHOD_DEBUG_ALLOC]),
        .Free = load(&calls[METHOD_FREE]) + blocks->frees,
    };
}

static HOSTMEM_REFUSAL refusal_of(const struct last_refusal *last)
{
    return (HOSTMEM_REFUSAL){
        .Bytes = load(&last->bytes),
        .Level = atomic_load_explicit(&last->level, memory_order_relaxed),
        .Error = atomic_load_explicit(&last->error, memory_order_relaxed),
    };
}

static UINT64 denied(const struct budget *budget, enum budget_level level)
{
    return load(&budget->commit.denied[level]) + load(&budget->reserve.denied[level]);
}

struct freed_behind freed_behind_of(const struct host_memory_manager *manager)
{
    const struct virtual_memory *memory = &manager->memory;
    const struct span_source *heaps = &manager->heaps.source;
    return (struct freed_behind){
        .regions = load(&memory->freed_behind) + load(&heaps->freed_behind),
        .bytes = load(&memory->freed_behind_bytes) + load(&heaps->freed_behind_bytes),
    };
}

static HRESULT STDMETHODCALLTYPE host_memory_statistics_GetStatistics(IHostMemoryStatistics *iface,
                                                                      HOSTMEM_STATISTICS *out)
{
    struct host_memory_manager *manager = impl_from_IHostMemoryStatistics(iface);
    struct heap_counts blocks;
    size_t views, view_bytes;
    if (out == NULL) {
        return E_POINTER;
    }
    const struct budget *budget = &manager->budget;
    const struct freed_behind behind = freed_behind_of(manager);
    view_list_total(&manager->views, &views, &view_bytes);
    heaps_count(&manager->heaps, &blocks);
    const HOSTMEM_STATISTICS now = {
        .Calls = calls_of(manager, &blocks),
        .CommitCurrentBytes = usage_current(&budget->committed[BUDGET_PAGES]),
        .CommitPeakBytes = usage_peak(&budget->committed[BUDGET_PAGES]),
        .ReserveCurrentBytes = usage_current(&budget->reserved),
        .ReservePeakBytes = usage_peak(&budget->reserved),
        .RegionsCurrent = usage_current(&manager->memory.regions.live),
        .RegionsPeak = usage_peak(&manager->memory.regions.live),
        .HeapCommitCurrentBytes = usage_current(&budget->committed[BUDGET_HEAP]),
        .HeapCommitPeakBytes = usage_peak(&budget->committed[BUDGET_HEAP]),
        .HeapCurrentBytes = blocks.bytes,
        .HeapCurrentBlocks = blocks.blocks,
        .ForeignVirtualFree = load(&manager->foreign_virtual_free),
        .ForeignFree = load(&manager->foreign_free),
        .ViewsCurrent = views,
        .ViewsCurrentBytes = view_bytes,
        .TableBytes = usage_current(&manager->memory.table_memory.committed),
        .ChargedCurrentBytes = budget_in_use(budget),
        .ChargedPeakBytes = usage_peak(&budget->commit.used),
        .OverdraftPeakBytes = atomic_load_explicit(&budget->overdraft_peak, memory_order_relaxed),
        .DeniedTask = denied(budget, BUDGET_TASK),
        .DeniedAppDomain = denied(budget, BUDGET_APP_DOMAIN),
        .DeniedProcess = denied(budget, BUDGET_PROCESS),
        .NotificationsLow = pressure_sent(manager->pressure, eMemoryAvailableLow),
        .NotificationsNeutral = pressure_sent(manager->pressure, eMemoryAvailableNeutral),
        .NotificationsHigh = pressure_sent(manager->pressure, eMemoryAvailableHigh),
        .CushionBytes = cushion_bytes(&manager->cushion),
        .DeniedReserve = load(&budget->reserve.denied[BUDGET_TASK]) +
                         load(&budget->reserve.denied[BUDGET_APP_DOMAIN]) +
                         load(&budget->reserve.denied[BUDGET_PROCESS]),
        .FaultsTask = fault_plan_refused(&manager->faults, BUDGET_TASK),
        .FaultsAppDomain = fault_plan_refused(&manager->faults, BUDGET_APP_DOMAIN),
        .FaultsProcess = fault_plan_refused(&manager->faults, BUDGET_PROCESS),
        .ForeignCommitCurrentBytes = usage_current(&budget->committed[BUDGET_FOREIGN]),
        .ForeignCommitPeakBytes = usage_peak(&budget->committed[BUDGET_FOREIGN]),
        .RefusedBySystem = load(&manager->refusals.system_count),
        .FreedBehindRegions = behind.regions,
        .FreedBehindBytes = behind.bytes,
        .LastByLimit = refusal_of(&manager->refusals.by_limit),
        .LastBySystem = refusal_of(&manager->refusals.by_system),
    };
    return versioned_write(out, sizeof(now), &now) ? S_OK : E_INVALIDARG;
}

/* The two sums are comparable when nobody charged or uncharged while they were taken; the count of
 * committed bytes tells. A runtime that never rests gets the last of a few attempts. */
static HRESULT STDMETHODCALLTYPE host_memory_statistics_MeasureCommit(IHostMemoryStatistics *iface,
                                                                      UINT64 *committed,
                                                                      UINT64 *system)
{
    struct host_memory_manager *manager = impl_from_IHostMemoryStatistics(iface);
    const struct usage *pages = &manager->budget.committed[BUDGET_PAGES];
    size_t by_table, by_os, before, after;
    if (committed == NULL || system == NULL) {
        return E_POINTER;
    }
    for (int attempt = 0; attempt < 10; attempt++) {
        before = usage_current(pages);
        virtual_memory_measure(&manager->memory, &by_table, &by_os);
        after = usage_current(pages);
        if (before == after && by_table == after) {
            break;
        }
        SwitchToThread();
    }
    *committed = after;
    *system = by_os;
    return S_OK;
}

static HRESULT STDMETHODCALLTYPE host_memory_statistics_GetRegions(IHostMemoryStatistics *iface,
                                                                   UINT64 from, UINT32 capacity,
                                                                   HOSTMEM_REGION *regions,
                                                                   UINT32 *count)
{
    struct host_memory_manager *manager = impl_from_IHostMemoryStatistics(iface);
    struct region_info info;
    if (count == NULL || (regions == NULL && capacity > 0)) {
        return E_POINTER;
    }
    *count = 0;
    while (*count < capacity && from <= UINTPTR_MAX &&
           virtual_memory_next(&manager->memory, (uintptr_t)from, &info)) {
        regions[(*count)++] = (HOSTMEM_REGION){
            .Base = info.region.base,
            .Size = info.region.size,
            .CommittedBytes = info.committed,
            .AllocationType = info.region.type,
            .AllocationProtect = info.region.protect,
        };
        from = (UINT64)info.region.base + info.region.size;
    }
    return S_OK;
}

static HRESULT STDMETHODCALLTYPE host_memory_statistics_GetAllocationSites(
    IHostMemoryStatistics *iface, UINT32 first, UINT32 capacity, HOSTMEM_ALLOCATION_SITE *sites,
    UINT32 *count)
{
    struct host_memory_manager *manager = impl_from_IHostMemoryStatistics(iface);
    const struct alloc_site *site;
    if (count == NULL || (sites == NULL && capacity > 0)) {
        return E_POINTER;
    }
    *count = 0;
    while (*count < capacity && first < UINT32_MAX &&
           (site = site_table_at(&manager->sites, ++first)) != NULL) {
        sites[(*count)++] = (HOSTMEM_ALLOCATION_SITE){
            .File = site->file,
            .Line = site->line,
            .CurrentBlocks = atomic_load_explicit(&site->blocks, memory_order_relaxed),
            .CurrentBytes = atomic_load_explicit(&site->bytes, memory_order_relaxed),
        };
    }
    return S_OK;
}

const IHostMemoryStatisticsVtbl host_memory_statistics_vtbl = {
    MANAGER_IUNKNOWN(host_memory_statistics),
    .GetStatistics = host_memory_statistics_GetStatistics,
    .MeasureCommit = host_memory_statistics_MeasureCommit,
    .GetRegions = host_memory_statistics_GetRegions,
    .GetAllocationSites = host_memory_statistics_GetAllocationSites,
};

_Static_assert(sizeof(IHostMemoryStatisticsVtbl) == 7 * sizeof(void *), "a slot is missing");
