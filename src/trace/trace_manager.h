/* SPDX-License-Identifier: MIT
 *
 * A memory manager in front of another one: it passes every call on, and records it. A runtime is
 * given this one in place of the other, which needs no code for it and pays nothing when there is
 * no trace.
 */
#ifndef TRACE_TRACE_MANAGER_H
#define TRACE_TRACE_MANAGER_H

#include <hostmem/hostmem.h>

/* Holds a reference on `inner`. The interfaces that are not the CLR's (statistics, limits and the like) are the
 * inner manager's own. E_OUTOFMEMORY. */
HRESULT trace_manager_create(IHostMemoryManager *inner, IHostMemoryManager **manager);

#endif
