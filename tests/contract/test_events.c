/* SPDX-License-Identifier: MIT
 *
 * IHostMemoryEvents: who is told of what a manager has to say, and what becomes of the references.
 */
#include "contract/contract.h"

#include <olectl.h>
#include <string.h>

#define MOST_SINKS 16

struct sink {
    IHostMemoryEventSink IHostMemoryEventSink_iface;
    LONG refs;
    LONG events;
    IHostMemoryEvents *unadvise; /* where the last reference goes to the sink `cookie` */
    DWORD cookie;
    HRESULT hr;
};

static struct sink *impl_from_IHostMemoryEventSink(IHostMemoryEventSink *iface)
{
    return CONTAINING_RECORD(iface, struct sink, IHostMemoryEventSink_iface);
}

static HRESULT STDMETHODCALLTYPE sink_QueryInterface(IHostMemoryEventSink *iface, REFIID iid,
                                                     void **object)
{
    (void)iface;
    (void)iid;
    *object = NULL;
    return E_NOINTERFACE;
}

static ULONG STDMETHODCALLTYPE sink_AddRef(IHostMemoryEventSink *iface)
{
    return (ULONG)InterlockedIncrement(&impl_from_IHostMemoryEventSink(iface)->refs);
}

static ULONG STDMETHODCALLTYPE sink_Release(IHostMemoryEventSink *iface)
{
    struct sink *sink = impl_from_IHostMemoryEventSink(iface);
    LONG refs = InterlockedDecrement(&sink->refs);
    if (refs == 1 && sink->unadvise != NULL) {
        sink->hr = IHostMemoryEvents_Unadvise(sink->unadvise, sink->cookie);
    }
    return (ULONG)refs;
}

static HRESULT STDMETHODCALLTYPE sink_OnMemoryEvent(IHostMemoryEventSink *iface,
                                                    const HOSTMEM_EVENT *event)
{
    (void)event;
    InterlockedIncrement(&impl_from_IHostMemoryEventSink(iface)->events);
    return S_OK;
}

static const IHostMemoryEventSinkVtbl sink_vtbl = {
    .QueryInterface = sink_QueryInterface,
    .AddRef = sink_AddRef,
    .Release = sink_Release,
    .OnMemoryEvent = sink_OnMemoryEvent,
};

#define NEW_SINK                                                                                   \
    {                                                                                              \
        .IHostMemoryEventSink_iface.lpVtbl = &sink_vtbl, .refs = 1, .hr = E_FAIL                   \
    }

static DWORD advise(IHostMemoryEvents *events, struct sink *sink)
{
    DWORD cookie = POISON_DWORD;
    EXPECT_OK(IHostMemoryEvents_Advise(events, &sink->IHostMemoryEventSink_iface, &cookie));
    assert_int_not_equal(cookie, 0);
    assert_int_not_equal(cookie, POISON_DWORD);
    return cookie;
}

static void missing_pointers_are_refused(void **state)
{
    IHostMemoryEvents *events = INTERFACE_OF(*state, IHostMemoryEvents);
    struct sink sink = NEW_SINK;
    DWORD cookie = POISON_DWORD;
    EXPECT_HR(IHostMemoryEvents_Advise(events, NULL, &cookie), E_POINTER);
    assert_int_equal(cookie, 0);
    EXPECT_HR(IHostMemoryEvents_Advise(events, &sink.IHostMemoryEventSink_iface, NULL), E_POINTER);
    EXPECT_HR(IHostMemoryEvents_Advise(events, NULL, NULL), E_POINTER);
    assert_int_equal(sink.refs, 1);
    assert_int_equal(IHostMemoryEvents_Release(events), 1);
}

static void a_sink_is_held_until_unadvise(void **state)
{
    IHostMemoryEvents *events = INTERFACE_OF(*state, IHostMemoryEvents);
    struct sink first = NEW_SINK, second = NEW_SINK;
    DWORD cookies[] = {advise(events, &first), advise(events, &second), advise(events, &first)};
    assert_int_not_equal(cookies[0], cookies[1]);
    assert_int_not_equal(cookies[0], cookies[2]);
    assert_int_equal(first.refs, 3); /* given twice, held twice */
    assert_int_equal(second.refs, 2);
    EXPECT_OK(IHostMemoryEvents_Unadvise(events, cookies[0]));
    assert_int_equal(first.refs, 2);
    EXPECT_OK(IHostMemoryEvents_Unadvise(events, cookies[1]));
    EXPECT_OK(IHostMemoryEvents_Unadvise(events, cookies[2]));
    assert_int_equal(first.refs, 1);
    assert_int_equal(second.refs, 1);
    assert_int_equal(IHostMemoryEvents_Release(events), 1);
}

static void a_cookie_is_good_for_one_unadvise(void **state)
{
    IHostMemoryEvents *events = INTERFACE_OF(*state, IHostMemoryEvents);
    struct sink sink = NEW_SINK;
    EXPECT_HR(IHostMemoryEvents_Unadvise(events, 0), CONNECT_E_NOCONNECTION);
    EXPECT_HR(IHostMemoryEvents_Unadvise(events, 1), CONNECT_E_NOCONNECTION);
    DWORD cookie = advise(events, &sink);
    EXPECT_HR(IHostMemoryEvents_Unadvise(events, cookie + 1), CONNECT_E_NOCONNECTION);
    EXPECT_HR(IHostMemoryEvents_Unadvise(events, 0), CONNECT_E_NOCONNECTION);
    EXPECT_OK(IHostMemoryEvents_Unadvise(events, cookie));
    DWORD next = advise(events, &sink); /* in the same place */
    assert_int_not_equal(next, cookie);
    EXPECT_HR(IHostMemoryEvents_Unadvise(events, cookie), CONNECT_E_NOCONNECTION);
    assert_int_equal(sink.refs, 2);
    EXPECT_OK(IHostMemoryEvents_Unadvise(events, next));
    assert_int_equal(IHostMemoryEvents_Release(events), 1);
}

static void there_is_room_for_so_many_and_for_as_many_again(void **state)
{
    IHostMemoryEvents *events = INTERFACE_OF(*state, IHostMemoryEvents);
    struct sink sink = NEW_SINK, refused = NEW_SINK;
    DWORD cookies[MOST_SINKS], cookie;
    for (int round = 0; round < 3; round++) {
        for (size_t i = 0; i < MOST_SINKS; i++) {
            cookies[i] = advise(events, &sink);
        }
        cookie = POISON_DWORD;
        EXPECT_HR(IHostMemoryEvents_Advise(events, &refused.IHostMemoryEventSink_iface, &cookie),
                  CONNECT_E_ADVISELIMIT);
        assert_int_equal(cookie, 0);
        assert_int_equal(refused.refs, 1);
        assert_int_equal(sink.refs, 1 + MOST_SINKS);
        for (size_t i = 0; i < MOST_SINKS; i++) {
            EXPECT_OK(IHostMemoryEvents_Unadvise(events, cookies[i]));
        }
        assert_int_equal(sink.refs, 1);
    }
    assert_int_equal(IHostMemoryEvents_Release(events), 1);
}

/* A sink is called with no lock held, in its Release too. */
static void a_sink_that_goes_may_take_another_with_it(void **state)
{
    IHostMemoryEvents *events = INTERFACE_OF(*state, IHostMemoryEvents);
    struct sink other = NEW_SINK, sink = NEW_SINK;
    sink.cookie = advise(events, &other);
    sink.unadvise = events;
    EXPECT_OK(IHostMemoryEvents_Unadvise(events, advise(events, &sink)));
    assert_int_equal(sink.hr, S_OK);
    assert_int_equal(other.refs, 1);
    assert_int_equal(IHostMemoryEvents_Release(events), 1);
}

static void the_manager_s_end_lets_go_of_all(void **state)
{
    IHostMemoryManager *manager = create_manager();
    IHostMemoryEvents *events = INTERFACE_OF(manager, IHostMemoryEvents);
    struct sink first = NEW_SINK, second = NEW_SINK;
    (void)state;
    advise(events, &first);
    advise(events, &second);
    shut_down(manager); /* the runtime's end is not the host's */
    assert_int_equal(first.refs, 2);
    assert_int_equal(IHostMemoryEvents_Release(events), 1);
    assert_int_equal(IHostMemoryManager_Release(manager), 0);
    assert_int_equal(first.refs, 1);
    assert_int_equal(second.refs, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        manager_test(missing_pointers_are_refused),
        manager_test(a_sink_is_held_until_unadvise),
        manager_test(a_cookie_is_good_for_one_unadvise),
        manager_test(there_is_room_for_so_many_and_for_as_many_again),
        manager_test(a_sink_that_goes_may_take_another_with_it),
        cmocka_unit_test(the_manager_s_end_lets_go_of_all),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
