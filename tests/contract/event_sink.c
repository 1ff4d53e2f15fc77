/* SPDX-License-Identifier: MIT
 *
 * See event_sink.h.
 */
#include "contract/event_sink.h"
#include "contract/pressure_fixture.h"

#include <stdlib.h>
#include <string.h>

static struct event_sink *impl_from_IHostMemoryEventSink(IHostMemoryEventSink *iface)
{
    return CONTAINING_RECORD(iface, struct event_sink, IHostMemoryEventSink_iface);
}

static HRESULT STDMETHODCALLTYPE sink_QueryInterface(IHostMemoryEventSink *iface, REFIID iid,
                                                     void **object)
{
    (void)iface;
    (void)iid;
    *object = NULL;
    return E_NOINTERFACE; /* nobody needs to ask */
}

static ULONG STDMETHODCALLTYPE sink_AddRef(IHostMemoryEventSink *iface)
{
    return (ULONG)InterlockedIncrement(&impl_from_IHostMemoryEventSink(iface)->refs);
}

static ULONG STDMETHODCALLTYPE sink_Release(IHostMemoryEventSink *iface)
{
    struct event_sink *sink = impl_from_IHostMemoryEventSink(iface);
    void (*released)(struct event_sink *) = sink->released;
    LONG refs = InterlockedDecrement(&sink->refs); /* from now on the test may close it */
    if (released != NULL) {
        released(sink);
    }
    return (ULONG)refs;
}

static HRESULT STDMETHODCALLTYPE sink_OnMemoryEvent(IHostMemoryEventSink *iface,
                                                    const HOSTMEM_EVENT *event)
{
    struct event_sink *sink = impl_from_IHostMemoryEventSink(iface);
    sink->thread = GetCurrentThreadId();
    if ((sink->kinds & ((UINT32)1 << event->Kind)) == 0) {
        return S_OK;
    }
    if (sink->count < SINK_NOTES) {
        sink->notes[sink->count] = *event;
        InterlockedIncrement(&sink->count);
    }
    ReleaseSemaphore(sink->written, 1, NULL);
    if (sink->inside != NULL) {
        sink->inside(sink);
    }
    InterlockedIncrement(&sink->done);
    return E_NOTIMPL; /* does not matter */
}

static const IHostMemoryEventSinkVtbl sink_vtbl = {
    .QueryInterface = sink_QueryInterface,
    .AddRef = sink_AddRef,
    .Release = sink_Release,
    .OnMemoryEvent = sink_OnMemoryEvent,
};

struct event_sink *new_sink(UINT32 kinds)
{
    struct event_sink *sink = malloc(sizeof(*sink));
    assert_non_null(sink);
    *sink = (struct event_sink){
        .IHostMemoryEventSink_iface.lpVtbl = &sink_vtbl,
        .refs = 1,
        .kinds = kinds,
        .written = CreateSemaphoreW(NULL, 0, 10000, NULL),
        .gate = CreateEventW(NULL, TRUE, FALSE, NULL),
        .hr = E_FAIL,
    };
    return sink;
}

void expect_soon(const volatile LONG *value, LONG expected)
{
    for (int i = 0; i < 300 && *value != expected; i++) {
        Sleep(10);
    }
    assert_int_equal(*value, expected);
}

void close_sink(struct event_sink *sink)
{
    expect_soon(&sink->refs, 1);
    CloseHandle(sink->written);
    CloseHandle(sink->gate);
    free(sink);
}

void advise(IHostMemoryEvents *events, struct event_sink *sink)
{
    DWORD cookie = POISON_DWORD;
    EXPECT_OK(IHostMemoryEvents_Advise(events, &sink->IHostMemoryEventSink_iface, &cookie));
    assert_int_not_equal(cookie, 0);
    assert_int_not_equal(cookie, POISON_DWORD);
    sink->events = events;
    sink->cookie = cookie;
}

void unadvise(struct event_sink *sink)
{
    EXPECT_OK(IHostMemoryEvents_Unadvise(sink->events, sink->cookie));
}

const HOSTMEM_EVENT *expect_event(struct event_sink *sink, UINT32 kind, const char *file, int line)
{
    if (WaitForSingleObject(sink->written, TOLD_WITHIN) != WAIT_OBJECT_0) {
        fail_at(file, line, "no event came after the first %ld", sink->expected);
    }
    const HOSTMEM_EVENT *event = &sink->notes[sink->expected++];
    assert_in_range(sink->expected, 1, SINK_NOTES);
    if (event->Kind != kind) {
        fail_at(file, line, "event %ld is of kind %u, not %u", sink->expected, event->Kind, kind);
    }
    return event;
}

void expect_no_event(struct event_sink *sink, DWORD milliseconds, const char *file, int line)
{
    if (WaitForSingleObject(sink->written, milliseconds) != WAIT_TIMEOUT) {
        fail_at(file, line, "an event of kind %u came", sink->notes[sink->expected].Kind);
    }
}

void expect_fields(const HOSTMEM_EVENT *event, const HOSTMEM_EVENT *expected, const char *file,
                   int line)
{
    bool same_reason = event->Reason == NULL || expected->Reason == NULL
                           ? event->Reason == expected->Reason
                           : strcmp(event->Reason, expected->Reason) == 0;
    if (memcmp(event, expected, offsetof(HOSTMEM_EVENT, Reason)) != 0 || !same_reason) {
        fail_at(file, line,
                "size %u, kind %u, count %llu, bytes %llu, level %u, error %u, by %u, available "
                "%u, charged %llu, limit %llu, reason %s",
                event->Size, event->Kind, event->Count, event->Bytes, event->Level, event->Error,
                event->RefusedBy, event->Available, event->ChargedBytes, event->CommitLimit,
                event->Reason != NULL ? event->Reason : "NULL");
    }
}

void wait_at_the_gate(struct event_sink *sink)
{
    WaitForSingleObject(sink->gate, 20000);
}

/* ---- the manager ---- */

int set_up_events(void **state)
{
    set_up_pressure(state);
    fixture.events = INTERFACE_OF(fixture.manager, IHostMemoryEvents);
    return 0;
}

void leave_no_manager(void)
{
    assert_true(VirtualFree(fixture.memory, 0, MEM_RELEASE));
    fixture.manager = NULL;
}
