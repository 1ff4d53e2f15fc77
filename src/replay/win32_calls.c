/* SPDX-License-Identifier: MIT
 *
 * The raw calls. What Win32 has no function for is not called and succeeds.
 */
#include <corerror.h>

#include "replay/target.h"

static HRESULT result(BOOL success)
{
    if (success) {
        return S_OK;
    }
    switch (GetLastError()) {
    case ERROR_NOT_ENOUGH_MEMORY:
    case ERROR_OUTOFMEMORY:
    case ERROR_NO_SYSTEM_RESOURCES:
    case ERROR_COMMITMENT_LIMIT:
        return E_OUTOFMEMORY;
    default:
        return HRESULT_FROM_WIN32(GetLastError());
    }
}

static HANDLE create_heap(DWORD type)
{
    return HeapCreate(((type & MALLOC_THREADSAFE) != 0 ? 0 : HEAP_NO_SERIALIZE) |
                          ((type & MALLOC_EXECUTABLE) != 0 ? HEAP_CREATE_ENABLE_EXECUTE : 0),
                      0, 0);
}

static BOOL memory_load(void)
{
    MEMORYSTATUSEX status = {.dwLength = sizeof(status)};
    return GlobalMemoryStatusEx(&status);
}

/* Windows frees whatever can be freed. That the memory was not the caller's is known to a manager,
 * and here it is known from the trace. */
static HRESULT free_pages(const struct call *call)
{
    BOOL freed = VirtualFree(call->address, call->size, call->type);
    return !freed && call->foreign ? HOST_E_INVALIDOPERATION : result(freed);
}

static HRESULT make_call(const struct call *call, struct answer *answer)
{
    DWORD old = 0;
    switch (call->method) {
    case TRACE_CREATE_MALLOC:
        answer->memory = create_heap(call->type);
        return answer->memory != NULL ? S_OK : E_OUTOFMEMORY;
    case TRACE_RELEASE_MALLOC:
        return result(HeapDestroy(call->heap));
    case TRACE_VIRTUAL_ALLOC:
        answer->memory = VirtualAlloc(call->address, call->size, call->type, call->protect);
        return result(answer->memory != NULL);
    case TRACE_VIRTUAL_FREE:
        return free_pages(call);
    case TRACE_VIRTUAL_QUERY:
        answer->value = VirtualQuery(call->address, &answer->information, call->size);
        return result(answer->value != 0);
    case TRACE_VIRTUAL_PROTECT: {
        BOOL changed = VirtualProtect(call->address, call->size, call->protect, &old);
        answer->value = old;
        return result(changed);
    }
    case TRACE_GET_MEMORY_LOAD:
        return result(memory_load());
    case TRACE_ALLOC:
    case TRACE_DEBUG_ALLOC:
        answer->memory = HeapAlloc(call->heap, 0, call->size);
        return answer->memory != NULL ? S_OK : E_OUTOFMEMORY;
    case TRACE_FREE:
        return call->address == NULL || HeapFree(call->heap, 0, call->address)
                   ? S_OK
                   : HOST_E_INVALIDOPERATION;
    default:
        return S_OK;
    }
}

void win32_call(const struct call *call, struct answer *answer)
{
    UINT64 begin = __rdtsc();
    HRESULT hr = make_call(call, answer);
    answer->ticks = __rdtsc() - begin;
    answer->hr = hr;
}
