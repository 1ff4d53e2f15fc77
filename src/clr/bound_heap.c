/* SPDX-License-Identifier: MIT
 *
 * The functions of the process heap. Every other heap is the caller's own.
 */
#include "bound_private.h"
#include "critical_level.h"

#include <corerror.h>
#include <string.h>

static HANDLE process_heap;

void bound_heap_prepare(void)
{
    process_heap = GetProcessHeap();
}

static void *no_heap_memory(DWORD flags)
{
    if (flags & HEAP_GENERATE_EXCEPTIONS) {
        RaiseException(STATUS_NO_MEMORY, 0, 0, NULL);
    }
    return NULL;
}

static void *allocate(SIZE_T size)
{
    void *block = NULL;
    HRESULT hr = IHostMalloc_Alloc(targets.heap, size, critical_level_of_block(), &block);
    if (hr != S_OK || !block) {
        SetLastError(ERROR_NOT_ENOUGH_MEMORY);
        return NULL;
    }
    return block;
}

void *WINAPI bound_HeapAlloc(HANDLE heap, DWORD flags, SIZE_T size)
{
    if (heap != process_heap) {
        return original.HeapAlloc(heap, flags, size);
    }
    void *block = allocate(size);
    if (!block) {
        return no_heap_memory(flags);
    }
    if (flags & HEAP_ZERO_MEMORY) {
        memset(block, 0, size);
    }
    return block;
}

/* HOST_E_INVALIDOPERATION: not a block of the manager's. Any other failure is of one that is, and the
 * system must not get it. */
static HRESULT size_of_block(HANDLE heap, const void *block, SIZE_T *size)
{
    *size = 0;
    if (heap != process_heap || !block) {
        return HOST_E_INVALIDOPERATION;
    }
    DWORD error = GetLastError();
    HRESULT hr = IHostMallocBlocks_GetBlockSize(targets.blocks, (void *)(UINT_PTR)block, size);
    if (hr == HOST_E_INVALIDOPERATION) {
        SetLastError(error);
    }
    return hr;
}

/* A block of another size is another block: IHostMalloc has no way to grow one where it is. */
void *WINAPI bound_HeapReAlloc(HANDLE heap, DWORD flags, void *block, SIZE_T size)
{
    SIZE_T old_size;
    HRESULT hr = size_of_block(heap, block, &old_size);
    if (hr == HOST_E_INVALIDOPERATION) {
        return original.HeapReAlloc(heap, flags, block, size);
    }
    if (hr != S_OK) {
        return no_heap_memory(flags);
    }
    if (size == old_size) {
        return block;
    }
    if (flags & HEAP_REALLOC_IN_PLACE_ONLY) {
        SetLastError(ERROR_NOT_ENOUGH_MEMORY);
        return no_heap_memory(flags);
    }
    void *grown = allocate(size);
    if (!grown) {
        return no_heap_memory(flags); /* the old block is as it was */
    }
    memcpy(grown, block, size < old_size ? size : old_size);
    if ((flags & HEAP_ZERO_MEMORY) && size > old_size) {
        memset((BYTE *)grown + old_size, 0, size - old_size);
    }
    IHostMalloc_Free(targets.heap, block);
    return grown;
}

BOOL WINAPI bound_HeapFree(HANDLE heap, DWORD flags, void *block)
{
    if (heap != process_heap) {
        return original.HeapFree(heap, flags, block);
    }
    DWORD error = GetLastError();
    HRESULT hr = IHostMalloc_Free(targets.heap, block);
    if (hr == HOST_E_INVALIDOPERATION) {
        SetLastError(error);
        return original.HeapFree(heap, flags, block);
    }
    return hr == S_OK;
}

SIZE_T WINAPI bound_HeapSize(HANDLE heap, DWORD flags, const void *block)
{
    SIZE_T size;
    HRESULT hr = size_of_block(heap, block, &size);
    if (hr == HOST_E_INVALIDOPERATION) {
        return original.HeapSize(heap, flags, block);
    }
    return hr == S_OK ? size : (SIZE_T)-1;
}

BOOL WINAPI bound_HeapValidate(HANDLE heap, DWORD flags, const void *block)
{
    SIZE_T size;
    HRESULT hr = size_of_block(heap, block, &size);
    if (hr == HOST_E_INVALIDOPERATION) {
        return original.HeapValidate(heap, flags, block);
    }
    return hr == S_OK;
}
