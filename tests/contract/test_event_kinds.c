/* SPDX-License-Identifier: MIT
 *
 * What the sinks of IHostMemoryEvents are told: each kind with its fields, many of a kind as one event,
 * and nothing of what was before. Most tests have no callback registered: a host is told without. That
 * a manager which contradicts itself says why is in test_broken.c, too.
 */
#include "contract/event_sink.h"
#include "contract/pressure_fixture.h"

/* Nobody has registered. */
static int set_up(void **state)
{
    set_up_events(state);
    EXPECT_OK(put(NULL));
    return 0;
}

#define kind_test(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down_pressure)

static void end(struct event_sink *sink)
{
    unadvise(sink);
    close_sink(sink);
}

static IHostMalloc *create_heap(void)
{
    IHostMalloc *heap = POISON_POINTER;
    EXPECT_OK(IHostMemoryManager_CreateMalloc(fixture.manager, MALLOC_THREADSAFE, &heap));
    return heap;
}

/* A request that cannot be granted. */
static void be_refused_with(SIZE_T size, DWORD type, EMemoryCriticalLevel level)
{
    void *result = POISON_POINTER;
    EXPECT_CALL(IHostMemoryManager_VirtualAlloc(fixture.manager, NULL, size, type, PAGE_READWRITE,
                                                level, &result),
                E_OUTOFMEMORY, ERROR_NOT_ENOUGH_MEMORY);
}

/* The largest block there can be is larger than any system has. */
static void be_refused_by_windows(IHostMalloc *heap)
{
    void *block = POISON_POINTER;
    EXPECT_CALL(IHostMalloc_Alloc(heap, SIZE_MAX, eProcessCritical, &block), E_OUTOFMEMORY,
                ERROR_NOT_ENOUGH_MEMORY);
}

/* ---- REFUSED ---- */

static void a_request_beyond_the_commit_limit_is_told(void **state)
{
    struct event_sink *sink = new_sink(KIND(REFUSED));
    (void)state;
    use(30 * MIB);
    advise(fixture.events, sink);
    be_refused_with(71 * MIB, MEM_RESERVE | MEM_COMMIT, eAppDomainCritical);
    EXPECT_FIELDS(EXPECT_EVENT(sink, REFUSED), .Kind = HOSTMEM_EVENT_REFUSED, .Count = 1,
                  .Bytes = 71 * MIB, .Level = eAppDomainCritical, .Error = ERROR_NOT_ENOUGH_MEMORY,
                  .RefusedBy = HOSTMEM_REFUSED_BY_COMMIT_LIMIT, .ChargedBytes = 30 * MIB,
                  .CommitLimit = LIMIT);
    EXPECT_NO_EVENT(sink, 300);
    end(sink);
}

static void a_request_beyond_the_reserve_limit_is_told(void **state)
{
    struct event_sink *sink = new_sink(KIND(REFUSED));
    (void)state;
    advise(fixture.events, sink);
    SET_LIMITS(fixture.manager, .ReserveLimit = 4 * LIMIT);
    be_refused_with(3 * LIMIT, MEM_RESERVE, eTaskCritical);
    EXPECT_FIELDS(EXPECT_EVENT(sink, REFUSED), .Kind = HOSTMEM_EVENT_REFUSED, .Count = 1,
                  .Bytes = 3 * LIMIT, .Level = eTaskCritical, .Error = ERROR_NOT_ENOUGH_MEMORY,
                  .RefusedBy = HOSTMEM_REFUSED_BY_RESERVE_LIMIT);
    end(sink);
}

static void a_request_that_windows_refuses_is_told(void **state)
{
    struct event_sink *sink = new_sink(KIND(REFUSED));
    IHostMalloc *heap = create_heap();
    (void)state;
    advise(fixture.events, sink);
    be_refused_by_windows(heap);
    EXPECT_FIELDS(EXPECT_EVENT(sink, REFUSED), .Kind = HOSTMEM_EVENT_REFUSED, .Count = 1,
                  .Bytes = SIZE_MAX, .Level = eProcessCritical, .Error = ERROR_NOT_ENOUGH_MEMORY,
                  .RefusedBy = HOSTMEM_REFUSED_BY_SYSTEM, .CommitLimit = LIMIT);
    end(sink);
    IHostMalloc_Release(heap);
}

static void many_refusals_while_the_sink_is_busy_are_one_event(void **state)
{
    struct event_sink *sink = new_sink(KIND(REFUSED));
    IHostMalloc *heap = create_heap();
    (void)state;
    SET_LIMITS(fixture.manager, .CommitLimit = LIMIT, .ReserveLimit = 4 * LIMIT);
    sink->inside = wait_at_the_gate;
    advise(fixture.events, sink);
    be_refused();
    assert_int_equal(EXPECT_EVENT(sink, REFUSED)->Count, 1);
    for (int i = 0; i < 20; i++) {
        be_refused_by_windows(heap);
    }
    for (int i = 0; i < 30; i++) {
        be_refused_with(3 * LIMIT, MEM_RESERVE, eTaskCritical);
    }
    for (SIZE_T i = 1; i <= 50; i++) {
        be_refused_with(LIMIT + i * PAGE, MEM_RESERVE | MEM_COMMIT, eProcessCritical);
    }
    EXPECT_NO_EVENT(sink, 200);
    SetEvent(sink->gate);
    EXPECT_FIELDS(EXPECT_EVENT(sink, REFUSED), .Kind = HOSTMEM_EVENT_REFUSED, .Count = 100,
                  .Bytes = LIMIT + 50 * PAGE, .Level = eProcessCritical,
                  .Error = ERROR_NOT_ENOUGH_MEMORY,
                  .RefusedBy = HOSTMEM_REFUSED_BY_SYSTEM | HOSTMEM_REFUSED_BY_RESERVE_LIMIT |
                               HOSTMEM_REFUSED_BY_COMMIT_LIMIT,
                  .CommitLimit = LIMIT);
    be_refused(); /* and nothing of it is left in the next one */
    EXPECT_FIELDS(EXPECT_EVENT(sink, REFUSED), .Kind = HOSTMEM_EVENT_REFUSED, .Count = 1,
                  .Bytes = 2 * LIMIT, .Level = eTaskCritical, .Error = ERROR_NOT_ENOUGH_MEMORY,
                  .RefusedBy = HOSTMEM_REFUSED_BY_COMMIT_LIMIT, .CommitLimit = LIMIT);
    end(sink);
    IHostMalloc_Release(heap);
}

static void what_the_host_refuses_on_purpose_it_knows(void **state)
{
    struct event_sink *sink = new_sink(KIND(REFUSED));
    IHostMemoryFaults *faults = INTERFACE_OF(fixture.manager, IHostMemoryFaults);
    HOSTMEM_FAULTS rules = {.Size = sizeof(rules),
                            .Levels = HOSTMEM_FAULT_TASK,
                            .Methods = HOSTMEM_FAULT_VIRTUAL_ALLOC,
                            .RateNumerator = 1,
                            .RateDenominator = 1};
    (void)state;
    advise(fixture.events, sink);
    EXPECT_OK(IHostMemoryFaults_SetFaults(faults, &rules));
    be_refused_with(PAGE, MEM_RESERVE, eTaskCritical);
    EXPECT_NO_EVENT(sink, 500);
    IHostMemoryFaults_Release(faults);
    end(sink);
}

/* ---- PRESSURE ---- */

#define EXPECT_PRESSURE(sink, signal, bytes)                                                       \
    EXPECT_FIELDS(EXPECT_EVENT(sink, PRESSURE), .Kind = HOSTMEM_EVENT_PRESSURE, .Count = 1,        \
                  .Available = (signal), .ChargedBytes = (bytes), .CommitLimit = LIMIT)

static void low_and_neutral_are_told_without_a_callback(void **state)
{
    struct event_sink *sink = new_sink(KIND(PRESSURE));
    (void)state;
    advise(fixture.events, sink);
    use(90 * MIB - PAGE);
    EXPECT_NO_EVENT(sink, 300);
    use(90 * MIB);
    EXPECT_PRESSURE(sink, eMemoryAvailableLow, 90 * MIB);
    EXPECT_NO_EVENT(sink, LASTS + 300);
    use(0);
    EXPECT_PRESSURE(sink, eMemoryAvailableNeutral, 0);
    EXPECT_OK(IHostMemoryPressure_NotifyMemory(fixture.pressure, eMemoryAvailableLow));
    EXPECT_PRESSURE(sink, eMemoryAvailableLow, 0);
    EXPECT_OK(IHostMemoryPressure_NotifyMemory(fixture.pressure, eMemoryAvailableHigh));
    EXPECT_PRESSURE(sink, eMemoryAvailableHigh, 0);
    EXPECT_NO_EVENT(sink, 300);
    end(sink);
    /* The runtime was told nothing. */
    assert_int_equal(statistics_of(fixture.manager).NotificationsLow, 0);
    assert_int_equal(statistics_of(fixture.manager).NotificationsHigh, 0);
}

static void a_refusal_is_low_without_a_callback(void **state)
{
    struct event_sink *sink = new_sink(KIND(PRESSURE));
    (void)state;
    be_refused(); /* nobody wanted to know */
    advise(fixture.events, sink);
    EXPECT_NO_EVENT(sink, 300);
    be_refused();
    EXPECT_PRESSURE(sink, eMemoryAvailableLow, 0);
    EXPECT_PRESSURE(sink, eMemoryAvailableNeutral, 0);
    end(sink);
}

static void the_runtime_s_callback_is_told_as_well(void **state)
{
    struct event_sink *sink = new_sink(KIND(PRESSURE));
    struct recorder *recorder = &fixture.recorder;
    (void)state;
    advise(fixture.events, sink);
    EXPECT_OK(put(recorder));
    use(90 * MIB);
    EXPECT_LOW(recorder);
    EXPECT_PRESSURE(sink, eMemoryAvailableLow, 90 * MIB);
    EXPECT_SILENCE(recorder, LASTS + 300);
    use(0);
    EXPECT_NEUTRAL(recorder);
    EXPECT_PRESSURE(sink, eMemoryAvailableNeutral, 0);
    end(sink);
    assert_int_equal(statistics_of(fixture.manager).NotificationsLow, 1);
    assert_int_equal(statistics_of(fixture.manager).NotificationsNeutral, 1);
    use(90 * MIB); /* and goes on without the sink */
    EXPECT_LOW(recorder);
    use(0);
    EXPECT_NEUTRAL(recorder);
}

static void signals_while_the_sink_is_busy_are_one_event(void **state)
{
    struct event_sink *sink = new_sink(KIND(PRESSURE));
    (void)state;
    sink->inside = wait_at_the_gate;
    advise(fixture.events, sink);
    use(90 * MIB);
    EXPECT_PRESSURE(sink, eMemoryAvailableLow, 90 * MIB);
    use(0);
    Sleep(LASTS + 300); /* Neutral */
    use(95 * MIB);
    Sleep(300); /* Low */
    use(10 * MIB);
    Sleep(LASTS + 300); /* Neutral */
    SetEvent(sink->gate);
    EXPECT_FIELDS(EXPECT_EVENT(sink, PRESSURE), .Kind = HOSTMEM_EVENT_PRESSURE, .Count = 3,
                  .Available = eMemoryAvailableNeutral, .ChargedBytes = 10 * MIB,
                  .CommitLimit = LIMIT);
    end(sink);
}

/* ---- FREED_BEHIND ---- */

/* Of one or several events. */
static void expect_freed_behind(struct event_sink *sink, UINT64 regions, UINT64 bytes)
{
    for (UINT64 found = 0, size = 0; found < regions || size < bytes;) {
        const HOSTMEM_EVENT *event = EXPECT_EVENT(sink, FREED_BEHIND);
        found += event->Count;
        size += event->Bytes;
        assert_in_range(found, 1, regions);
        assert_in_range(size, 1, bytes);
        EXPECT_FIELDS(event, .Kind = HOSTMEM_EVENT_FREED_BEHIND, .Count = event->Count,
                      .Bytes = event->Bytes, .ChargedBytes = event->ChargedBytes,
                      .CommitLimit = LIMIT);
    }
}

static void find_a_region_freed(SIZE_T size)
{
    char *memory = reserve_committed(fixture.manager, size);
    assert_true(VirtualFree(memory, 0, MEM_RELEASE));
    EXPECT_HR(IHostMemoryManager_VirtualFree(fixture.manager, memory, 0, MEM_RELEASE),
              hr_of_win32(GetLastError()));
}

static void regions_that_others_have_freed_are_told(void **state)
{
    struct event_sink *sink = new_sink(KIND(FREED_BEHIND));
    (void)state;
    find_a_region_freed(MIB); /* nobody wanted to know */
    advise(fixture.events, sink);
    EXPECT_NO_EVENT(sink, 1500);
    find_a_region_freed(PAGE);
    expect_freed_behind(sink, 1, PAGE);
    for (SIZE_T i = 1; i <= 5; i++) {
        find_a_region_freed(i * GRANULARITY);
    }
    expect_freed_behind(sink, 5, 15 * GRANULARITY);
    EXPECT_NO_EVENT(sink, 1500);
    unadvise(sink);
    find_a_region_freed(MIB); /* nobody again */
    advise(fixture.events, sink);
    EXPECT_NO_EVENT(sink, 1500);
    end(sink);
}

/* Nothing was refused: a new reservation has the place of the old one, a heap its end. */
static void what_a_success_has_found_is_told(void **state)
{
    struct event_sink *sink = new_sink(KIND(FREED_BEHIND));
    void *memory = reserve(fixture.manager, GRANULARITY), *block = NULL, *result = POISON_POINTER;
    IHostMalloc *heap = create_heap();
    MEMORY_BASIC_INFORMATION info;
    (void)state;
    EXPECT_OK(IHostMalloc_Alloc(heap, 3 * MIB, eTaskCritical, &block));
    assert_int_equal(VirtualQuery(block, &info, sizeof(info)), sizeof(info));
    advise(fixture.events, sink);
    assert_true(VirtualFree(memory, 0, MEM_RELEASE));
    EXPECT_OK(IHostMemoryManager_VirtualAlloc(fixture.manager, memory, GRANULARITY, MEM_RESERVE,
                                              PAGE_READWRITE, eTaskCritical, &result));
    expect_freed_behind(sink, 1, GRANULARITY);
    EXPECT_OK(IHostMemoryManager_VirtualFree(fixture.manager, memory, 0, MEM_RELEASE));
    assert_true(VirtualFree(info.AllocationBase, 0, MEM_RELEASE));
    IHostMalloc_Release(heap);
    const HOSTMEM_EVENT *event = EXPECT_EVENT(sink, FREED_BEHIND);
    assert_int_equal(event->Count, 1);
    assert_in_range(event->Bytes, 3 * MIB, 4 * MIB);
    end(sink);
}

/* ---- BROKEN ---- */

static void damage_is_told_once_and_says_what_it_is(void **state)
{
    struct event_sink *sink = new_sink(KIND(BROKEN));
    IHostMalloc *heap = create_heap();
    void *block = NULL;
    (void)state;
    EXPECT_OK(IHostMalloc_Alloc(heap, 100, eTaskCritical, &block));
    advise(fixture.events, sink);
    ((volatile char *)block)[-3] ^= 0x55; /* its header */
    EXPECT_CALL(IHostMalloc_Free(heap, block), E_FAIL, ERROR_INTERNAL_ERROR);
    const HOSTMEM_EVENT *event = EXPECT_EVENT(sink, BROKEN);
    EXPECT_FIELDS(event, .Kind = HOSTMEM_EVENT_BROKEN, .Count = 1,
                  .ChargedBytes = event->ChargedBytes, .CommitLimit = LIMIT,
                  .Reason = "a heap's memory was written over, or Windows refuses to release it");
    assert_in_range(event->ChargedBytes, 1, MIB);
    EXPECT_HR(IHostMalloc_Free(heap, block), HOST_E_CLRNOTAVAILABLE);
    IHostMalloc_Release(heap);
    EXPECT_NO_EVENT(sink, 300);
    end(sink);
    /* The manager does nothing any more: nothing can be given back through it. */
    release_interfaces();
    assert_int_equal(IHostMemoryManager_Release(fixture.manager), 0);
    leave_no_manager();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        kind_test(a_request_beyond_the_commit_limit_is_told),
        kind_test(a_request_beyond_the_reserve_limit_is_told),
        kind_test(a_request_that_windows_refuses_is_told),
        kind_test(many_refusals_while_the_sink_is_busy_are_one_event),
        kind_test(what_the_host_refuses_on_purpose_it_knows),
        kind_test(low_and_neutral_are_told_without_a_callback),
        kind_test(a_refusal_is_low_without_a_callback),
        kind_test(the_runtime_s_callback_is_told_as_well),
        kind_test(signals_while_the_sink_is_busy_are_one_event),
        kind_test(regions_that_others_have_freed_are_told),
        kind_test(what_a_success_has_found_is_told),
        kind_test(damage_is_told_once_and_says_what_it_is),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
