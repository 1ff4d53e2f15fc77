/* SPDX-License-Identifier: MIT */
#include "runtime_start.h"

#include <corerror.h>
#include <stdatomic.h>
#include <stdbool.h>

typedef HRESULT STDAPICALLTYPE get_runtime_host(REFIID riid, IUnknown **host);

static const IID iid_runtime_host = {
    0x90f1a06c, 0x7712, 0x4762, {0x86, 0xb5, 0x7a, 0x5e, 0xba, 0x6b, 0xdb, 0x02}};

static _Atomic(ICLRRuntimeHost *) probe; /* of the bound runtime, for ever; NULL: there is none */
static HMODULE late;                     /* the runtime, if its probe is still to be made */
static IHostRuntimeLifetime *listener;   /* the binding's reference */
static void(CALLBACK *on_start)(void *context);
static void *start_context;
static atomic_bool started;

/* What every runtime exports for debuggers, to tell where in its start it is: the event is
 * INVALID_HANDLE_VALUE until start-up begins, then a handle for a moment, then NULL. */
struct engine_metrics {
    DWORD size; /* sizeof(struct engine_metrics), or more */
    DWORD version;
    HANDLE *continue_startup_event;
};

BOOL runtime_start_has_begun(HMODULE runtime)
{
    const struct engine_metrics *metrics =
        (const void *)(UINT_PTR)GetProcAddress(runtime, "g_CLREngineMetrics");
    return metrics && metrics->size >= sizeof(*metrics) &&
           *metrics->continue_startup_event != INVALID_HANDLE_VALUE;
}

static BOOL says_started(ICLRRuntimeHost *host)
{
    DWORD domain;
    return ICLRRuntimeHost_GetCurrentAppDomainId(host, &domain) != HOST_E_CLRNOTAVAILABLE;
}

static void make_probe(HMODULE runtime)
{
    get_runtime_host *get_host =
        (get_runtime_host *)(void (*)(void))GetProcAddress(runtime, "GetCLRRuntimeHost");
    IUnknown *host = NULL;
    if (get_host && SUCCEEDED(get_host(&iid_runtime_host, &host))) {
        atomic_store(&probe, (ICLRRuntimeHost *)host);
    }
}

void runtime_start_watch(HMODULE runtime, BOOL initialized, IHostRuntimeLifetime *lifetime,
                         const HOSTMEM_BIND_OPTIONS *options)
{
    listener = lifetime;
    on_start = options->OnStart;
    start_context = options->Context;
    if (initialized) {
        make_probe(runtime);
    } else {
        late = runtime;
    }
}

void runtime_start_forget(void)
{
    ICLRRuntimeHost *host = atomic_exchange(&probe, NULL);
    if (host) {
        ICLRRuntimeHost_Release(host);
    }
    late = NULL;
    listener = NULL;
    on_start = NULL;
}

/* Relaxed: the flag guards nothing, and a thread that reads it late only asks once more. */
static void start_is_over(void)
{
    if (atomic_exchange_explicit(&started, true, memory_order_relaxed)) {
        return;
    }
    if (listener) {
        IHostRuntimeLifetime_RuntimeStarted(listener);
    }
    if (on_start) {
        on_start(start_context);
    }
}

BOOL runtime_start_is_over(void)
{
    if (atomic_load_explicit(&started, memory_order_relaxed)) {
        return TRUE;
    }
    ICLRRuntimeHost *host = atomic_load(&probe);
    if (!host || !says_started(host)) {
        return FALSE;
    }
    start_is_over();
    return TRUE;
}

void runtime_start_reached_finalizer(void)
{
    if (late) { /* the finalizer thread is one, and holds no lock of the runtime here */
        make_probe(late);
        late = NULL;
    }
    if (!atomic_load(&probe)) {
        start_is_over();
    }
}
