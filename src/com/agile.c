/* SPDX-License-Identifier: MIT
 *
 * See agile.h.
 */
#include "com/agile.h"

#include <objbase.h>

static HRESULT get_marshaler(struct agile *agile, IUnknown *outer, IUnknown **result)
{
    *result = atomic_load(&agile->marshaler);
    if (*result != NULL) {
        return S_OK;
    }
    IUnknown *made = NULL;
    HRESULT hr = CoCreateFreeThreadedMarshaler(outer, &made);
    if (hr != S_OK) {
        return hr;
    }
    if (atomic_compare_exchange_strong(&agile->marshaler, result, made)) {
        *result = made;
    } else {
        IUnknown_Release(made); /* another thread was faster, and *result is its */
    }
    return S_OK;
}

HRESULT agile_query_interface(struct agile *agile, IUnknown *outer, REFIID iid, void **object)
{
    IUnknown *marshaler;
    *object = NULL;
    if (IsEqualIID(iid, &IID_IAgileObject)) {
        IUnknown_AddRef(outer);
        *object = outer;
        return S_OK;
    }
    if (!IsEqualIID(iid, &IID_IMarshal)) {
        return E_NOINTERFACE;
    }
    HRESULT hr = get_marshaler(agile, outer, &marshaler);
    return hr == S_OK ? IUnknown_QueryInterface(marshaler, iid, object) : hr;
}

void agile_destroy(struct agile *agile)
{
    IUnknown *marshaler = atomic_load(&agile->marshaler);
    if (marshaler != NULL) {
        IUnknown_Release(marshaler);
    }
}
