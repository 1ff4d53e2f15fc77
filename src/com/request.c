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
 * A wait never starts for what can never fit, nor when the process is ending: the threads that could
 * make room are gone by then. Windows' own refusal for lack of page file is waited for in the same way:
 * a page file that grows has room a moment later. Memory for our own tables is not waited for.
 *
 * Heaps keep some memory that no block needs: a refusal takes it back, and the request tries again.
 *
 * What the fault plan refuses fails before anybody is asked, and without the wait.
 *
 * A waiter says how much may be charged for it to have room (`wanted`; of several waiters the one that
 * needs least counts), so that others who free wake it once, and not with every block. It looks again
 * every 10 ms even if nobody has woken it.
 */
#include "com/com_private.h"

#define LOOK_AGAIN_MS 10

/* How much may be charged for the request to have room. 0, which is no word to anybody: it waits for
 * address space or for Windows, or takes all there is. */
static size_t room_for(const struct budget *budget, const struct request *request)
{
    size_t ceiling =
        atomic_load_explicit(&budget->commit.ceiling[request->level], memory_order_relaxed);
    return request->refusal == HM_OVER_COMMIT && request->bytes < ceiling ? ceiling - request->bytes
                                                                          : 0;
}

static void wait_for_room(struct request *request, ULONGLONG milliseconds)
{
    struct host_memory_manager *manager = request->manager;
    const HANDLE handles[] = {manager->shut_down, manager->room_made};
    DWORD timeout = milliseconds < LOOK_AGAIN_MS ? (DWORD)milliseconds : LOOK_AGAIN_MS;
    size_t room = room_for(&manager->budget, request);
    size_t wanted = atomic_load_explicit(&manager->wanted, memory_order_relaxed);
    while (room > wanted &&
           !atomic_compare_exchange_weak_explicit(&manager->wanted, &wanted, room,
                                                  memory_order_relaxed, memory_order_relaxed)) {
    }
    WaitForMultipleObjects(ARRAYSIZE(handles), handles, FALSE, timeout);
}

static bool may_fit(const struct request *request)
{
    size_t reserve = request->refusal == HM_OVER_RESERVE ? request->bytes : 0;
    size_t commit = request->refusal == HM_OVER_COMMIT ? request->bytes : 0;
    return budget_can_fit(&request->manager->budget, reserve, commit, request->level);
}

bool request_refused(struct request *request, os_error *error)
{
    struct host_memory_manager *manager = request->manager;
    bool by_limit = *error == HM_OVER_COMMIT || *error == HM_OVER_RESERVE;
    request->refusal = by_limit ? *error : OS_OK;
    /* Every second time at most, so that there is a wait in between. */
    request->trimmed = !request->trimmed && *error == HM_OVER_COMMIT;
    if (request->trimmed && heaps_trim(&manager->heaps) != 0) {
        return true;
    }
    if (by_limit) {
        pressure_refused(manager->pressure); /* a collection gives back pages and segments */
    }
    if (manager->commit_wait_ms == 0 || !(by_limit || *error == ERROR_COMMITMENT_LIMIT) ||
        !may_fit(request) || os_process_is_ending()) {
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
        *error = by_limit ? HM_TIMED_OUT : *error;
        return false;
    }
    wait_for_room(request, request->deadline - now);
    return true;
}

/* For the statistics and for the host. */
static void remember(struct last_refusal *last, const struct request *request, os_error error,
                     HOSTMEM_REFUSED_BY by)
{
    atomic_store_explicit(&last->bytes, request->bytes, memory_order_relaxed);
    atomic_store_explicit(&last->level, (UINT32)request->level, memory_order_relaxed);
    atomic_store_explicit(&last->error, error, memory_order_relaxed);
    host_memory_events_post(request->manager, (HOSTMEM_EVENT){.Kind = HOSTMEM_EVENT_REFUSED,
                                                              .Count = 1,
                                                              .Bytes = request->bytes,
                                                              .Level = (UINT32)request->level,
                                                              .Error = error,
                                                              .RefusedBy = by});
}

/* Refusals by a limit and refusals by Windows are told apart. */
static void count_refusal(const struct request *request, os_error error)
{
    struct host_memory_manager *manager = request->manager;
    struct budget *budget = &manager->budget;
    if (request->refusal != OS_OK) {
        bool commit = request->refusal == HM_OVER_COMMIT;
        budget_deny(commit ? &budget->commit : &budget->reserve, request->level);
        remember(&manager->refusals.by_limit, request, ERROR_NOT_ENOUGH_MEMORY,
                 commit ? HOSTMEM_REFUSED_BY_COMMIT_LIMIT : HOSTMEM_REFUSED_BY_RESERVE_LIMIT);
    } else if (request->kind != FAULT_NOTHING && is_out_of_memory(error)) {
        atomic_fetch_add_explicit(&manager->refusals.system_count, 1, memory_order_relaxed);
        remember(&manager->refusals.by_system, request, error, HOSTMEM_REFUSED_BY_SYSTEM);
    }
}

HRESULT request_failed(struct request *request, os_error error)
{
    count_refusal(request, error);
    return host_memory_manager_result(
        request->manager, error, request->kind == FAULT_BLOCK ? HEAP_IS_BROKEN : RESERVE_IS_BROKEN);
}
