/* SPDX-License-Identifier: MIT
 *
 * What a trace can be replayed through. One call goes in, its answer comes out, with the time that
 * the call itself took.
 *
 *   raw          Win32's own functions, called directly
 *   table        hostmem's manager, made with the options of the recorded one
 *   passthrough  a manager that does nothing but call Win32: what the interfaces cost
 *   list         a manager as they are written for one's own host: a linked list of everything that
 *                is allocated, under one lock that is held while Windows is called
 */
#ifndef REPLAY_TARGET_H
#define REPLAY_TARGET_H

#include <hostmem/hostmem.h>

#include <stdbool.h>
#include <x86intrin.h>

#include "trace/trace_format.h"

struct call {
    enum trace_method method;
    void *address;
    SIZE_T size;
    DWORD type;
    DWORD protect;
    EMemoryCriticalLevel level;
    void *heap;   /* IHostMalloc, or the handle of a Win32 heap */
    bool foreign; /* `address` is memory of somebody else */
};

struct answer {
    HRESULT hr;
    void *memory; /* VirtualAlloc, Alloc, DebugAlloc, CreateMalloc */
    UINT64 value; /* VirtualQuery: bytes written; VirtualProtect: the old protection */
    MEMORY_BASIC_INFORMATION information;
    UINT64 ticks;
};

struct target {
    const char *name;
    IHostMemoryManager *manager; /* NULL: raw; owned */
    bool keeps_limits;           /* those that the trace was recorded with */
    bool knows_blocks;           /* Free of what is no block is refused, and not the end */
};

/* FALSE: there is no target of that name. *hr is not S_OK: it could not be made. */
BOOL target_create(const WCHAR *name, const struct trace_header *header, struct target *target,
                   HRESULT *hr);
void target_destroy(struct target *target);

void target_call(struct target *target, const struct call *call, struct answer *answer);

/* win32_calls.c */
void win32_call(const struct call *call, struct answer *answer);

/* own_manager.c: passthrough, or with a list. */
HRESULT own_manager_create(bool with_list, IHostMemoryManager **manager);

#endif
