/* SPDX-License-Identifier: MIT
 *
 * For the tests of IHostMemoryEvents: a sink that takes notes, and the manager of the pressure fixture
 * with the interface.
 */
#ifndef TESTS_CONTRACT_EVENT_SINK_H
#define TESTS_CONTRACT_EVENT_SINK_H

#include "contract/contract.h"

#define SINK_NOTES 64
#define ALL_KINDS ((UINT32)-1)
#define KIND(name) ((UINT32)1 << HOSTMEM_EVENT_##name)
#define TOLD_WITHIN 3000 /* milliseconds; more than any kind takes */

struct event_sink {
    IHostMemoryEventSink IHostMemoryEventSink_iface;
    LONG refs;
    UINT32 kinds; /* what it takes notes of: KIND(REFUSED) | … */
    LONG count;   /* of notes; written after the note */
    HOSTMEM_EVENT notes[SINK_NOTES];
    DWORD thread;                              /* of the last call, of whatever kind */
    HANDLE written;                            /* semaphore: one for each note */
    LONG expected;                             /* notes that EXPECT_EVENT has seen */
    LONG done;                                 /* calls with a note that came to their end */
    void (*inside)(struct event_sink *sink);   /* done in a call with a note, or NULL */
    void (*released)(struct event_sink *sink); /* done in each Release, or NULL */
    IHostMemoryEvents *events;                 /* these are for `inside` and `released` */
    struct event_sink *other;
    DWORD cookie;
    HANDLE gate;
    HRESULT hr;
};

/* In memory of its own: it survives a test that fails. */
struct event_sink *new_sink(UINT32 kinds);

/* Nobody has a reference on it any more, but perhaps a call that is about to end. */
void close_sink(struct event_sink *sink);

/* Fills in sink->events, which stays the caller's, and sink->cookie. */
void advise(IHostMemoryEvents *events, struct event_sink *sink);
void unadvise(struct event_sink *sink);

/* The next note, which comes within TOLD_WITHIN and is of that kind. */
#define EXPECT_EVENT(sink, name) expect_event((sink), HOSTMEM_EVENT_##name, __FILE__, __LINE__)
const HOSTMEM_EVENT *expect_event(struct event_sink *sink, UINT32 kind, const char *file, int line);

/* No note comes for that long. */
#define EXPECT_NO_EVENT(sink, milliseconds)                                                        \
    expect_no_event((sink), (milliseconds), __FILE__, __LINE__)
void expect_no_event(struct event_sink *sink, DWORD milliseconds, const char *file, int line);

/* The whole event, but for Size; `expected` has the fields that are not 0. */
#define EXPECT_FIELDS(event, ...)                                                                  \
    expect_fields((event), &(HOSTMEM_EVENT){.Size = sizeof(HOSTMEM_EVENT), __VA_ARGS__}, __FILE__, \
                  __LINE__)
void expect_fields(const HOSTMEM_EVENT *event, const HOSTMEM_EVENT *expected, const char *file,
                   int line);

/* What another thread does soon has been done. */
void expect_soon(const volatile LONG *value, LONG expected);

/* The pressure fixture, with fixture.events. */
int set_up_events(void **state);
#define events_test(name) cmocka_unit_test_setup_teardown(name, set_up_events, tear_down_pressure)

/* The manager is gone, and its memory goes with the process. */
void leave_no_manager(void);

/* For `inside`: do not return until the gate is opened, or 20 s have passed. */
void wait_at_the_gate(struct event_sink *sink);

#endif
