/* SPDX-License-Identifier: MIT
 *
 * The flat functions of the public header: argument checks, then the constructors.
 */
#include "com/com_private.h"

HRESULT __cdecl HostMemCreateManager(const HOSTMEM_OPTIONS *options, IHostMemoryManager **manager)
{
    if (manager == NULL) {
        return E_POINTER;
    }
    *manager = NULL;
    HOSTMEM_OPTIONS known = {.Size = sizeof(known)};
    if (options != NULL && !versioned_read(&known, sizeof(known), options)) {
        return E_INVALIDARG;
    }
    if (known.Reserved != 0 || known.AddressSpaceCushion > MOST_BYTES) {
        return E_INVALIDARG;
    }
    return host_memory_manager_create(os_system(), &known, manager);
}
