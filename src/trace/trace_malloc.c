/* SPDX-License-Identifier: MIT
 *
 * A heap in front of another one. A block is the inner heap's own, so what the inner heap knows of
 * its blocks (IHostMallocBlocks) holds here too and is asked for there.
 */
#include <assert.h>
#include <stdlib.h>

#include "trace/trace_call.h"

struct trace_malloc {
    IHostMalloc IHostMalloc_iface;
    LONG refs;          /* Interlocked only */
    IHostMalloc *inner; /* owned */
    UINT32 number;
};

static const IHostMallocVtbl trace_malloc_vtbl;

static inline struct trace_malloc *impl_from_IHostMalloc(IHostMalloc *iface)
{
    assert(iface->lpVtbl == &trace_malloc_vtbl);
    return CONTAINING_RECORD(iface, struct trace_malloc, IHostMalloc_iface);
}

/* ---- IUnknown ---- */

static HRESULT STDMETHODCALLTYPE trace_malloc_QueryInterface(IHostMalloc *iface, REFIID iid,
                                                             void **object)
{
    if (object != NULL && (IsEqualIID(iid, &IID_IUnknown) || IsEqualIID(iid, &IID_IHostMalloc))) {
        *object = iface;
        IHostMalloc_AddRef(iface);
        return S_OK;
    }
    return IHostMalloc_QueryInterface(impl_from_IHostMalloc(iface)->inner, iid, object);
}

static ULONG STDMETHODCALLTYPE trace_malloc_AddRef(IHostMalloc *iface)
{
    return (ULONG)InterlockedIncrement(&impl_from_IHostMalloc(iface)->refs);
}

static ULONG STDMETHODCALLTYPE trace_malloc_Release(IHostMalloc *iface)
{
    struct trace_malloc *malloc = impl_from_IHostMalloc(iface);
    LONG refs = InterlockedDecrement(&malloc->refs);
    if (refs == 0) {
        struct trace_record call = trace_call_begin(TRACE_RELEASE_MALLOC);
        call.type = malloc->number;
        IHostMalloc_Release(malloc->inner);
        trace_call_end(&call, S_OK);
        free(malloc);
    }
    return (ULONG)refs;
}

/* ---- IHostMalloc ---- */

static HRESULT STDMETHODCALLTYPE trace_malloc_Alloc(IHostMalloc *iface, SIZE_T size,
                                                    EMemoryCriticalLevel level, void **memory)
{
    struct trace_malloc *malloc = impl_from_IHostMalloc(iface);
    struct trace_record call = trace_call_begin(TRACE_ALLOC);
    call.type = malloc->number;
    call.size = size;
    call.level = (uint8_t)level;
    HRESULT hr = IHostMalloc_Alloc(malloc->inner, size, level, memory);
    call.result = hr == S_OK ? (UINT_PTR)*memory : 0;
    trace_call_end(&call, hr);
    return hr;
}

static HRESULT STDMETHODCALLTYPE trace_malloc_DebugAlloc(IHostMalloc *iface, SIZE_T size,
                                                         EMemoryCriticalLevel level, char *file,
                                                         int line, void **memory)
{
    struct trace_malloc *malloc = impl_from_IHostMalloc(iface);
    struct trace_record call = trace_call_begin(TRACE_DEBUG_ALLOC);
    call.type = malloc->number;
    call.size = size;
    call.level = (uint8_t)level;
    call.protect = (UINT32)line;
    HRESULT hr = IHostMalloc_DebugAlloc(malloc->inner, size, level, file, line, memory);
    call.result = hr == S_OK ? (UINT_PTR)*memory : 0;
    trace_call_end(&call, hr);
    return hr;
}

static HRESULT STDMETHODCALLTYPE trace_malloc_Free(IHostMalloc *iface, void *memory)
{
    struct trace_malloc *malloc = impl_from_IHostMalloc(iface);
    struct trace_record call = trace_call_begin(TRACE_FREE);
    call.type = malloc->number;
    call.address = (UINT_PTR)memory;
    HRESULT hr = IHostMalloc_Free(malloc->inner, memory);
    trace_call_end(&call, hr);
    return hr;
}

static const IHostMallocVtbl trace_malloc_vtbl = {
    /* IUnknown */
    .QueryInterface = trace_malloc_QueryInterface,
    .AddRef = trace_malloc_AddRef,
    .Release = trace_malloc_Release,
    /* IHostMalloc */
    .Alloc = trace_malloc_Alloc,
    .DebugAlloc = trace_malloc_DebugAlloc,
    .Free = trace_malloc_Free,
};

_Static_assert(sizeof(IHostMallocVtbl) == 6 * sizeof(void *), "a slot is missing");

HRESULT trace_malloc_create(IHostMalloc *inner, UINT32 number, IHostMalloc **result)
{
    struct trace_malloc *malloc = calloc(1, sizeof(*malloc));
    if (malloc == NULL) {
        IHostMalloc_Release(inner);
        *result = NULL;
        return E_OUTOFMEMORY;
    }
    malloc->IHostMalloc_iface.lpVtbl = &trace_malloc_vtbl;
    malloc->refs = 1;
    malloc->inner = inner;
    malloc->number = number;
    *result = &malloc->IHostMalloc_iface;
    return S_OK;
}
