/* SPDX-License-Identifier: MIT
 *
 * How the sinks of IHostMemoryEvents are called: by a thread of the manager that does nothing else, with
 * no lock held, so that a sink may do what it likes in the call.
 */
#include "contract/event_sink.h"
#include "contract/pressure_fixture.h"

/* ---- who calls whom ---- */

static void every_sink_is_told_by_one_thread_of_its_own(void **state)
{
    struct event_sink *sinks[3];
    struct recorder *recorder = &fixture.recorder;
    (void)state;
    for (size_t i = 0; i < 3; i++) {
        sinks[i] = new_sink(KIND(REFUSED));
        advise(fixture.events, sinks[i]);
    }
    be_refused();
    for (size_t i = 0; i < 3; i++) {
        EXPECT_EVENT(sinks[i], REFUSED);
    }
    EXPECT_LOW(recorder);
    assert_int_not_equal(sinks[0]->thread, GetCurrentThreadId());
    assert_int_not_equal(sinks[0]->thread, recorder->notes[0].thread);
    assert_int_equal(sinks[0]->thread, sinks[1]->thread);
    assert_int_equal(sinks[0]->thread, sinks[2]->thread);
    for (size_t i = 0; i < 3; i++) {
        unadvise(sinks[i]);
        EXPECT_NO_EVENT(sinks[i], 0);
        close_sink(sinks[i]);
    }
}

static void nobody_needs_to_have_registered(void **state)
{
    struct event_sink *sink = new_sink(ALL_KINDS);
    IHostMemoryManager *manager = CREATE_MANAGER(.CommitLimit = MIB);
    IHostMemoryEvents *own = INTERFACE_OF(manager, IHostMemoryEvents);
    void *memory = POISON_POINTER;
    (void)state;
    sink->kinds = KIND(PRESSURE);
    advise(own, sink);
    EXPECT_HR(IHostMemoryManager_VirtualAlloc(manager, NULL, 2 * MIB, MEM_RESERVE | MEM_COMMIT,
                                              PAGE_READWRITE, eTaskCritical, &memory),
              E_OUTOFMEMORY);
    assert_int_equal(EXPECT_EVENT(sink, PRESSURE)->Available, eMemoryAvailableLow);
    assert_int_equal(EXPECT_EVENT(sink, PRESSURE)->Available, eMemoryAvailableNeutral);
    assert_int_equal(IHostMemoryEvents_Release(own), 1);
    assert_int_equal(IHostMemoryManager_Release(manager), 0);
    close_sink(sink);
}

static void after_unadvise_nothing_is_told(void **state)
{
    struct event_sink *sink = new_sink(ALL_KINDS), *other = new_sink(KIND(REFUSED));
    (void)state;
    advise(fixture.events, sink);
    advise(fixture.events, other);
    unadvise(sink);
    for (int i = 0; i < 20; i++) {
        be_refused();
        EXPECT_EVENT(other, REFUSED);
    }
    EXPECT_NO_EVENT(sink, 0);
    unadvise(other);
    close_sink(sink);
    close_sink(other);
}

/* ---- what a sink does in its call ---- */

static void unadvise_yourself(struct event_sink *sink)
{
    sink->hr = IHostMemoryEvents_Unadvise(sink->events, sink->cookie);
    if (sink->refs != 2) {
        sink->hr = E_UNEXPECTED; /* the object must outlive its method */
    }
}

static void a_sink_may_unadvise_itself(void **state)
{
    struct event_sink *sink = new_sink(KIND(REFUSED));
    (void)state;
    sink->inside = unadvise_yourself;
    advise(fixture.events, sink);
    be_refused();
    EXPECT_EVENT(sink, REFUSED);
    expect_soon(&sink->refs, 1);
    assert_int_equal(sink->hr, S_OK);
    be_refused();
    EXPECT_NO_EVENT(sink, 300);
    close_sink(sink);
}

static void unadvise_the_other(struct event_sink *sink)
{
    sink->hr = IHostMemoryEvents_Unadvise(sink->events, sink->other->cookie);
    sink->inside = NULL;
}

static void a_sink_may_unadvise_the_one_that_comes_next(void **state)
{
    struct event_sink *first = new_sink(KIND(REFUSED)), *second = new_sink(KIND(REFUSED));
    (void)state;
    first->inside = unadvise_the_other;
    first->other = second;
    advise(fixture.events, first);
    advise(fixture.events, second);
    be_refused();
    EXPECT_EVENT(first, REFUSED);
    be_refused();
    EXPECT_EVENT(first, REFUSED);
    assert_int_equal(first->hr, S_OK);
    EXPECT_NO_EVENT(second, 0);
    unadvise(first);
    close_sink(first);
    close_sink(second);
}

static void advise_the_other(struct event_sink *sink)
{
    sink->hr = IHostMemoryEvents_Advise(sink->events, &sink->other->IHostMemoryEventSink_iface,
                                        &sink->other->cookie);
    sink->inside = NULL;
}

static void a_sink_may_advise_another_which_is_told_of_what_comes(void **state)
{
    struct event_sink *first = new_sink(KIND(REFUSED)), *second = new_sink(KIND(REFUSED));
    (void)state;
    first->inside = advise_the_other;
    first->other = second;
    second->events = fixture.events;
    advise(fixture.events, first);
    be_refused();
    EXPECT_EVENT(first, REFUSED);
    EXPECT_NO_EVENT(second, 300);
    assert_int_equal(first->hr, S_OK);
    be_refused();
    EXPECT_EVENT(first, REFUSED);
    EXPECT_EVENT(second, REFUSED);
    unadvise(first);
    unadvise(second);
    close_sink(first);
    close_sink(second);
}

static void allocate_and_register(struct event_sink *sink)
{
    IHostMalloc *heap = NULL;
    void *memory = NULL;
    sink->hr =
        IHostMemoryManager_VirtualAlloc(fixture.manager, NULL, PAGE, MEM_RESERVE | MEM_COMMIT,
                                        PAGE_READWRITE, eTaskCritical, &memory);
    sink->hr |= IHostMemoryManager_VirtualFree(fixture.manager, memory, 0, MEM_RELEASE);
    sink->hr |= IHostMemoryManager_CreateMalloc(fixture.manager, MALLOC_THREADSAFE, &heap);
    sink->hr |= IHostMalloc_Alloc(heap, 100, eTaskCritical, &memory);
    sink->hr |= IHostMalloc_Free(heap, memory);
    IHostMalloc_Release(heap);
    sink->hr |= put(NULL);
    sink->hr |= put(&fixture.recorder);
    limit(LIMIT, 0);
}

static void a_sink_may_call_any_method(void **state)
{
    struct event_sink *sink = new_sink(KIND(REFUSED));
    (void)state;
    sink->inside = allocate_and_register;
    advise(fixture.events, sink);
    be_refused();
    EXPECT_EVENT(sink, REFUSED);
    expect_soon(&sink->done, 1);
    assert_int_equal(sink->hr, S_OK);
    unadvise(sink);
    close_sink(sink);
}

static void release_the_manager(struct event_sink *sink)
{
    sink->hr = (HRESULT)IHostMemoryManager_Release(fixture.manager);
    if (sink->refs != 2) {
        sink->hr = E_UNEXPECTED;
    }
}

static void a_sink_may_release_the_manager(void **state)
{
    struct event_sink *sink = new_sink(KIND(REFUSED)), *other = new_sink(ALL_KINDS);
    (void)state;
    sink->inside = release_the_manager;
    advise(fixture.events, sink);
    advise(fixture.events, other);
    release_interfaces();
    be_refused();
    EXPECT_EVENT(sink, REFUSED);
    expect_soon(&sink->refs, 1);
    assert_int_equal(sink->hr, 0); /* it was the last one */
    assert_int_equal(other->refs, 1);
    assert_int_equal(fixture.recorder.refs, 1);
    EXPECT_NO_EVENT(sink, 300);
    close_sink(sink);
    close_sink(other);
    leave_no_manager();
}

/* ---- many threads ---- */

static DWORD WINAPI be_refused_often(void *context)
{
    (void)context;
    for (int i = 0; i < 2000; i++) {
        be_refused();
    }
    return 0;
}

static DWORD WINAPI come_and_go(void *context)
{
    struct event_sink *sink = context;
    for (int i = 0; i < 2000; i++) {
        DWORD cookie = 0;
        if (IHostMemoryEvents_Advise(fixture.events, &sink->IHostMemoryEventSink_iface, &cookie) !=
                S_OK ||
            IHostMemoryEvents_Unadvise(fixture.events, cookie) != S_OK) {
            return 1;
        }
    }
    return 0;
}

static DWORD WINAPI one_of_both(void *context)
{
    static LONG next;
    return InterlockedIncrement(&next) % 2 == 0 ? be_refused_often(NULL) : come_and_go(context);
}

static UINT64 counted; /* by the one thread of the events */

static void count(struct event_sink *sink)
{
    counted += sink->notes[0].Count;
    sink->count = 0; /* the same note again and again */
}

static void no_refusal_is_lost_or_told_twice(void **state)
{
    struct event_sink *sink = new_sink(KIND(REFUSED)), *guest = new_sink(0);
    (void)state;
    counted = 0;
    sink->inside = count;
    advise(fixture.events, sink);
    run_threads(4, one_of_both, guest);
    for (int i = 0; i < 300 && counted < 4000; i++) {
        Sleep(10);
    }
    Sleep(100);
    assert_int_equal(counted, 4000);
    unadvise(sink);
    close_sink(sink);
    expect_soon(&guest->refs, 1);
    close_sink(guest);
}

/* ---- the other work of the thread that watches ---- */

static void a_low_makes_the_heaps_give_back_what_they_keep(void **state)
{
    struct event_sink *sink = new_sink(KIND(PRESSURE));
    IHostMalloc *heap = POISON_POINTER;
    void *block = NULL;
    (void)state;
    EXPECT_OK(put(NULL));
    EXPECT_OK(IHostMemoryManager_CreateMalloc(fixture.manager, MALLOC_THREADSAFE, &heap));
    EXPECT_OK(IHostMalloc_Alloc(heap, 256 * 1024, eTaskCritical, &block));
    EXPECT_OK(IHostMalloc_Free(heap, block));
    assert_true(statistics_of(fixture.manager).HeapCommitCurrentBytes >= 256 * 1024);
    advise(fixture.events, sink);
    EXPECT_OK(IHostMemoryPressure_NotifyMemory(fixture.pressure, eMemoryAvailableLow));
    EXPECT_EVENT(sink, PRESSURE);
    for (int i = 0; i < 300 && statistics_of(fixture.manager).HeapCommitCurrentBytes != 0; i++) {
        Sleep(10);
    }
    assert_int_equal(statistics_of(fixture.manager).HeapCommitCurrentBytes, 0);
    assert_int_equal(statistics_of(fixture.manager).ChargedCurrentBytes, 0);
    EXPECT_OK(IHostMemoryPressure_NotifyMemory(fixture.pressure, eMemoryAvailableNeutral));
    EXPECT_EVENT(sink, PRESSURE);
    IHostMalloc_Release(heap);
    unadvise(sink);
    close_sink(sink);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        events_test(every_sink_is_told_by_one_thread_of_its_own),
        events_test(nobody_needs_to_have_registered),
        events_test(after_unadvise_nothing_is_told),
        events_test(a_sink_may_unadvise_itself),
        events_test(a_sink_may_unadvise_the_one_that_comes_next),
        events_test(a_sink_may_advise_another_which_is_told_of_what_comes),
        events_test(a_sink_may_call_any_method),
        events_test(a_sink_may_release_the_manager),
        events_test(no_refusal_is_lost_or_told_twice),
        events_test(a_low_makes_the_heaps_give_back_what_they_keep),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
