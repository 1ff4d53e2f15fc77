/* SPDX-License-Identifier: MIT
 *
 * The callback that the CLR registers, and the finalizer thread that acts on it (2.5). The object is
 * static: AddRef and Release do nothing, and it never goes.
 *
 * Low only counts and wakes the finalizer; Neutral and High set the count back to 0. The finalizer
 * collects when it finds that the count has changed and is not 0. So every Low that nobody takes back
 * makes each collection as thorough as can be (rule 16), and the call itself returns at once.
 */
#include "support/framework_calls.h"
#include "support/framework_judge.h"

#define LOW_INTERVAL_MS 8192

static struct clr *impl_from_callback(ICLRMemoryNotificationCallback *iface)
{
    return CONTAINING_RECORD(iface, struct clr, callback);
}

static HRESULT STDMETHODCALLTYPE callback_QueryInterface(ICLRMemoryNotificationCallback *iface,
                                                         REFIID iid, void **object)
{
    bool known =
        IsEqualIID(iid, &IID_IUnknown) || IsEqualIID(iid, &IID_ICLRMemoryNotificationCallback);
    *object = known ? iface : NULL;
    return known ? S_OK : E_NOINTERFACE;
}

static ULONG STDMETHODCALLTYPE callback_AddRef(ICLRMemoryNotificationCallback *iface)
{
    (void)iface;
    return 1;
}

static ULONG STDMETHODCALLTYPE callback_Release(ICLRMemoryNotificationCallback *iface)
{
    (void)iface;
    return 1;
}

static void low(struct clr *clr)
{
    ULONGLONG now = GetTickCount64();
    judge(clr, clr->low_memory == 0 || now - clr->last_low >= LOW_INTERVAL_MS, RULE(16),
          "Low again after %llu ms, with no end between", now - clr->last_low);
    bool due = clr->last_low == 0 || now - clr->last_low >= LOW_INTERVAL_MS;
    InterlockedIncrement(&clr->low_memory);
    clr->last_low = now;
    if (due) {
        SetEvent(clr->finalizer_wake);
    }
}

static HRESULT STDMETHODCALLTYPE
callback_OnMemoryNotification(ICLRMemoryNotificationCallback *iface, EMemoryAvailable available)
{
    struct clr *clr = impl_from_callback(iface);
    struct clr_thread *thread = this_thread();
    judge(clr, thread->inside == 0 && !thread->is_clr, RULE(15),
          "OnMemoryNotification out of a method, on a thread of the CLR");
    if (thread->inside > 0) {
        return S_OK;
    }
    InterlockedIncrement(&clr->notifying);
    if (clr->started) {
        /* A chunk of the stress log: the callback comes back to the host. Whoever holds a lock now
         * waits for himself. */
        void *chunk = ee_alloc(clr, 16 * KIB, MAY_FAIL);
        void *page = ee_virtual_alloc(clr, NULL, PAGE, MEM_RESERVE, PAGE_NOACCESS, MAY_FAIL);
        if (chunk != NULL) {
            ee_free(clr, chunk, RULE(7));
        }
        if (page != NULL) {
            ee_virtual_free(clr, page, 0, MEM_RELEASE, RULE(9));
        }
        if (available == eMemoryAvailableLow) {
            low(clr);
            InterlockedIncrement(&clr->lows);
        } else {
            InterlockedExchange(&clr->low_memory, 0);
            InterlockedIncrement(&clr->ends);
        }
    } /* else: before Start is over it is lost, and the host must say it again */
    InterlockedDecrement(&clr->notifying);
    return S_OK;
}

static const ICLRMemoryNotificationCallbackVtbl callback_vtbl = {
    .QueryInterface = callback_QueryInterface,
    .AddRef = callback_AddRef,
    .Release = callback_Release,
    .OnMemoryNotification = callback_OnMemoryNotification,
};

void clr_init_notification(struct clr *clr)
{
    clr->callback.lpVtbl = &callback_vtbl;
}

/* ---- the finalizer thread ---- */

/* Hosted, it sleeps until it is woken; unhosted it would look at Windows' low memory signal itself,
 * every two seconds (2.13). */
static DWORD WINAPI finalize(void *argument)
{
    struct clr *clr = argument;
    LONG last = 0;
    clr_set_up_thread(clr);
    while (WaitForSingleObject(clr->finalizer_wake, INFINITE) == WAIT_OBJECT_0 && !clr->quit) {
        LONG now = clr->low_memory;
        if (now != last) {
            last = now;
            if (now != 0) {
                EnterCriticalSection(&clr->gc_lock); /* a collection of generation 0 */
                ee_get_memory_load(clr);
                LeaveCriticalSection(&clr->gc_lock);
                InterlockedIncrement(&clr->collections);
            }
        }
        /* What ended threads left behind: freed here and not in DLL_THREAD_DETACH (2.9). */
        void *block = InterlockedExchangePointer(&clr->slots[0], NULL);
        if (block != NULL) {
            ee_free(clr, block, RULE(7));
        }
    }
    return 0;
}

void clr_start_finalizer(struct clr *clr)
{
    clr->finalizer_wake = CreateEventW(NULL, FALSE, FALSE, NULL);
    clr->finalizer = CreateThread(NULL, 0, finalize, clr, 0, NULL);
}
