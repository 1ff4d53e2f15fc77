/* SPDX-License-Identifier: MIT
 *
 * The functions that take the place of a runtime's imports: each turns a call of the Win32 function
 * of its name into a call of the hosting interfaces, as the hosting layer inside the .NET Framework
 * does, and gives the answer back in Win32's form.
 *
 * Only the bound module calls them. What they call themselves, and what a memory manager calls,
 * leads to the system as before, so nothing here is ever entered twice by one request.
 */
#ifndef CLR_BOUND_FUNCTIONS_H
#define CLR_BOUND_FUNCTIONS_H

#include "import_table.h"

/* Where the functions lead. References are the caller's. */
struct bound_targets {
    IHostMemoryManager *manager;
    IHostMalloc *heap;         /* NULL leaves the heap functions alone */
    IHostMallocBlocks *blocks; /* of `heap` */
    /* Optional: NULL for a manager that has none of it. */
    IHostMemoryLimits *limits;
    IHostMemoryCharge *charge;
    IHostRuntimeLifetime *lifetime;
    BOOL crt_heap;      /* malloc and its kind lead to `heap` as well */
    BOOL notifications; /* FALSE leaves the memory resource notifications alone */
    HOSTMEM_BIND_OPTIONS options;
};

/* Set before the first slot is redirected, never changed afterwards. S_OK ·
 * HRESULT_FROM_WIN32(ERROR_PROC_NOT_FOUND): the system lacks a function, which no Windows does. */
HRESULT bound_functions_set_targets(const struct bound_targets *targets);

/* An import_chooser. Remembers where the import led, which is where calls go on to that concern
 * memory of others. `context` points to a struct bound_choice. */
struct bound_choice {
    BOOL virtual_alloc_found;
    BOOL
        crt_incomplete; /* the module has functions for blocks of malloc that have no counterpart */
};
import_function bound_functions_choose(const struct import *import, void *context);

/* What HostMemGetBinding says of sections and views. */
void bound_views_count(HOSTMEM_BINDING *binding);

/* Choose again without malloc and its kind. */
void bound_functions_leave_crt_heap(void);

#endif
