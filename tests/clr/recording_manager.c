/* SPDX-License-Identifier: MIT */
#include "clr/recording_manager.h"

#include <corerror.h>

struct recording recording;

/* ---- A heap that cannot tell the size of a block ---- */

static HRESULT STDMETHODCALLTYPE heap_QueryInterface(IHostMalloc *heap, REFIID iid, void **object)
{
    *object = IsEqualIID(iid, &IID_IUnknown) || IsEqualIID(iid, &IID_IHostMalloc) ? heap : NULL;
    return *object != NULL ? S_OK : E_NOINTERFACE;
}

static ULONG STDMETHODCALLTYPE heap_AddRef(IHostMalloc *heap)
{
    (void)heap;
    return 1;
}

static HRESULT STDMETHODCALLTYPE heap_Alloc(IHostMalloc *heap, SIZE_T size,
                                            EMemoryCriticalLevel level, void **memory)
{
    (void)heap;
    (void)level;
    *memory = HeapAlloc(GetProcessHeap(), 0, size);
    return *memory != NULL ? S_OK : E_OUTOFMEMORY;
}

static HRESULT STDMETHODCALLTYPE heap_DebugAlloc(IHostMalloc *heap, SIZE_T size,
                                                 EMemoryCriticalLevel level, char *file, int line,
                                                 void **memory)
{
    (void)file;
    (void)line;
    return heap_Alloc(heap, size, level, memory);
}

static HRESULT STDMETHODCALLTYPE heap_Free(IHostMalloc *heap, void *memory)
{
    (void)heap;
    return HeapFree(GetProcessHeap(), 0, memory) ? S_OK : HOST_E_INVALIDOPERATION;
}

static const IHostMallocVtbl heap_vtbl = {heap_QueryInterface, heap_AddRef,     heap_AddRef,
                                          heap_Alloc,          heap_DebugAlloc, heap_Free};
static IHostMalloc the_heap = {&heap_vtbl};

/* ---- The manager ---- */

static HRESULT win32_result(BOOL success)
{
    return success ? S_OK : HRESULT_FROM_WIN32(GetLastError());
}

static HRESULT STDMETHODCALLTYPE manager_QueryInterface(IHostMemoryManager *manager, REFIID iid,
                                                        void **object)
{
    BOOL known = IsEqualIID(iid, &IID_IUnknown) || IsEqualIID(iid, &IID_IHostMemoryManager);
    *object = known ? manager : NULL;
    recording.references += known;
    return known ? S_OK : E_NOINTERFACE;
}

static ULONG STDMETHODCALLTYPE manager_AddRef(IHostMemoryManager *manager)
{
    (void)manager;
    return (ULONG)InterlockedIncrement(&recording.references);
}

static ULONG STDMETHODCALLTYPE manager_Release(IHostMemoryManager *manager)
{
    (void)manager;
    return (ULONG)InterlockedDecrement(&recording.references);
}

static HRESULT STDMETHODCALLTYPE manager_CreateMalloc(IHostMemoryManager *manager, DWORD type,
                                                      IHostMalloc **heap)
{
    (void)manager;
    (void)type;
    *heap = recording.create_malloc == S_OK ? &the_heap : NULL;
    return recording.create_malloc;
}

static HRESULT STDMETHODCALLTYPE manager_VirtualAlloc(IHostMemoryManager *manager, void *address,
                                                      SIZE_T size, DWORD type, DWORD protect,
                                                      EMemoryCriticalLevel level, void **memory)
{
    (void)manager;
    InterlockedIncrement(&recording.allocations[level]);
    if (level == eProcessCritical && recording.last_level != eProcessCritical) {
        InterlockedIncrement(&recording.steps_back);
    }
    recording.last_level = level;
    *memory = VirtualAlloc(address, size, type, protect);
    return win32_result(*memory != NULL);
}

/* The next `foreign_frees` calls concern memory of somebody else, and as many more fail. */
static HRESULT STDMETHODCALLTYPE manager_VirtualFree(IHostMemoryManager *manager, void *address,
                                                     SIZE_T size, DWORD type)
{
    (void)manager;
    if (recording.foreign_frees > 0) {
        InterlockedDecrement(&recording.foreign_frees);
        return HOST_E_INVALIDOPERATION;
    }
    if (recording.failing_frees > 0) {
        InterlockedDecrement(&recording.failing_frees);
        return E_FAIL;
    }
    return win32_result(VirtualFree(address, size, type));
}

static HRESULT STDMETHODCALLTYPE manager_VirtualQuery(IHostMemoryManager *manager, void *address,
                                                      void *buffer, SIZE_T length, SIZE_T *result)
{
    (void)manager;
    *result = VirtualQuery(address, buffer, length);
    return win32_result(*result != 0);
}

static HRESULT STDMETHODCALLTYPE manager_VirtualProtect(IHostMemoryManager *manager, void *address,
                                                        SIZE_T size, DWORD protect, DWORD *old)
{
    (void)manager;
    if (recording.protects_until_failure > 0 && --recording.protects_until_failure == 0) {
        return E_ACCESSDENIED;
    }
    return win32_result(VirtualProtect(address, size, protect, old));
}

static HRESULT STDMETHODCALLTYPE manager_GetMemoryLoad(IHostMemoryManager *manager, DWORD *load,
                                                       SIZE_T *available)
{
    (void)manager;
    *load = RECORDING_LOAD;
    *available = RECORDING_AVAILABLE;
    return recording.memory_load;
}

static HRESULT STDMETHODCALLTYPE manager_RegisterMemoryNotificationCallback(
    IHostMemoryManager *manager, ICLRMemoryNotificationCallback *callback)
{
    (void)manager;
    recording.callback = recording.register_result == S_OK ? callback : NULL;
    return recording.register_result;
}

static HRESULT STDMETHODCALLTYPE manager_NeedsVirtualAddressSpace(IHostMemoryManager *manager,
                                                                  void *address, SIZE_T size)
{
    (void)manager;
    (void)address;
    (void)size;
    recording.needs_calls++;
    SetLastError(ERROR_SUCCESS); /* a manager that does not keep it */
    return recording.needs;
}

static HRESULT STDMETHODCALLTYPE manager_AcquiredVirtualAddressSpace(IHostMemoryManager *manager,
                                                                     void *address, SIZE_T size)
{
    (void)manager;
    recording.acquired = address;
    recording.acquired_size = size;
    return S_OK;
}

static HRESULT STDMETHODCALLTYPE manager_ReleasedVirtualAddressSpace(IHostMemoryManager *manager,
                                                                     void *address)
{
    (void)manager;
    recording.released = address;
    return S_OK;
}

static const IHostMemoryManagerVtbl manager_vtbl = {
    manager_QueryInterface,
    manager_AddRef,
    manager_Release,
    manager_CreateMalloc,
    manager_VirtualAlloc,
    manager_VirtualFree,
    manager_VirtualQuery,
    manager_VirtualProtect,
    manager_GetMemoryLoad,
    manager_RegisterMemoryNotificationCallback,
    manager_NeedsVirtualAddressSpace,
    manager_AcquiredVirtualAddressSpace,
    manager_ReleasedVirtualAddressSpace,
};
static IHostMemoryManager the_manager = {&manager_vtbl};

IHostMemoryManager *recording_manager(void)
{
    return &the_manager;
}
