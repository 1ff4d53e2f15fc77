/* SPDX-License-Identifier: MIT */
#include "new_manager.h"

HOSTMEM_OPTIONS new_manager_limits(const struct options *options)
{
    return (HOSTMEM_OPTIONS){
        .Size = sizeof(HOSTMEM_OPTIONS),
        .Flags = options->overdraft ? HOSTMEM_FLAG_OVERDRAFT : 0,
        .CommitLimit = options->commit_limit,
        .ReserveLimit = options->reserve_limit,
        .EmergencyCommit = options->emergency,
        .AddressSpaceCushion = options->cushion,
    };
}

HRESULT new_manager(const HOSTMEM_OPTIONS *limits, const HOSTMEM_FAULTS *faults,
                    IHostMemoryManager **manager)
{
    HRESULT hr = HostMemCreateManager(limits, manager);
    if (hr != S_OK || faults->Size == 0) {
        return hr;
    }
    void *setter;
    hr = IHostMemoryManager_QueryInterface(*manager, &IID_IHostMemoryFaults, &setter);
    if (hr == S_OK) {
        hr = IHostMemoryFaults_SetFaults((IHostMemoryFaults *)setter, faults);
        IHostMemoryFaults_Release((IHostMemoryFaults *)setter);
    }
    return hr;
}
