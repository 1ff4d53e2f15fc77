/* SPDX-License-Identifier: MIT
 *
 * The flat functions of the public header: argument checks, then the constructors.
 */
#include "com/com_private.h"

/* Every size the structure has had. */
static bool known_options(const HOSTMEM_OPTIONS *options)
{
    return options->Size == sizeof(HOSTMEM_OPTIONS) && options->Flags == 0;
}

HRESULT __cdecl HostMemCreateManager(const HOSTMEM_OPTIONS *options, IHostMemoryManager **manager)
{
    if (manager == NULL) {
        return E_POINTER;
    }
    *manager = NULL;
    if (options != NULL && !known_options(options)) {
        return E_INVALIDARG;
    }
    return host_memory_manager_create(os_system(), manager);
}
