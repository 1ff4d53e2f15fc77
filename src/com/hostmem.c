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
    const HOSTMEM_OPTIONS defaults = {.Size = sizeof(defaults)};
    options = options != NULL ? options : &defaults;
    if (options->Size != sizeof(*options) || options->Reserved != 0) {
        return E_INVALIDARG;
    }
    return host_memory_manager_create(os_system(), options, manager);
}
