/* SPDX-License-Identifier: MIT
 *
 * One call on its way through a recording object:
 *
 *     struct trace_record call = trace_call_begin(TRACE_…);
 *     HRESULT hr = … the same method of the inner object …
 *     trace_call_end(&call, hr);
 *
 * and the constructor of the heaps, which record the same way.
 */
#ifndef TRACE_TRACE_CALL_H
#define TRACE_TRACE_CALL_H

#include <hostmem/hostmem.h>

#include "trace/trace_writer.h"

/* Takes memory back or ends a claim to it: such a call has its number before it begins. */
static inline bool trace_call_takes_back(enum trace_method method)
{
    return method == TRACE_VIRTUAL_FREE || method == TRACE_FREE ||
           method == TRACE_RELEASED_ADDRESS_SPACE || method == TRACE_RELEASE_MALLOC;
}

static inline struct trace_record trace_call_begin(enum trace_method method)
{
    struct trace_record call = {.method = (uint8_t)method, .sequence = TRACE_SEQUENCE_END};
    if (!trace_writer_enter()) {
        call.method = TRACE_METHOD_COUNT; /* not to be recorded */
    } else if (trace_call_takes_back(method)) {
        call.sequence = trace_writer_number();
    }
    call.begin = trace_writer_ticks();
    return call;
}

static inline void trace_call_end(struct trace_record *call, HRESULT hr)
{
    UINT64 ticks = trace_writer_ticks() - call->begin;
    if (call->method == TRACE_METHOD_COUNT) {
        return;
    }
    if (call->sequence == TRACE_SEQUENCE_END) {
        call->sequence = trace_writer_number();
    }
    call->duration = ticks < UINT32_MAX ? (UINT32)ticks : UINT32_MAX;
    call->hresult = (UINT32)hr;
    trace_writer_add(call);
}

/* trace_malloc.c. Takes over the reference on `inner`; `number` is the heap's in the trace. */
HRESULT trace_malloc_create(IHostMalloc *inner, UINT32 number, IHostMalloc **malloc);

#endif
