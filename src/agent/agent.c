/* SPDX-License-Identifier: MIT
 *
 * hostmem-agent.dll: hostmem-run's half in a program that is an executable of its own. It makes the
 * manager, binds the runtime (the program itself if it contains one, else coreclr.dll when it is
 * loaded), and keeps what the manager knows in memory that hostmem-run reads when the program has
 * ended, however that comes.
 *
 * Figures are taken every few milliseconds at first, so that a program which ends soon without a last
 * word has left some, and ten times a second later. Less often where that would take more than 5 % of
 * the time: the system is asked about every page run of every region, which can be thousands.
 */
#include <hostmem/hostmem.h>

#include "agent/children.h"
#include "agent/runtime_version.h"
#include "run/agent_block.h"
#include "run/exit_hook.h"
#include "run/new_manager.h"
#include "trace/trace_manager.h"
#include "trace/trace_writer.h"

#define FIRST_PERIOD_MS 5
#define LAST_PERIOD_MS 100
#define GROWTH 8 /* a period is this part of the time that has passed */
#define SHARE 20 /* taking them is one part of the time in so many, at most */

static struct agent_table *table;
static struct agent_block *block;
static IHostMemoryStatistics *source;
static volatile BOOL runtime_is_known; /* to hostmem-run */

/* ---- What is known ---- */

/* The thread that runs this can be ended anywhere in it, and the last word then says it all again. */
static void take_runtime(void)
{
    HOSTMEM_BINDING binding = {.Size = sizeof(binding)};
    if (runtime_is_known || HostMemGetBinding(&binding) != S_OK) {
        return;
    }
    if (binding.Result == S_OK) {
        GetModuleFileNameW(binding.Runtime, block->runtime_path, AGENT_PATH - 1);
        runtime_version(binding.Runtime, block->runtime_path, block->runtime_version,
                        sizeof(block->runtime_version) / sizeof(WCHAR));
    }
    block->bound = binding.Result;
    runtime_is_known = binding.Result == S_OK;
}

/* `taken` may be a moment of work and a long wait for a processor: it is not believed at first. */
static DWORD next_period(UINT64 passed, UINT64 taken)
{
    UINT64 period = passed / GROWTH;
    UINT64 least = SHARE * taken < passed ? SHARE * taken : passed;
    period = period < FIRST_PERIOD_MS ? FIRST_PERIOD_MS : period;
    period = period > LAST_PERIOD_MS ? LAST_PERIOD_MS : period;
    return (DWORD)(period > least ? period : least);
}

static DWORD WINAPI keep_figures_fresh(void *unused)
{
    UINT64 start = GetTickCount64();
    (void)unused;
    while (!block->ended) {
        UINT64 begin = GetTickCount64();
        LONG next = block->sequence + 1;
        take_runtime();
        figures_take(source, &block->copies[next & 1]);
        InterlockedExchange(&block->sequence, next);
        UINT64 end = GetTickCount64();
        Sleep(next_period(end - start, end - begin));
    }
    return 0;
}

static void end_of_program(DWORD exit_code)
{
    trace_writer_stop();
    take_runtime();
    figures_take(source, &block->last);
    block->exit_code = exit_code;
    InterlockedExchange(&block->ended, TRUE);
    if (block->trace_file[0]) {
        block->trace_missing = trace_writer_close();
    }
}

/* ---- The start ---- */

/* The runtime has read its settings. What this process starts, and nobody binds, has no budget: it is
 * to see the environment that the user has made. */
static void restore_environment(void)
{
    static const WCHAR *const names[] = {AGENT_VARIABLES};
    for (int i = 0; i < AGENT_VARIABLE_COUNT; i++) {
        const WCHAR *value = table->variables[i];
        SetEnvironmentVariableW(names[i], *value ? value : NULL);
    }
}

static void CALLBACK runtime_started(void *context)
{
    HOSTMEM_STATISTICS now = {.Size = sizeof(now)};
    (void)context;
    IHostMemoryStatistics_GetStatistics(source, &now);
    block->start_bytes = now.ChargedPeakBytes;
    if (!table->bind_children) {
        restore_environment();
    }
}

static HRESULT create_manager(IHostMemoryManager **manager)
{
    block->step = AGENT_CREATES_MANAGER;
    void *statistics;
    HRESULT hr = new_manager(&block->limits, &block->faults, manager);
    if (hr == S_OK) {
        hr = IHostMemoryManager_QueryInterface(*manager, &IID_IHostMemoryStatistics, &statistics);
    }
    if (hr == S_OK) {
        source = statistics;
    }
    return hr;
}

/* A recording manager in front of the one that there is. */
static HRESULT open_trace(IHostMemoryManager **manager)
{
    const struct trace_header about = {
        .commit_limit = block->limits.CommitLimit,
        .emergency = block->limits.EmergencyCommit,
        .reserve_limit = block->limits.ReserveLimit,
        .cushion = block->limits.AddressSpaceCushion,
        .flags = block->limits.Flags,
    };
    block->step = AGENT_OPENS_TRACE;
    DWORD error = trace_writer_open(block->trace_file, &about);
    return error == ERROR_SUCCESS ? trace_manager_create(*manager, manager)
                                  : HRESULT_FROM_WIN32(error);
}

static HRESULT bind(IHostMemoryManager *manager)
{
    block->step = AGENT_BINDS;
    const HOSTMEM_BIND_OPTIONS options = {
        .Size = sizeof(options),
        .Flags = block->binding_flags,
        .OnStart = runtime_started,
        .OnTermination = exit_hook_run_apart,
    };
    HRESULT hr = HostMemBindRuntime(manager, GetModuleHandleW(NULL), &options);
    if (hr == HRESULT_FROM_WIN32(ERROR_BAD_EXE_FORMAT)) { /* no runtime in the program */
        hr = HostMemBindRuntimeOnLoad(manager, NULL, &options);
    }
    return hr;
}

static HRESULT start(HANDLE mapping)
{
    IHostMemoryManager *manager;
    HRESULT hr = create_manager(&manager);
    if (hr == S_OK && table->bind_children) {
        block->step = AGENT_BINDS_CHILDREN;
        hr = children_bind(manager, mapping, table, block);
    }
    if (hr == S_OK && block->trace_file[0]) {
        hr = open_trace(&manager);
    }
    if (hr == S_OK) {
        hr = bind(manager);
    }
    if (hr == S_OK && !exit_hook_set(end_of_program, NULL)) {
        hr = E_OUTOFMEMORY;
    }
    if (hr == S_OK) {
        HANDLE thread = CreateThread(NULL, 256 * 1024, keep_figures_fresh, NULL,
                                     STACK_SIZE_PARAM_IS_A_RESERVATION, NULL);
        hr = thread ? S_OK : E_OUTOFMEMORY;
        if (thread) {
            CloseHandle(thread);
        }
    }
    return hr;
}

/* The last one of this number: it may have been the number of a process that has ended. */
static struct agent_block *own_block(void)
{
    for (LONG i = AGENT_PROCESSES; i-- > 0;) {
        if (table->blocks[i].process_id == GetCurrentProcessId()) {
            return &table->blocks[i];
        }
    }
    return NULL;
}

DWORD WINAPI hostmem_agent_start(HANDLE mapping); /* found by its name; no header declares it */

DWORD WINAPI hostmem_agent_start(HANDLE mapping)
{
    table = MapViewOfFile(mapping, FILE_MAP_ALL_ACCESS, 0, 0, sizeof(*table));
    if (!table) {
        return GetLastError();
    }
    block = own_block();
    if (!block) {
        return ERROR_NOT_FOUND;
    }
    block->started_ticks = GetTickCount64();
    block->copies[0].ticks = block->started_ticks; /* nothing is known, since now */
    GetModuleFileNameW(NULL, block->program, AGENT_PATH - 1);
    block->error = start(mapping);
    if (block->error == S_OK) {
        block->step = AGENT_RUNS;
    }
    if (!table->bind_children) {
        CloseHandle(mapping);
    }
    return ERROR_SUCCESS;
}
