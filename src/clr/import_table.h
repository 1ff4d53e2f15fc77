/* SPDX-License-Identifier: MIT
 *
 * The import slots of a loaded module: find them by the name of the imported function, and redirect
 * all of them or none.
 *
 * A function is looked for under every DLL the module imports from: the same VirtualAlloc is listed
 * under KERNEL32, KERNELBASE or an api-ms-win-core-* contract, depending on how the module was
 * linked. Delay-loaded imports count too: their slots lead to the code that will load the DLL, once
 * for each slot, and what is in a slot then stays. Imports without a name table and ordinals are
 * passed over.
 */
#ifndef CLR_IMPORT_TABLE_H
#define CLR_IMPORT_TABLE_H

#include <hostmem/hostmem.h>

/* Any function; cast back before it is called. */
typedef void (*import_function)(void);

struct import_slot {
    import_function *address;
    import_function replacement;
    DWORD protection; /* of the page, while the slots are writable */
};

struct import_slots {
    struct import_slot items[128];
    size_t count;
};

struct import {
    const char *name;
    import_function current;    /* where it leads now */
    HOSTMEM_FUNCTION_KIND kind; /* HOSTMEM_FUNCTION_IMPORT or HOSTMEM_FUNCTION_DELAY_LOADED */
};

/* Returns what takes the place of the import, or NULL for an import to leave alone. */
typedef import_function import_chooser(const struct import *import, void *context);

/* Whether `module` is the base of a module in the loader's list; data files are not. */
BOOL import_table_is_module(HMODULE module);

/* Collect the slots that `choose` wants replaced. Changes nothing; `module` must be a module.
 * S_OK · HRESULT_FROM_WIN32(ERROR_BAD_EXE_FORMAT): a table that points outside the image, or more
 * slots than any runtime has · HRESULT_FROM_WIN32(ERROR_NOT_READY): the loader has not filled in the
 * imports yet. */
HRESULT import_table_collect(HMODULE module, import_chooser *choose, void *context,
                             struct import_slots *slots);

/* Redirect all slots, then give their pages the protection back that they had. Other threads may be
 * calling through the slots. On failure nothing has changed: S_OK, or what VirtualProtect returned.
 */
HRESULT import_table_redirect(IHostMemoryManager *manager, struct import_slots *slots);

#endif
