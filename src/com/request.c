/* SPDX-License-Identifier: MIT
 *
 * What happens to a request that the budget refuses. Without CommitWaitMilliseconds it fails at
 * once: E_OUTOFMEMORY. With it the calling thread waits, outside of every lock of ours, until memory
 * was given back, a limit was raised, the time is over (HOST_E_TIMEOUT) or the manager was shut down
 * (HOST_E_ABANDONED).
 *
 * The wait is off by default because the CLR allocates while it has stopped its other threads: a
 * thread that waits there for memory which only one of those could free waits in vain, and the whole
 * process with it (contract 2.9, 2.11). It is safe only where native threads make the room.
 *
 * What the fault plan refuses fails before anybody is asked, and without the wait.
 *
 * A waiter looks again every 10 ms even if nobody has woken it, so a wake-up that another waiter
 * took costs that much and no more.
 */
#include "com/com_private.h"

#define LOOK_AGAIN_MS 10

static void wait_for_room(struct host_memory_manager *manager, ULONGLONG milliseconds)
{
    const HANDLE handles[] = {manager->shut_down, manager->room_made};
    DWORD timeout = milliseconds < LOOK_AGAIN_MS ? (DWORD)milliseconds : LOOK_AGAIN_MS;
    atomic_fetch_add(&manager->waiters, 1);
    WaitForMultipleObjects(ARRAYSIZE(handles), handles, FALSE, timeout);
    atomic_fetch_sub(&manager->waiters, 1);
}

bool request_refused(struct request *request, os_error *error)
{
    struct host_memory_manager *manager = request->manager;
    request->refusal = OS_OK;
    if (*error != HM_OVER_COMMIT && *error != HM_OVER_RESERVE) {
        return false;
    }
    request->refusal = *error;
    pressure_refused(manager->pressure); /* a collection gives back pages and segments */
    if (manager->commit_wait_ms == 0) {
        return false;
    }
    ULONGLONG now = GetTickCount64();
    if (request->deadline == 0) {
        request->deadline = now + manager->commit_wait_ms;
    }
    if (is_unavailable(manager)) {
        *error = HM_ABANDONED;
        return false;
    }
    if (now >= request->deadline) {
        *error = HM_TIMED_OUT;
        return false;
    }
    wait_for_room(manager, request->deadline - now);
    return true;
}

HRESULT request_failed(struct request *request, os_error error)
{
    struct budget *budget = &request->manager->memory.budget;
    if (request->refusal == HM_OVER_COMMIT) {
        budget_deny(&budget->commit, request->level);
    } else if (request->refusal == HM_OVER_RESERVE) {
        budget_deny(&budget->reserve, request->level);
    }
    return host_memory_manager_result(request->manager, error);
}
