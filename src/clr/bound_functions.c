/* SPDX-License-Identifier: MIT
 *
 * The table of the bound functions, and the way to them: an import, or a runtime that asks
 * GetProcAddress.
 *
 * LastError: the manager's methods set it when they fail and leave it alone when they succeed, so
 * there is nothing to do for it but where a call of the system comes in between.
 *
 * "Foreign" is memory that the manager did not hand out: allocated before the binding, or by
 * another module. Freeing it is refused with HOST_E_INVALIDOPERATION, and the call goes where it
 * would have gone without a binding.
 */
#include "bound_private.h"
#include "memory_functions.h"

#include <string.h>

struct bound_targets targets;
struct original_functions original;

/* Where functions for memory come from; those we have a function for are in the first two. */
static const WCHAR *const system_dll_names[] = {L"kernel32.dll", L"kernelbase.dll", L"ntdll.dll",
                                                L"ucrtbase.dll", L"msvcrt.dll"};
#define SYSTEM_DLLS (sizeof(system_dll_names) / sizeof(system_dll_names[0]))
#define WIN32_DLLS 2
static HMODULE system_dlls[SYSTEM_DLLS];

enum group { PAGES, HEAP, CRT, NOTIFICATIONS, LATER };

static FARPROC WINAPI bound_GetProcAddress(HMODULE module, const char *name);

static const struct bound_function {
    const char *name;
    import_function replacement;
    void *original; /* where in `original` */
    enum group group;
} functions[] = {
#define BOUND(name, type, group) {#name, (import_function)bound_##name, &original.name, group},
    BOUND_FUNCTIONS(BOUND)
#undef BOUND
};

#define FUNCTION_COUNT (sizeof(functions) / sizeof(functions[0]))

HRESULT bound_functions_set_targets(const struct bound_targets *new_targets)
{
    for (size_t i = 0; i < SYSTEM_DLLS; i++) {
        system_dlls[i] = GetModuleHandleW(system_dll_names[i]);
    }
    /* What the module does not import is still called from here, VirtualQuery for instance. */
    for (size_t i = 0; i < FUNCTION_COUNT; i++) {
        import_function function =
            (import_function)GetProcAddress(system_dlls[0], functions[i].name);
        if (!function && functions[i].group != LATER && functions[i].group != CRT) {
            return HRESULT_FROM_WIN32(ERROR_PROC_NOT_FOUND);
        }
        memcpy(functions[i].original, &function, sizeof(function));
    }
    bound_heap_prepare();
    bound_views_prepare();
    targets = *new_targets;
    return S_OK;
}

static const struct bound_function *find(const char *name)
{
    for (size_t i = 0; i < FUNCTION_COUNT; i++) {
        if (strcmp(name, functions[i].name) == 0) {
            return &functions[i];
        }
    }
    return NULL;
}

static BOOL is_bound(const struct bound_function *function)
{
    return function && (function->group != HEAP || targets.heap) &&
           (function->group != CRT || (targets.heap && targets.crt_heap)) &&
           (function->group != NOTIFICATIONS || targets.notifications);
}

/* Whether the C runtime's function is given blocks, none of which can then be the manager's. */
static BOOL takes_crt_block(const char *name)
{
    static const char *const names[] = {
        "_aligned_msize",   "_aligned_offset_realloc", "_aligned_offset_recalloc",
        "_aligned_realloc", "_aligned_recalloc",       "_expand",
        "_msize_base",      "_realloc_base",           "_recalloc",
        "_recalloc_base",
    };
    for (size_t i = 0; targets.crt_heap && i < sizeof(names) / sizeof(names[0]); i++) {
        if (strcmp(name, names[i]) == 0) {
            return TRUE;
        }
    }
    return FALSE;
}

void bound_functions_leave_crt_heap(void)
{
    targets.crt_heap = FALSE;
}

import_function bound_functions_choose(const struct import *import, void *context)
{
    struct bound_choice *choice = context;
    const struct bound_function *function = find(import->name);
    if (!is_bound(function)) {
        memory_functions_note(import->name, import->kind, FALSE);
        choice->crt_incomplete |= takes_crt_block(import->name);
        return NULL;
    }
    memory_functions_note(import->name, import->kind, TRUE);
    if (function->replacement == (import_function)bound_VirtualAlloc) {
        choice->virtual_alloc_found = TRUE;
    }
    /* A delayed import leads into the module, to the code that will load the DLL. */
    if (import->kind == HOSTMEM_FUNCTION_IMPORT) {
        memcpy(function->original, &import->current, sizeof(import->current));
    }
    return function->replacement;
}

/* Functions of the heap are not given out by name: who asks is more often the program than the
 * runtime, and its blocks go to other modules, which free them in the system's heap. */
static FARPROC WINAPI bound_GetProcAddress(HMODULE module, const char *name)
{
    FARPROC found = original.GetProcAddress(module, name);
    size_t dll = 0;
    while (dll < SYSTEM_DLLS && module != system_dlls[dll]) {
        dll++;
    }
    if (!found || (UINT_PTR)name <= MAXWORD || !module || dll == SYSTEM_DLLS) {
        return found;
    }
    const struct bound_function *function = dll < WIN32_DLLS ? find(name) : NULL;
    BOOL leads_here = is_bound(function) && function->group != HEAP;
    memory_functions_note(name, HOSTMEM_FUNCTION_LOOKED_UP, leads_here);
    if (!leads_here) {
        return found;
    }
    if (function->group == LATER) {
        memcpy(function->original, &found, sizeof(found)); /* the same for everyone who asks */
    }
    return (FARPROC)(void (*)(void))function->replacement;
}
