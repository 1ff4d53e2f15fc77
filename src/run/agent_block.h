/* SPDX-License-Identifier: MIT
 *
 * The memory that hostmem-run shares with its agents: one block for the program that it runs, and one
 * for each process that this starts, if these are to be bound too. A block says what the agent is to
 * do, and what it knows. A process can end at any moment, and what it leaves is read then:
 *
 *     copies     written in turn, ten times a second or so; `sequence` is advanced when one is
 *                complete, so copies[sequence & 1] always is
 *     last       of the end of the process, when there is a last word; `ended` is set behind it
 */
#ifndef RUN_AGENT_BLOCK_H
#define RUN_AGENT_BLOCK_H

#include <hostmem/hostmem.h>

#include "figures.h"

#define AGENT_DLL L"hostmem-agent.dll"
#define AGENT_START                                                                                \
    "hostmem_agent_start" /* a thread function; its argument is the mapping's handle */

#define AGENT_PATH 1024    /* UTF-16 units */
#define AGENT_PROCESSES 64 /* later ones are not bound */

/* How far the agent came; what `error` is of when it came no further. */
enum agent_step {
    AGENT_NOT_RUN,
    AGENT_CREATES_MANAGER,
    AGENT_BINDS_CHILDREN,
    AGENT_OPENS_TRACE,
    AGENT_BINDS,
    AGENT_RUNS
};

struct agent_block {
    DWORD process_id; /* whose block it is */

    HANDLE process;            /* hostmem-run's; NULL: it has none */
    volatile LONG starts;      /* of other processes, that are under way; those are suspended */
    LONG creator;              /* whose block has the process that started it */
    volatile LONG handed_over; /* to that: it is suspended no more for our sake */

    /* What the agent is to do. */
    HOSTMEM_OPTIONS limits;
    HOSTMEM_FAULTS faults; /* Size 0: none */
    UINT32 binding_flags;  /* HOSTMEM_BIND_* */
    WCHAR trace_file[AGENT_PATH];

    /* What came of it. */
    volatile LONG step; /* enum agent_step */
    volatile HRESULT error;

    WCHAR program[AGENT_PATH];
    UINT64 started_ticks; /* GetTickCount64 */

    /* The runtime. S_FALSE: none was loaded; else what the binding returned. */
    volatile HRESULT bound;
    WCHAR runtime_version[32]; /* empty: unknown */
    WCHAR runtime_path[AGENT_PATH];

    UINT64 start_bytes; /* the most in use until the runtime had started; 0: it has not */

    volatile LONG sequence; /* 0: nothing was taken */
    struct figures copies[2];
    struct figures last;
    DWORD exit_code;
    volatile LONG ended;
    UINT64 trace_missing; /* calls */
};

/* What hostmem-run may set in the environment, and only for the runtime of its program. (DOTNET_ROOT
 * it sets for all: what the program starts looks for its runtime in the same way.) */
#define AGENT_VARIABLES                                                                            \
    L"COMPlus_GCHeapHardLimit", L"COMPlus_GCSegmentSize", L"COMPlus_gcServer",                     \
        L"COMPlus_gcConcurrent", L"DOTNET_gcServer", L"DOTNET_gcConcurrent"
#define AGENT_VARIABLE_COUNT 6

struct agent_table {
    BOOL bind_children;
    DWORD runner_id;                                   /* hostmem-run */
    WCHAR variables[AGENT_VARIABLE_COUNT][AGENT_PATH]; /* as they were; empty: not set */
    volatile LONG count; /* blocks that were taken; more than there are if there were too few */
    struct agent_block blocks[AGENT_PROCESSES];
};

/* NULL: there are no more. */
static inline struct agent_block *agent_block_at(struct agent_table *table, LONG i)
{
    return i < table->count && i < AGENT_PROCESSES ? &table->blocks[i] : NULL;
}

#endif
