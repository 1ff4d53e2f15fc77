/* SPDX-License-Identifier: MIT
 *
 * The C runtime's heap as the bound module imports it: malloc and its kind, by the flag
 * HOSTMEM_BIND_CRT_HEAP. From .NET 5 on the runtime's own small blocks come from there.
 *
 * Blocks cross module borders. One that comes in, allocated by the C runtime itself (_strdup) or by
 * another module, is not in the manager's heap, which says so, and goes to the C runtime. One that
 * goes out must come back to be freed: another module's free would not know it. Runtimes keep to
 * that, as every DLL must that cannot be sure of sharing its C runtime; not every program does.
 */
#include "bound_private.h"
#include "critical_level.h"

#include <corerror.h>
#include <stdint.h>
#include <string.h>

void *__cdecl bound_malloc(size_t size)
{
    void *block = NULL;
    HRESULT hr = IHostMalloc_Alloc(targets.heap, size, critical_level_of_block(), &block);
    return hr == S_OK ? block : NULL;
}

void *__cdecl bound_calloc(size_t count, size_t size)
{
    if (size != 0 && count > SIZE_MAX / size) {
        return NULL;
    }
    void *block = bound_malloc(count * size);
    return block ? memset(block, 0, count * size) : NULL;
}

void *__cdecl bound__calloc_base(size_t count, size_t size)
{
    return bound_calloc(count, size);
}

/* FALSE: not a block of the manager's, or none. A damaged one is, and nobody else gets it. */
static BOOL free_block(void *block)
{
    DWORD error = GetLastError();
    if (!block || IHostMalloc_Free(targets.heap, block) != HOST_E_INVALIDOPERATION) {
        return block != NULL;
    }
    SetLastError(error);
    return FALSE;
}

void __cdecl bound_free(void *block)
{
    if (block && !free_block(block)) {
        original.free(block);
    }
}

void __cdecl bound__free_base(void *block)
{
    if (block && !free_block(block)) {
        original._free_base(block);
    }
}

void *__cdecl bound_realloc(void *block, size_t size)
{
    SIZE_T old_size = 0;
    if (!block) {
        return bound_malloc(size);
    }
    HRESULT hr = IHostMallocBlocks_GetBlockSize(targets.blocks, block, &old_size);
    if (hr == HOST_E_INVALIDOPERATION) {
        return original.realloc(block, size);
    }
    if (hr != S_OK) {
        return NULL;
    }
    if (size == 0) {
        free_block(block);
        return NULL;
    }
    void *other = bound_malloc(size);
    if (other) {
        memcpy(other, block, size < old_size ? size : old_size);
        free_block(block);
    }
    return other;
}

size_t __cdecl bound__msize(void *block)
{
    SIZE_T size = 0;
    HRESULT hr = IHostMallocBlocks_GetBlockSize(targets.blocks, block, &size);
    if (hr == HOST_E_INVALIDOPERATION) {
        return original._msize(block);
    }
    return hr == S_OK ? size : (size_t)-1;
}

/* In front of an aligned block stands the block it is a part of; the C runtime has it at the same
 * place, so it can be read of any aligned block. */
static void **block_behind(void *aligned)
{
    return (void **)((uintptr_t)aligned & ~(sizeof(void *) - 1)) - 1;
}

void *__cdecl bound__aligned_malloc(size_t size, size_t alignment)
{
    if (alignment == 0 || (alignment & (alignment - 1)) != 0) {
        return original._aligned_malloc(size, alignment); /* refuses as it does */
    }
    alignment = alignment < sizeof(void *) ? sizeof(void *) : alignment;
    if (size > SIZE_MAX - alignment - sizeof(void *)) {
        return NULL;
    }
    char *block = bound_malloc(size + alignment + sizeof(void *));
    if (!block) {
        return NULL;
    }
    uintptr_t first = (uintptr_t)block + sizeof(void *);
    void *aligned = (void *)((first + alignment - 1) & ~(alignment - 1));
    *block_behind(aligned) = block;
    return aligned;
}

void __cdecl bound__aligned_free(void *aligned)
{
    if (aligned && !free_block(*block_behind(aligned))) {
        original._aligned_free(aligned);
    }
}
