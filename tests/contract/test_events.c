/* SPDX-License-Identifier: MIT
 *
 * IHostMemoryEvents: who is told of what a manager has to say, and what becomes of the references. What
 * is told is in test_event_kinds.c, how sinks are called in test_event_calls.c.
 */
#include "clr/imports.h"
#include "contract/event_sink.h"

#include <olectl.h>

#define MOST_SINKS 16

static void missing_pointers_are_refused(void **state)
{
    IHostMemoryEvents *events = INTERFACE_OF(*state, IHostMemoryEvents);
    struct event_sink *sink = new_sink(ALL_KINDS);
    DWORD cookie = POISON_DWORD;
    EXPECT_HR(IHostMemoryEvents_Advise(events, NULL, &cookie), E_POINTER);
    assert_int_equal(cookie, 0);
    EXPECT_HR(IHostMemoryEvents_Advise(events, &sink->IHostMemoryEventSink_iface, NULL), E_POINTER);
    EXPECT_HR(IHostMemoryEvents_Advise(events, NULL, NULL), E_POINTER);
    close_sink(sink);
    assert_int_equal(IHostMemoryEvents_Release(events), 1);
}

static void a_sink_is_held_until_unadvise(void **state)
{
    IHostMemoryEvents *events = INTERFACE_OF(*state, IHostMemoryEvents);
    struct event_sink *first = new_sink(ALL_KINDS), *second = new_sink(ALL_KINDS);
    advise(events, first);
    DWORD once = first->cookie;
    advise(events, second);
    advise(events, first);
    assert_int_not_equal(once, second->cookie);
    assert_int_not_equal(once, first->cookie);
    assert_int_equal(first->refs, 3); /* given twice, held twice */
    assert_int_equal(second->refs, 2);
    EXPECT_OK(IHostMemoryEvents_Unadvise(events, once));
    assert_int_equal(first->refs, 2);
    unadvise(second);
    unadvise(first);
    close_sink(first);
    close_sink(second);
    assert_int_equal(IHostMemoryEvents_Release(events), 1);
}

static void a_cookie_is_good_for_one_unadvise(void **state)
{
    IHostMemoryEvents *events = INTERFACE_OF(*state, IHostMemoryEvents);
    struct event_sink *sink = new_sink(ALL_KINDS);
    EXPECT_HR(IHostMemoryEvents_Unadvise(events, 0), CONNECT_E_NOCONNECTION);
    EXPECT_HR(IHostMemoryEvents_Unadvise(events, 1), CONNECT_E_NOCONNECTION);
    advise(events, sink);
    DWORD cookie = sink->cookie;
    EXPECT_HR(IHostMemoryEvents_Unadvise(events, cookie + 1), CONNECT_E_NOCONNECTION);
    EXPECT_HR(IHostMemoryEvents_Unadvise(events, 0), CONNECT_E_NOCONNECTION);
    unadvise(sink);
    advise(events, sink); /* in the same place */
    assert_int_not_equal(sink->cookie, cookie);
    EXPECT_HR(IHostMemoryEvents_Unadvise(events, cookie), CONNECT_E_NOCONNECTION);
    assert_int_equal(sink->refs, 2);
    unadvise(sink);
    close_sink(sink);
    assert_int_equal(IHostMemoryEvents_Release(events), 1);
}

static void there_is_room_for_so_many_and_for_as_many_again(void **state)
{
    IHostMemoryEvents *events = INTERFACE_OF(*state, IHostMemoryEvents);
    struct event_sink *sink = new_sink(ALL_KINDS), *refused = new_sink(ALL_KINDS);
    DWORD cookies[MOST_SINKS], cookie;
    for (int round = 0; round < 3; round++) {
        for (size_t i = 0; i < MOST_SINKS; i++) {
            advise(events, sink);
            cookies[i] = sink->cookie;
        }
        cookie = POISON_DWORD;
        EXPECT_HR(IHostMemoryEvents_Advise(events, &refused->IHostMemoryEventSink_iface, &cookie),
                  CONNECT_E_ADVISELIMIT);
        assert_int_equal(cookie, 0);
        assert_int_equal(refused->refs, 1);
        assert_int_equal(sink->refs, 1 + MOST_SINKS);
        for (size_t i = 0; i < MOST_SINKS; i++) {
            EXPECT_OK(IHostMemoryEvents_Unadvise(events, cookies[i]));
        }
        assert_int_equal(sink->refs, 1);
    }
    close_sink(sink);
    close_sink(refused);
    assert_int_equal(IHostMemoryEvents_Release(events), 1);
}

static void unadvise_the_other(struct event_sink *sink)
{
    if (sink->refs == 1) {
        sink->hr = IHostMemoryEvents_Unadvise(sink->events, sink->other->cookie);
    }
}

/* A sink is called with no lock held, in its Release too. */
static void a_sink_that_goes_may_take_another_with_it(void **state)
{
    IHostMemoryEvents *events = INTERFACE_OF(*state, IHostMemoryEvents);
    struct event_sink *other = new_sink(ALL_KINDS), *sink = new_sink(ALL_KINDS);
    advise(events, other);
    advise(events, sink);
    sink->other = other;
    sink->released = unadvise_the_other;
    unadvise(sink);
    assert_int_equal(sink->hr, S_OK);
    close_sink(other);
    close_sink(sink);
    assert_int_equal(IHostMemoryEvents_Release(events), 1);
}

static void the_manager_s_end_lets_go_of_all(void **state)
{
    IHostMemoryManager *manager = create_manager();
    IHostMemoryEvents *events = INTERFACE_OF(manager, IHostMemoryEvents);
    struct event_sink *first = new_sink(ALL_KINDS), *second = new_sink(ALL_KINDS);
    (void)state;
    advise(events, first);
    advise(events, second);
    shut_down(manager); /* the runtime's end is not the host's */
    assert_int_equal(first->refs, 2);
    assert_int_equal(IHostMemoryEvents_Release(events), 1);
    assert_int_equal(IHostMemoryManager_Release(manager), 0);
    close_sink(first);
    close_sink(second);
}

/* ---- no thread ---- */

typedef HANDLE WINAPI create_thread_fn(SECURITY_ATTRIBUTES *, SIZE_T, LPTHREAD_START_ROUTINE,
                                       void *, DWORD, DWORD *);

static LONG threads_left; /* that CreateThread will make */
static create_thread_fn *create_thread;

static HANDLE WINAPI create_few_threads(SECURITY_ATTRIBUTES *attributes, SIZE_T stack,
                                        LPTHREAD_START_ROUTINE start, void *argument, DWORD flags,
                                        DWORD *id)
{
    if (threads_left-- > 0) {
        return create_thread(attributes, stack, start, argument, flags, id);
    }
    SetLastError(ERROR_NOT_ENOUGH_MEMORY);
    return NULL;
}

/* From now on the DLL's CreateThread is this function. Returns what it was. */
static create_thread_fn *import_create_thread(create_thread_fn *function)
{
    static struct imports imports;
    uintptr_t previous = 0;
    DWORD old;
    imports_read(GetModuleHandleW(L"hostmem.dll"), &imports);
    for (size_t i = 0; i < imports.count; i++) {
        if (imports.names[i] != NULL && strcmp(imports.names[i], "CreateThread") == 0) {
            assert_true(VirtualProtect(imports.slots[i], sizeof(void *), PAGE_READWRITE, &old));
            previous = (uintptr_t)*imports.slots[i];
            *(uintptr_t *)imports.slots[i] = (uintptr_t)function;
            assert_true(VirtualProtect(imports.slots[i], sizeof(void *), old, &old));
        }
    }
    assert_int_not_equal(previous, 0);
    return (create_thread_fn *)previous;
}

static void be_refused(IHostMemoryManager *manager)
{
    void *memory = POISON_POINTER;
    SET_LIMITS(manager, .CommitLimit = MIB);
    EXPECT_HR(IHostMemoryManager_VirtualAlloc(manager, NULL, 2 * MIB, MEM_RESERVE | MEM_COMMIT,
                                              PAGE_READWRITE, eTaskCritical, &memory),
              E_OUTOFMEMORY);
}

static void without_a_thread_nothing_is_advised(void **state)
{
    IHostMemoryEvents *events = INTERFACE_OF(*state, IHostMemoryEvents);
    struct event_sink *sink = new_sink(KIND(REFUSED));
    create_thread = import_create_thread(create_few_threads);
    for (LONG few = 0; few < 2; few++) { /* there are two */
        DWORD cookie = POISON_DWORD;
        threads_left = few;
        EXPECT_CALL(IHostMemoryEvents_Advise(events, &sink->IHostMemoryEventSink_iface, &cookie),
                    E_OUTOFMEMORY, ERROR_NOT_ENOUGH_MEMORY);
        assert_int_equal(cookie, 0);
        assert_int_equal(sink->refs, 1);
        EXPECT_HR(IHostMemoryEvents_Unadvise(events, 1), CONNECT_E_NOCONNECTION);
    }
    import_create_thread(create_thread);
    be_refused(*state);
    EXPECT_NO_EVENT(sink, 200);
    advise(events, sink); /* there is a next time */
    be_refused(*state);
    assert_int_equal(EXPECT_EVENT(sink, REFUSED)->Count, 1);
    unadvise(sink);
    close_sink(sink);
    assert_int_equal(IHostMemoryEvents_Release(events), 1);
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
        manager_test(without_a_thread_nothing_is_advised),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
