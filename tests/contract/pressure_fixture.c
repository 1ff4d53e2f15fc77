/* SPDX-License-Identifier: MIT
 *
 * See pressure_fixture.h.
 */
#include "contract/pressure_fixture.h"

/* ---- the callback ---- */

static struct recorder *impl_from_recorder(ICLRMemoryNotificationCallback *iface)
{
    return CONTAINING_RECORD(iface, struct recorder, ICLRMemoryNotificationCallback_iface);
}

static HRESULT STDMETHODCALLTYPE recorder_QueryInterface(ICLRMemoryNotificationCallback *iface,
                                                         REFIID iid, void **object)
{
    (void)iface;
    (void)iid;
    *object = NULL;
    return E_NOINTERFACE; /* nobody needs to ask */
}

static ULONG STDMETHODCALLTYPE recorder_AddRef(ICLRMemoryNotificationCallback *iface)
{
    return (ULONG)InterlockedIncrement(&impl_from_recorder(iface)->refs);
}

static ULONG STDMETHODCALLTYPE recorder_Release(ICLRMemoryNotificationCallback *iface)
{
    return (ULONG)InterlockedDecrement(&impl_from_recorder(iface)->refs);
}

static HRESULT STDMETHODCALLTYPE
recorder_OnMemoryNotification(ICLRMemoryNotificationCallback *iface, EMemoryAvailable available)
{
    struct recorder *recorder = impl_from_recorder(iface);
    LONG at = recorder->count;
    if (at < (LONG)ARRAYSIZE(recorder->notes)) {
        recorder->notes[at] = (struct note){available, GetTickCount64(), GetCurrentThreadId()};
        InterlockedIncrement(&recorder->count);
    }
    ReleaseSemaphore(recorder->written, 1, NULL);
    if (recorder->inside != NULL) {
        recorder->inside(recorder);
    }
    InterlockedIncrement(&recorder->done);
    return S_OK;
}

static const ICLRMemoryNotificationCallbackVtbl recorder_vtbl = {
    .QueryInterface = recorder_QueryInterface,
    .AddRef = recorder_AddRef,
    .Release = recorder_Release,
    .OnMemoryNotification = recorder_OnMemoryNotification,
};

struct recorder new_recorder(void)
{
    return (struct recorder){
        .ICLRMemoryNotificationCallback_iface.lpVtbl = &recorder_vtbl,
        .refs = 1,
        .written = CreateSemaphoreW(NULL, 0, 1000, NULL),
    };
}

void expect_note(struct recorder *recorder, EMemoryAvailable available, DWORD milliseconds,
                 const char *file, int line)
{
    if (WaitForSingleObject(recorder->written, milliseconds) != WAIT_OBJECT_0) {
        fail_at(file, line, "nothing came after note %ld", recorder->count);
    }
    LONG at = recorder->expected++;
    if (recorder->notes[at].available != available) {
        fail_at(file, line, "note %ld is %d, not %d", at, recorder->notes[at].available, available);
    }
}

void expect_silence(struct recorder *recorder, DWORD milliseconds, const char *file, int line)
{
    if (WaitForSingleObject(recorder->written, milliseconds) != WAIT_TIMEOUT) {
        fail_at(file, line, "%d came", recorder->notes[recorder->expected].available);
    }
}

/* ---- the manager ---- */

struct pressure_fixture fixture;

HRESULT put(struct recorder *recorder)
{
    return IHostMemoryManager_RegisterMemoryNotificationCallback(
        fixture.manager, recorder == NULL ? NULL : &recorder->ICLRMemoryNotificationCallback_iface);
}

void limit(SIZE_T commit, SIZE_T emergency)
{
    HOSTMEM_LIMITS limits = {
        .Size = sizeof(limits), .CommitLimit = commit, .EmergencyCommit = emergency};
    EXPECT_OK(IHostMemoryLimits_SetLimits(fixture.limits, &limits));
}

void use(SIZE_T bytes)
{
    void *result = POISON_POINTER;
    if (bytes > fixture.used) {
        EXPECT_OK(IHostMemoryManager_VirtualAlloc(fixture.manager, fixture.memory + fixture.used,
                                                  bytes - fixture.used, MEM_COMMIT, PAGE_READWRITE,
                                                  eTaskCritical, &result));
    } else if (bytes < fixture.used) {
        EXPECT_OK(IHostMemoryManager_VirtualFree(fixture.manager, fixture.memory + bytes,
                                                 fixture.used - bytes, MEM_DECOMMIT));
    }
    fixture.used = bytes;
}

void be_refused(void)
{
    void *result = POISON_POINTER;
    EXPECT_HR(IHostMemoryManager_VirtualAlloc(fixture.manager, NULL, 2 * LIMIT,
                                              MEM_RESERVE | MEM_COMMIT, PAGE_READWRITE,
                                              eTaskCritical, &result),
              E_OUTOFMEMORY);
}

void release_interfaces(void)
{
    IHostMemoryLimits_Release(fixture.limits);
    IHostMemoryPressure_Release(fixture.pressure);
    IHostRuntimeLifetime_Release(fixture.lifetime);
    if (fixture.events != NULL) {
        IHostMemoryEvents_Release(fixture.events);
    }
}

int set_up_pressure(void **state)
{
    (void)state;
    fixture = (struct pressure_fixture){.manager = create_manager(), .recorder = new_recorder()};
    fixture.limits = INTERFACE_OF(fixture.manager, IHostMemoryLimits);
    fixture.pressure = INTERFACE_OF(fixture.manager, IHostMemoryPressure);
    fixture.lifetime = INTERFACE_OF(fixture.manager, IHostRuntimeLifetime);
    fixture.memory = reserve(fixture.manager, 2 * LIMIT);
    limit(LIMIT, 0);
    EXPECT_OK(put(&fixture.recorder));
    return 0;
}

int tear_down_pressure(void **state)
{
    (void)state;
    if (fixture.manager != NULL) {
        EXPECT_OK(put(NULL));
        EXPECT_OK(IHostMemoryManager_VirtualFree(fixture.manager, fixture.memory, 0, MEM_RELEASE));
        release_interfaces();
        assert_int_equal(IHostMemoryManager_Release(fixture.manager), 0);
    }
    assert_int_equal(fixture.recorder.refs, 1);
    CloseHandle(fixture.recorder.written);
    return 0;
}
