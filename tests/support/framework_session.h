/* SPDX-License-Identifier: MIT
 *
 * A stand-in for the .NET Framework's CLR: it takes the memory manager of hostmem.dll as the CLR takes
 * it and makes the calls that the CLR makes, with its flags, sizes, order, critical levels and
 * threads. Read it to learn how the CLR hosts memory; the numbers in the tables of steps are sections
 * of the hosting contract.
 *
 *     framework_session.c   the life of a CLR: a table of steps, and the host that starts it
 *     framework_control.c   2.1   SetHostControl, and what the last Stop gives back
 *     framework_start.c     2.4   what happens between Start and the first managed code
 *     framework_gc.c        3.2   what the collector takes at its start, and what it does with it
 *     framework_running.c   2.9   the threads; code heaps and JIT; a budget that is used up
 *     framework_notify.c    2.5   OnMemoryNotification and the finalizer thread behind it
 *     framework_mapping.c   2.6   files that the CLR maps by itself
 *     framework_stop.c      2.12  the last Stop, and the calls while the process ends
 *     framework_calls.c     2.2   the only place that calls the manager: the CLR's own wrappers
 *     framework_judge.c     0     what every one of these calls is judged by
 *
 * The judge keeps the first broken rule; the session ends at the end of that step.
 */
#ifndef TESTS_SUPPORT_FRAMEWORK_SESSION_H
#define TESTS_SUPPORT_FRAMEWORK_SESSION_H

#include <hostmem/hostmem.h>
#include <corerror.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PAGE ((SIZE_T)4096)
#define GRANULARITY ((SIZE_T)65536)
#define KIB ((SIZE_T)1024)
#define MIB ((SIZE_T)1 << 20)
#define ON_X64 (sizeof(void *) == 8)

/* ---- what is played ---- */

/* STARTUP_FLAGS of ICLRRuntimeHost; those that change what the host sees. */
#define CONCURRENT_GC 0x1u
#define SERVER_GC 0x1000u
#define HOARD_GC_VM 0x2000u

struct profile {
    const char *name;
    unsigned version; /* 2 or 4 */
    DWORD startup_flags;
};

extern const struct profile framework_profiles[];
extern const size_t framework_profile_count;

struct clr;

struct step {
    const char *section; /* of the contract */
    const char *what;
    void (*play)(struct clr *clr);
};

/* ---- the judge ---- */

/* What can be broken: rules 1 to 20 of section 0, and the items of the list of pitfalls (section 5)
 * that are not among them. */
#define RULE(n) (n)
#define PITFALL(n) (100 + (n))
#define CANNOT_PLAY 200 /* Windows itself did not do what a step needs */

struct judge {
    volatile LONG verdict; /* 0, or the rule that was broken first */
    const struct step *step;
    char finding[300];
};

/* What the host keeps for NeedsVirtualAddressSpace: hostmem divides it into 16 pieces. */
#define CUSHION (16 * MIB)
#define CUSHION_PIECE MIB

/* ---- the CLR ---- */

#define MAX_HEAPS 4
#define MUTATORS 3
#define SLOTS 64
#define MAX_REGIONS 256

struct region {
    char *base;
    SIZE_T size;
};

/* One heap of the collector: workstation has one, server one for each processor. */
struct gc_heap {
    struct region small; /* segment of the small object heap */
    struct region large;
    SIZE_T committed; /* of `small`, from its start */
};

struct clr {
    const struct profile *profile;
    struct judge judge;

    /* What SetHostControl stored (2.1). */
    IHostControl *control;
    IHostMemoryManager *manager;
    IHostMalloc *heap;
    volatile LONG only_one;    /* the lock in SetHostControl */
    volatile LONG contentions; /* how often it asked for the task manager while it waited */
    bool started;              /* g_fEEStarted: decides the critical level (2.3) */
    bool stopped;

    /* Every reservation, so that the judge knows what is the CLR's own. */
    SRWLOCK regions_lock;
    struct region regions[MAX_REGIONS];

    struct gc_heap heaps[MAX_HEAPS];
    unsigned heap_count;
    struct region initial; /* what the heaps were cut from */
    struct region cards;   /* card, brick and bundle table; the mark array at its end */
    SIZE_T card_bytes;     /* all but the mark array */
    bool write_watch;      /* the probe has found it: concurrent collections are possible */
    char *mark_list;
    CRITICAL_SECTION gc_lock;

    /* 2.5 */
    ICLRMemoryNotificationCallback callback;
    volatile LONG low_memory; /* how many Low since the last Neutral */
    volatile LONG lows, ends; /* that came in all: Low, and Neutral or High */
    volatile LONG notifying;  /* the callback is being called */
    ULONGLONG last_low;
    HANDLE finalizer, finalizer_wake;
    volatile LONG collections; /* started by the finalizer thread */

    /* 2.9 */
    HANDLE mutators[MUTATORS];
    HANDLE resume;                 /* manual reset; cleared: the EE is suspended */
    volatile LONG running, parked; /* mutators; those that wait for it */
    volatile LONG rounds[MUTATORS];
    volatile LONG quit;
    void *volatile slots[SLOTS]; /* blocks that any thread may free */
    struct region code;          /* a code heap that all of them use */

    void *early;         /* from the process heap, before there was a host heap */
    char *loader_heap;   /* the system domain's */
    struct region stubs; /* virtual call stubs, which the shutdown frees */

    /* The host's side, which no CLR sees: the judge compares with it. */
    IHostMemoryStatistics *statistics;
    IHostMemoryLimits *limits;
    IHostRuntimeLifetime *lifetime;
};

/* How a test puts another manager in the place of hostmem's; either may be NULL. */
struct disguise {
    IHostMemoryManager *(*manager)(IHostMemoryManager *real);
    IHostControl *(*control)(IHostControl *real);
};

/* Plays everything up to the last Stop. The verdict: 0, or what was broken. Its process is expected
 * to end then, see framework_detach. */
int framework_session(struct clr *clr, const struct profile *profile,
                      const struct disguise *disguise);

/* The calls of DLL_PROCESS_DETACH, under the loader lock, all other threads being dead (2.12). */
void framework_detach(struct clr *clr);

/* For a session whose process goes on: ends its threads and gives back its address space. */
void framework_clean_up(struct clr *clr);

/* False: Wine crashes when x86 threads are stopped, so VirtualQuery is not asked past them. */
bool framework_can_stop_threads(void);

/* ---- steps, by file ---- */

HRESULT clr_set_host_control(struct clr *clr, IHostControl *control);
void clr_release_host_control(struct clr *clr);
void control_contended(struct clr *clr, IHostControl *control);

extern const struct step start_steps[], gc_start_steps[], running_steps[], gc_steps[],
    budget_steps[], mapping_steps[], stop_steps[];

/* The first thing on every thread of the CLR (2.4 step 7). */
void clr_set_up_thread(struct clr *clr);
void clr_init_notification(struct clr *clr);
void clr_start_finalizer(struct clr *clr);
void clr_suspend(struct clr *clr);
void clr_restart(struct clr *clr);
void play(struct clr *clr, const struct step *steps);

#endif
