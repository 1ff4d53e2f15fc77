/* SPDX-License-Identifier: MIT
 *
 * How much memory there is, and the system's notifications when there is little.
 */
#include "bound_private.h"
#include "memory_notification.h"
#include "runtime_start.h"

/* The load from which on the collector takes the machine for nearly full. It then puts off full
 * collections that promise little, even when an allocation was refused: seen on 2.0, which reports
 * out of memory while a third of its heap is garbage. */
#define HIGH_LOAD 90

static void lower(DWORDLONG *value, DWORDLONG limit)
{
    if (*value > limit) {
        *value = limit;
    }
}

/* With a limit the budget is the machine: the collector sizes its first generation by the memory
 * there is, not by what is available. A full budget is no full machine, though: it is the refusal
 * that makes the collector give memory back, and a high load that keeps it from doing so. */
static void apply_limit(MEMORYSTATUSEX *status, DWORD machine_load)
{
    HOSTMEM_LIMITS limits = {.Size = sizeof(limits)};
    if (!targets.limits || IHostMemoryLimits_GetLimits(targets.limits, &limits) != S_OK ||
        !limits.CommitLimit) {
        return;
    }
    lower(&status->ullTotalPhys, limits.CommitLimit);
    lower(&status->ullTotalPageFile, limits.CommitLimit);
    lower(&status->ullAvailPageFile, status->ullAvailPhys);
    if (status->dwMemoryLoad >= HIGH_LOAD) {
        status->dwMemoryLoad = machine_load < HIGH_LOAD ? HIGH_LOAD - 1 : machine_load;
    }
}

BOOL WINAPI bound_GlobalMemoryStatusEx(MEMORYSTATUSEX *status)
{
    if (!original.GlobalMemoryStatusEx(status)) {
        return FALSE;
    }
    DWORD load;
    SIZE_T available;
    if (IHostMemoryManager_GetMemoryLoad(targets.manager, &load, &available) == S_OK) {
        DWORD machine_load = status->dwMemoryLoad;
        status->dwMemoryLoad = load;
        status->ullAvailPhys = available;
        if (status->ullAvailPhys > status->ullTotalVirtual) { /* 32-bit: more than can be had */
            status->ullAvailPhys = status->ullAvailVirtual;
        }
        apply_limit(status, machine_load);
    }
    return TRUE;
}

HANDLE WINAPI bound_CreateMemoryResourceNotification(MEMORY_RESOURCE_NOTIFICATION_TYPE type)
{
    runtime_start_reached_finalizer();
    return targets.notifications ? memory_notification_create(type)
                                 : original.CreateMemoryResourceNotification(type);
}

BOOL WINAPI bound_QueryMemoryResourceNotification(HANDLE notification, BOOL *state)
{
    if (state && memory_notification_query(notification, state)) {
        return TRUE;
    }
    return original.QueryMemoryResourceNotification(notification, state);
}
