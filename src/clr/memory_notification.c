/* SPDX-License-Identifier: MIT
 *
 * Every handle given out is a duplicate: the runtime may close its own, and the manager's next call
 * still finds the events. A given handle is remembered by its value until it is closed, to answer
 * QueryMemoryResourceNotification. A runtime makes one; a program can make more.
 */
#include "memory_notification.h"
#include "os/last_error.h"
#include "os/os_lock.h"

#include <stdatomic.h>

enum { EVENT_LOW, EVENT_HIGH, EVENT_COUNT };

static HANDLE events[EVENT_COUNT]; /* manual reset */

#define GIVEN_CAPACITY 16
static struct {
    _Atomic(HANDLE) handle; /* NULL: free */
    int event;              /* written before `handle` */
} given[GIVEN_CAPACITY];
static struct os_lock given_lock; /* for adding; readers take no lock */

/* ICLRMemoryNotificationCallback */

static HRESULT STDMETHODCALLTYPE callback_QueryInterface(ICLRMemoryNotificationCallback *iface,
                                                         REFIID riid, void **object)
{
    if (!object) {
        return E_POINTER;
    }
    if (!IsEqualIID(riid, &IID_IUnknown) &&
        !IsEqualIID(riid, &IID_ICLRMemoryNotificationCallback)) {
        *object = NULL;
        return E_NOINTERFACE;
    }
    *object = iface;
    return S_OK;
}

static ULONG STDMETHODCALLTYPE callback_AddRef(ICLRMemoryNotificationCallback *iface)
{
    (void)iface;
    return 1; /* as the CLR's own callback does */
}

static ULONG STDMETHODCALLTYPE callback_Release(ICLRMemoryNotificationCallback *iface)
{
    (void)iface;
    return 1;
}

/* Setting an event never blocks, which is what the contract asks of this method. */
static HRESULT STDMETHODCALLTYPE
callback_OnMemoryNotification(ICLRMemoryNotificationCallback *iface, EMemoryAvailable available)
{
    (void)iface;
    BOOL low = available == eMemoryAvailableLow; /* to the CLR Neutral and High are one thing */
    ResetEvent(events[low ? EVENT_HIGH : EVENT_LOW]);
    SetEvent(events[low ? EVENT_LOW : EVENT_HIGH]);
    return S_OK;
}

static const ICLRMemoryNotificationCallbackVtbl callback_vtbl = {
    .QueryInterface = callback_QueryInterface,
    .AddRef = callback_AddRef,
    .Release = callback_Release,
    .OnMemoryNotification = callback_OnMemoryNotification,
};

static ICLRMemoryNotificationCallback callback = {.lpVtbl = &callback_vtbl};

ICLRMemoryNotificationCallback *memory_notification_callback(void)
{
    return &callback;
}

/* The events */

HRESULT memory_notification_prepare(void)
{
    for (int i = 0; i < EVENT_COUNT; i++) {
        if (!events[i]) {
            events[i] = CreateEventW(NULL, TRUE, i == EVENT_HIGH, NULL);
        }
        if (!events[i]) {
            return HRESULT_FROM_WIN32(last_error_of_failure());
        }
    }
    callback_OnMemoryNotification(&callback, eMemoryAvailableNeutral);
    return S_OK;
}

/* The place of `handle`, or of the first free entry for NULL; -1 if there is none. */
static int find_given(HANDLE handle)
{
    for (int i = 0; i < GIVEN_CAPACITY; i++) {
        /* Acquire pairs with the release in remember(): `event` belongs to the handle. */
        if (atomic_load_explicit(&given[i].handle, memory_order_acquire) == handle) {
            return i;
        }
    }
    return -1;
}

static BOOL remember(HANDLE handle, int event)
{
    os_lock_acquire(&given_lock);
    int place = find_given(handle); /* somebody else has closed one of that value */
    if (place < 0) {
        place = find_given(NULL);
    }
    if (place >= 0) {
        given[place].event = event;
        atomic_store_explicit(&given[place].handle, handle, memory_order_release);
    }
    os_lock_release(&given_lock);
    return place >= 0;
}

HANDLE memory_notification_create(MEMORY_RESOURCE_NOTIFICATION_TYPE type)
{
    if (type != LowMemoryResourceNotification && type != HighMemoryResourceNotification) {
        SetLastError(ERROR_INVALID_PARAMETER);
        return NULL;
    }
    int event = type == LowMemoryResourceNotification ? EVENT_LOW : EVENT_HIGH;
    HANDLE handle = NULL;
    if (!DuplicateHandle(GetCurrentProcess(), events[event], GetCurrentProcess(), &handle,
                         SYNCHRONIZE, FALSE, 0)) {
        return NULL;
    }
    if (!remember(handle, event)) {
        CloseHandle(handle);
        SetLastError(ERROR_NOT_ENOUGH_MEMORY);
        return NULL;
    }
    return handle;
}

void memory_notification_forget(HANDLE handle)
{
    int place = handle ? find_given(handle) : -1;
    if (place >= 0) {
        atomic_store_explicit(&given[place].handle, NULL, memory_order_relaxed);
    }
}

BOOL memory_notification_query(HANDLE notification, BOOL *signalled)
{
    int place = notification ? find_given(notification) : -1;
    if (place < 0) {
        return FALSE;
    }
    *signalled = WaitForSingleObject(events[given[place].event], 0) == WAIT_OBJECT_0;
    return TRUE;
}
