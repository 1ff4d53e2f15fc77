/* SPDX-License-Identifier: MIT
 *
 * IHostControl: how the .NET Framework's CLR gets the manager. It asks for up to nine managers; this
 * one answers for memory and leaves the rest to the host's own control, if there is one. The CLR
 * keeps the manager it was given for ever and never releases it, so every answer carries a
 * reference.
 */
#include "com/com_private.h"

#include <stdlib.h>

struct host_control {
    IHostControl IHostControl_iface;
    struct agile agile;
    LONG refs;                   /* Interlocked only */
    IHostMemoryManager *manager; /* owned */
    IHostControl *next;          /* owned, or NULL */
};

static const IHostControlVtbl host_control_vtbl;

static inline struct host_control *impl_from_IHostControl(IHostControl *iface)
{
    assert(iface->lpVtbl == &host_control_vtbl);
    return CONTAINING_RECORD(iface, struct host_control, IHostControl_iface);
}

/* ---- IUnknown ---- */

static HRESULT STDMETHODCALLTYPE host_control_QueryInterface(IHostControl *iface, REFIID iid,
                                                             void **object)
{
    if (object == NULL) {
        return E_POINTER;
    }
    if (!IsEqualIID(iid, &IID_IUnknown) && !IsEqualIID(iid, &IID_IHostControl)) {
        struct host_control *control = impl_from_IHostControl(iface);
        return agile_query_interface(&control->agile, (IUnknown *)iface, iid, object);
    }
    *object = iface;
    IHostControl_AddRef(iface);
    return S_OK;
}

static ULONG STDMETHODCALLTYPE host_control_AddRef(IHostControl *iface)
{
    return (ULONG)InterlockedIncrement(&impl_from_IHostControl(iface)->refs);
}

static ULONG STDMETHODCALLTYPE host_control_Release(IHostControl *iface)
{
    struct host_control *control = impl_from_IHostControl(iface);
    LONG refs = InterlockedDecrement(&control->refs);
    if (refs == 0) {
        agile_destroy(&control->agile);
        IHostMemoryManager_Release(control->manager);
        if (control->next != NULL) {
            IHostControl_Release(control->next);
        }
        free(control);
        module_release();
    }
    return (ULONG)refs;
}

/* ---- IHostControl ---- */

static HRESULT STDMETHODCALLTYPE host_control_GetHostManager(IHostControl *iface, REFIID iid,
                                                             void **object)
{
    struct host_control *control = impl_from_IHostControl(iface);
    if (object == NULL) {
        return E_POINTER;
    }
    *object = NULL;
    if (IsEqualIID(iid, &IID_IHostMemoryManager)) {
        IHostMemoryManager_AddRef(control->manager);
        *object = control->manager;
        return S_OK;
    }
    return control->next != NULL ? IHostControl_GetHostManager(control->next, iid, object)
                                 : E_NOINTERFACE;
}

/* A failure here would fail the creation of the AppDomain, so having nobody to tell is a success. */
static HRESULT STDMETHODCALLTYPE host_control_SetAppDomainManager(IHostControl *iface, DWORD id,
                                                                  IUnknown *domain_manager)
{
    struct host_control *control = impl_from_IHostControl(iface);
    return control->next != NULL
               ? IHostControl_SetAppDomainManager(control->next, id, domain_manager)
               : S_OK;
}

static const IHostControlVtbl host_control_vtbl = {
    /* IUnknown */
    .QueryInterface = host_control_QueryInterface,
    .AddRef = host_control_AddRef,
    .Release = host_control_Release,
    /* IHostControl */
    .GetHostManager = host_control_GetHostManager,
    .SetAppDomainManager = host_control_SetAppDomainManager,
};

_Static_assert(sizeof(IHostControlVtbl) == 5 * sizeof(void *), "a slot is missing");

/* ---- create ---- */

HRESULT __cdecl HostMemCreateHostControl(IHostMemoryManager *manager, IHostControl *next,
                                         IHostControl **result)
{
    if (result == NULL) {
        return E_POINTER;
    }
    *result = NULL;
    if (manager == NULL) {
        return E_POINTER;
    }
    struct host_control *control = malloc(sizeof(*control));
    if (control == NULL) {
        return hresult_from_error(OS_NOT_ENOUGH_MEMORY);
    }
    *control = (struct host_control){
        .IHostControl_iface.lpVtbl = &host_control_vtbl,
        .refs = 1,
        .manager = manager,
        .next = next,
    };
    IHostMemoryManager_AddRef(manager);
    if (next != NULL) {
        IHostControl_AddRef(next);
    }
    module_add_ref();
    *result = &control->IHostControl_iface;
    return S_OK;
}
