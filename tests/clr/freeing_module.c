/* SPDX-License-Identifier: MIT
 *
 * freeing_module.dll: other code in a runtime's process, as a plug-in or a security product is. It has
 * 1,000 regions of 64 KiB reserved through the runtime's own imports, which lead to hostmem, and
 * releases them with its own import, which leads to Windows. Then the runtime meets what was freed,
 * in every fifth of the regions otherwise: it releases, commits, decommits, reserves the same
 * addresses again, or never touches them. It must hear what Windows says.
 *
 * A program calls free_behind by its name. A runtime whose program cannot be changed takes the module
 * for a profiler when CORECLR_PROFILER_PATH says so, and asks it for its class object, which there
 * is none of: it goes on without.
 */
#include "clr/imports.h"

#include <stdlib.h>

#define REGIONS 1000
#define SLOT 0x10000
#define PAGE 4096

typedef LPVOID WINAPI virtual_alloc(LPVOID address, SIZE_T size, DWORD type, DWORD protect);
typedef BOOL WINAPI virtual_free(LPVOID address, SIZE_T size, DWORD type);

/* The functions that the runtime's imports lead to. */
struct runtime {
    virtual_alloc *alloc;
    virtual_free *free;
};

__declspec(dllexport) int free_behind(BOOL touch_all);
__declspec(dllexport) HRESULT WINAPI DllGetClassObject(REFCLSID class, REFIID iid, void **object);

static BOOL find_runtime(struct runtime *runtime)
{
    struct imports *imports = malloc(sizeof(*imports));
    HMODULE module = GetModuleHandleW(L"coreclr.dll"); /* or in the program itself */
    if (imports == NULL) {
        return FALSE;
    }
    imports_read(module ? module : GetModuleHandleW(NULL), imports);
    runtime->alloc = (virtual_alloc *)(UINT_PTR)imports_find(imports, "VirtualAlloc");
    runtime->free = (virtual_free *)(UINT_PTR)imports_find(imports, "VirtualFree");
    free(imports);
    return runtime->alloc != NULL && runtime->free != NULL;
}

/* Far from where the system puts what it may put anywhere, for nobody else is to get an address that
 * the runtime thinks is its own. */
static BYTE *free_area(void)
{
    BYTE *area =
        VirtualAlloc(NULL, (SIZE_T)REGIONS * SLOT, MEM_RESERVE | MEM_TOP_DOWN, PAGE_NOACCESS);
    return area && VirtualFree(area, 0, MEM_RELEASE) ? area : NULL;
}

/* Whether the runtime hears what Windows says of a region that is not there. */
static BOOL meet(const struct runtime *runtime, BYTE *region, int how)
{
    switch (how) {
    case 0:
        return !runtime->free(region, 0, MEM_RELEASE);
    case 1:
        return !runtime->alloc(region + PAGE, PAGE, MEM_COMMIT, PAGE_READWRITE);
    case 2:
        return !runtime->free(region + PAGE, PAGE, MEM_DECOMMIT);
    case 3:
        return runtime->alloc(region, SLOT, MEM_RESERVE | MEM_COMMIT, PAGE_READWRITE) == region &&
               runtime->free(region, 0, MEM_RELEASE);
    default:
        return TRUE;
    }
}

/* Returns how many answers were wrong. touch_all: the runtime meets every region again. */
int free_behind(BOOL touch_all)
{
    struct runtime runtime;
    BYTE *area = free_area();
    int wrong = 0;
    if (!area || !find_runtime(&runtime) || runtime.free == VirtualFree) {
        return -1;
    }
    for (int i = 0; i < REGIONS; i++) {
        BYTE *region = area + (SIZE_T)i * SLOT;
        wrong += runtime.alloc(region, SLOT, MEM_RESERVE, PAGE_READWRITE) != region ||
                 !runtime.alloc(region, 3 * PAGE, MEM_COMMIT, PAGE_READWRITE);
    }
    for (int i = 0; i < REGIONS; i++) {
        wrong += !VirtualFree(area + (SIZE_T)i * SLOT, 0, MEM_RELEASE);
    }
    for (int i = 0; i < REGIONS; i++) {
        wrong += !meet(&runtime, area + (SIZE_T)i * SLOT, touch_all ? i % 4 : i % 5);
    }
    return wrong;
}

HRESULT WINAPI DllGetClassObject(REFCLSID class, REFIID iid, void **object)
{
    (void)class;
    (void)iid;
    *object = NULL;
    int wrong = free_behind(FALSE);
    if (wrong != 0) {
        ExitProcess(99);
    }
    return CLASS_E_CLASSNOTAVAILABLE;
}
