/* SPDX-License-Identifier: MIT
 *
 * Nobody waits for a sink of IHostMemoryEvents that does not come back: not the runtime, not Unadvise,
 * not the manager's end, and not the end of the process.
 */
#include "contract/child.h"
#include "contract/event_sink.h"
#include "contract/pressure_fixture.h"

#include <olectl.h>

static void nobody_else_waits_for_a_sink_that_hangs(void **state)
{
    struct event_sink *sink = new_sink(KIND(REFUSED));
    struct recorder *recorder = &fixture.recorder;
    (void)state;
    sink->inside = wait_at_the_gate;
    advise(fixture.events, sink);
    be_refused();
    EXPECT_EVENT(sink, REFUSED);
    EXPECT_LOW(recorder); /* the runtime is told all the same, */
    EXPECT_NEUTRAL(recorder);
    ULONGLONG start = GetTickCount64();
    for (int i = 0; i < 1000; i++) { /* and its requests are answered */
        use(50 * MIB);
        be_refused();
        use(0);
    }
    assert_true(GetTickCount64() - start < 10000);
    assert_int_equal(sink->count, 1);
    SetEvent(sink->gate);
    assert_int_equal(EXPECT_EVENT(sink, REFUSED)->Count, 1000);
    unadvise(sink);
    close_sink(sink);
}

/* Nor for the call to end; that is when the reference is given back. */
static void unadvise_does_not_wait(void **state)
{
    struct event_sink *sink = new_sink(KIND(REFUSED));
    (void)state;
    sink->inside = wait_at_the_gate;
    advise(fixture.events, sink);
    be_refused();
    EXPECT_EVENT(sink, REFUSED);
    be_refused();
    unadvise(sink);
    EXPECT_HR(IHostMemoryEvents_Unadvise(fixture.events, sink->cookie), CONNECT_E_NOCONNECTION);
    assert_int_equal(sink->done, 0);
    assert_int_equal(sink->refs, 2);
    SetEvent(sink->gate);
    expect_soon(&sink->refs, 1);
    assert_int_equal(sink->done, 1);
    EXPECT_NO_EVENT(sink, 300);
    close_sink(sink);
}

static void the_manager_s_end_does_not_wait(void **state)
{
    struct event_sink *sink = new_sink(KIND(REFUSED)), *other = new_sink(ALL_KINDS);
    (void)state;
    sink->inside = wait_at_the_gate;
    advise(fixture.events, sink);
    advise(fixture.events, other);
    be_refused();
    EXPECT_EVENT(sink, REFUSED);
    release_interfaces();
    assert_int_equal(IHostMemoryManager_Release(fixture.manager), 0);
    assert_int_equal(sink->done, 0);
    assert_int_equal(sink->refs, 2);
    assert_int_equal(other->refs, 1);
    SetEvent(sink->gate);
    expect_soon(&sink->refs, 1);
    EXPECT_NO_EVENT(other, 0); /* it was not its turn yet */
    close_sink(sink);
    close_sink(other);
    leave_no_manager();
}

/* ---- process exit ---- */

static struct event_sink *child_sink;

/* The thread has been killed in the middle of its call. */
static void WINAPI last_calls(void *context)
{
    (void)context;
    bool inside = child_sink->count == 1 && child_sink->done == 0;
    HRESULT hr = IHostMemoryEvents_Unadvise(fixture.events, child_sink->cookie);
    IHostMemoryEvents_Release(fixture.events);
    IHostMemoryManager_Release(fixture.manager);
    TerminateProcess(GetCurrentProcess(), inside && hr == S_OK ? CAME_BACK : WRONG_ANSWER);
}

static int exit_in_a_call(void)
{
    DWORD slot = FlsAlloc(last_calls);
    HOSTMEM_OPTIONS options = {.Size = sizeof(options), .CommitLimit = LIMIT};
    child_sink = new_sink(KIND(REFUSED));
    child_sink->inside = wait_at_the_gate;
    if (slot == FLS_OUT_OF_INDEXES || !FlsSetValue(slot, &slot) ||
        HostMemCreateManager(&options, &fixture.manager) != S_OK ||
        IHostMemoryManager_QueryInterface(fixture.manager, &IID_IHostMemoryEvents,
                                          (void **)&fixture.events) != S_OK ||
        IHostMemoryEvents_Advise(fixture.events, &child_sink->IHostMemoryEventSink_iface,
                                 &child_sink->cookie) != S_OK) {
        return 1;
    }
    be_refused();
    if (WaitForSingleObject(child_sink->written, 10000) != WAIT_OBJECT_0) {
        return 2;
    }
    ExitProcess(3); /* the callback ends the process before this code can be seen */
}

static void a_process_that_ends_waits_for_no_sink(void **state)
{
    (void)state;
    for (int i = 0; i < 3; i++) {
        assert_int_equal(run_child("exit", 15), CAME_BACK);
    }
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        events_test(nobody_else_waits_for_a_sink_that_hangs),
        events_test(unadvise_does_not_wait),
        events_test(the_manager_s_end_does_not_wait),
        cmocka_unit_test(a_process_that_ends_waits_for_no_sink),
    };
    if (child_argument(argc, argv) != NULL) {
        return exit_in_a_call();
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
