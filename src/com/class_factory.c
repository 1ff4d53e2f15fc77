/* SPDX-License-Identifier: MIT
 *
 * The class factory behind CoCreateInstance(CLSID_HostMemoryManager). One static object: its
 * references are not counted one by one, they and the locks keep the module.
 */
#include "com/com_private.h"

static HRESULT STDMETHODCALLTYPE class_factory_QueryInterface(IClassFactory *iface, REFIID iid,
                                                              void **object)
{
    if (object == NULL) {
        return E_POINTER;
    }
    if (!IsEqualIID(iid, &IID_IUnknown) && !IsEqualIID(iid, &IID_IClassFactory)) {
        *object = NULL;
        return E_NOINTERFACE;
    }
    *object = iface;
    IClassFactory_AddRef(iface);
    return S_OK;
}

static ULONG STDMETHODCALLTYPE class_factory_AddRef(IClassFactory *iface)
{
    (void)iface;
    module_add_ref();
    return 2;
}

static ULONG STDMETHODCALLTYPE class_factory_Release(IClassFactory *iface)
{
    (void)iface;
    module_release();
    return 1;
}

static HRESULT STDMETHODCALLTYPE class_factory_CreateInstance(IClassFactory *iface, IUnknown *outer,
                                                              REFIID iid, void **object)
{
    IHostMemoryManager *manager;
    (void)iface;
    if (object == NULL) {
        return E_POINTER;
    }
    *object = NULL;
    if (outer != NULL) {
        return CLASS_E_NOAGGREGATION;
    }
    HRESULT hr = HostMemCreateManager(NULL, &manager);
    if (hr == S_OK) {
        hr = IHostMemoryManager_QueryInterface(manager, iid, object);
        IHostMemoryManager_Release(manager);
    }
    return hr;
}

static HRESULT STDMETHODCALLTYPE class_factory_LockServer(IClassFactory *iface, BOOL lock)
{
    (void)iface;
    if (lock) {
        module_add_ref();
    } else {
        module_release();
    }
    return S_OK;
}

static const IClassFactoryVtbl class_factory_vtbl = {
    /* IUnknown */
    .QueryInterface = class_factory_QueryInterface,
    .AddRef = class_factory_AddRef,
    .Release = class_factory_Release,
    /* IClassFactory */
    .CreateInstance = class_factory_CreateInstance,
    .LockServer = class_factory_LockServer,
};

HRESULT class_factory_get(REFIID iid, void **object)
{
    static IClassFactory factory = {.lpVtbl = &class_factory_vtbl};
    return IClassFactory_QueryInterface(&factory, iid, object);
}
