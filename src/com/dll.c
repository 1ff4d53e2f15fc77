/* SPDX-License-Identifier: MIT
 *
 * The DLL's way in for COM. DllMain does nothing at all: nothing is set up before the first call, and
 * at process exit the CLR goes on calling after our DLL has been told to detach, so nothing may be
 * torn down either (contract 2.12).
 */
#include "com/com_private.h"

BOOL WINAPI DllMain(HINSTANCE instance, DWORD reason, LPVOID reserved);

BOOL WINAPI DllMain(HINSTANCE instance, DWORD reason, LPVOID reserved)
{
    (void)reserved;
    if (reason == DLL_PROCESS_ATTACH) {
        DisableThreadLibraryCalls(instance);
    }
    return TRUE;
}

STDAPI DllGetClassObject(REFCLSID clsid, REFIID iid, void **object)
{
    if (object == NULL) {
        return E_POINTER;
    }
    *object = NULL;
    if (!IsEqualCLSID(clsid, &CLSID_HostMemoryManager)) {
        return CLASS_E_CLASSNOTAVAILABLE;
    }
    return class_factory_get(iid, object);
}

STDAPI DllCanUnloadNow(void)
{
    return module_in_use() ? S_FALSE : S_OK;
}
