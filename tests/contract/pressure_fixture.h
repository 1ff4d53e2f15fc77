/* SPDX-License-Identifier: MIT
 *
 * For the tests of memory pressure: a callback that takes notes, and one manager with a limit of
 * 100 MiB that it is registered with. Low comes at 90 MiB and is over below 80 MiB.
 */
#ifndef TESTS_CONTRACT_PRESSURE_FIXTURE_H
#define TESTS_CONTRACT_PRESSURE_FIXTURE_H

#include "contract/contract.h"

#define MIB ((SIZE_T)1 << 20)
#define LIMIT (100 * MIB)
#define SOON 1000   /* milliseconds in which a Low comes, or an end whose time has come */
#define LASTS 1000  /* a Low stands that long at least */
#define PERIOD 8200 /* from one Low to the next */

struct note {
    EMemoryAvailable available;
    ULONGLONG time; /* milliseconds */
    DWORD thread;
};

struct recorder {
    ICLRMemoryNotificationCallback ICLRMemoryNotificationCallback_iface;
    LONG refs;
    LONG count; /* of notes; written after the note */
    struct note notes[32];
    HANDLE written;                            /* semaphore: one for each note */
    LONG expected;                             /* notes that EXPECT_NOTE has seen */
    LONG done;                                 /* calls that came to their end */
    void (*inside)(struct recorder *recorder); /* done in the call, or NULL */
    HRESULT hr;                                /* for `inside` */
};

struct recorder new_recorder(void);

/* The next note is this one, and it comes within `milliseconds`. */
#define EXPECT_NOTE(recorder, available, milliseconds)                                             \
    expect_note((recorder), (available), (milliseconds), __FILE__, __LINE__)
#define EXPECT_LOW(recorder) EXPECT_NOTE(recorder, eMemoryAvailableLow, SOON)
#define EXPECT_NEUTRAL(recorder) EXPECT_NOTE(recorder, eMemoryAvailableNeutral, LASTS + SOON)
void expect_note(struct recorder *recorder, EMemoryAvailable available, DWORD milliseconds,
                 const char *file, int line);

/* No note comes for that long. */
#define EXPECT_SILENCE(recorder, milliseconds)                                                     \
    expect_silence((recorder), (milliseconds), __FILE__, __LINE__)
void expect_silence(struct recorder *recorder, DWORD milliseconds, const char *file, int line);

struct pressure_fixture {
    IHostMemoryManager *manager; /* NULL for the teardown: it is gone */
    IHostMemoryLimits *limits;
    IHostMemoryPressure *pressure;
    IHostRuntimeLifetime *lifetime;
    IHostMemoryEvents *events; /* of set_up_events, or NULL */
    char *memory;              /* reserved, 2 * LIMIT */
    SIZE_T used;               /* the first bytes of it are committed */
    struct recorder recorder;
};

extern struct pressure_fixture fixture;

/* All but the manager's own. */
void release_interfaces(void);

int set_up_pressure(void **state);
int tear_down_pressure(void **state);
#define pressure_test(name)                                                                        \
    cmocka_unit_test_setup_teardown(name, set_up_pressure, tear_down_pressure)

/* Register with the fixture's manager. */
HRESULT put(struct recorder *recorder);

void limit(SIZE_T commit, SIZE_T emergency);

/* Commit or decommit until `bytes` are in use. */
void use(SIZE_T bytes);

/* Ask for more than the limit. */
void be_refused(void);

#endif
