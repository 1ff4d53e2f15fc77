/* SPDX-License-Identifier: MIT */
#include "start_limit.h"
#include "gc_settings.h"
#include "text.h"

#include <wchar.h>

#define STEP ((UINT64)64 << 10)     /* how exactly the limit is found */
#define LARGEST ((UINT64)256 << 20) /* no start takes more */
#define PATIENCE_MS 10000           /* for a start that hangs */

/* The start of this process. */
static const struct options *starting;
static IHostMemoryManager *starting_with;
static void (*when_stuck)(void);
static LONG started, telling;

static BOOL get_statistics(IHostMemoryManager *manager, HOSTMEM_STATISTICS *statistics)
{
    void *object;
    *statistics = (HOSTMEM_STATISTICS){.Size = sizeof(*statistics)};
    if (IHostMemoryManager_QueryInterface(manager, &IID_IHostMemoryStatistics, &object) != S_OK) {
        return FALSE;
    }
    IHostMemoryStatistics *source = object;
    HRESULT hr = IHostMemoryStatistics_GetStatistics(source, statistics);
    IHostMemoryStatistics_Release(source);
    return hr == S_OK;
}

BOOL start_limit_refused(const HOSTMEM_STATISTICS *statistics)
{
    return statistics->DeniedTask + statistics->DeniedAppDomain + statistics->DeniedProcess > 0;
}

/* ---- A start that dies or hangs ---- */

BOOL start_limit_was_reached(void)
{
    HOSTMEM_STATISTICS statistics;
    return starting && (starting->commit_limit || starting->reserve_limit) &&
           get_statistics(starting_with, &statistics) && start_limit_refused(&statistics);
}

BOOL start_limit_is_in_the_way(void)
{
    return !started && start_limit_was_reached();
}

static DWORD WINAPI watch(void *unused)
{
    ULONGLONG refused = 0;
    (void)unused;
    while (!started) {
        Sleep(200);
        ULONGLONG now = GetTickCount64();
        if (!refused && start_limit_is_in_the_way()) {
            refused = now;
        }
        if (refused && now - refused >= PATIENCE_MS && !started) {
            when_stuck();
        }
    }
    return 0;
}

void start_limit_begin(const struct options *options, IHostMemoryManager *manager,
                       void (*give_up)(void))
{
    starting = options;
    starting_with = manager;
    when_stuck = give_up;
    if (options->commit_limit || options->reserve_limit) {
        HANDLE thread = CreateThread(NULL, 0, watch, NULL, 0, NULL);
        if (thread) { /* or a start that hangs, hangs */
            CloseHandle(thread);
        }
    }
}

void CALLBACK start_limit_started(void *context)
{
    (void)context;
    InterlockedExchange(&started, TRUE);
}

int start_limit_tell(void)
{
    HOSTMEM_STATISTICS statistics;
    get_statistics(starting_with, &statistics);
    return start_limit_explain(starting, &statistics);
}

/* ---- Trying ---- */

/* This program with the same options; those behind them win. Only a trace is none to be taken. */
static WCHAR *command_line(const struct options *options, UINT64 limit)
{
    static WCHAR self[MAX_PATH];
    GetModuleFileNameW(NULL, self, MAX_PATH);
    const WCHAR *line = text_quoted(self);
    for (int i = 0; i < options->option_count; i++) {
        if (wcsncmp(options->option_list[i], L"--trace", 7) == 0) {
            i += options->option_list[i][7] == 0; /* its value is the next one */
            continue;
        }
        line = text_format(L"%ls %ls", line, text_quoted(options->option_list[i]));
    }
    UINT64 emergency = options->emergency < limit ? options->emergency : limit;
    if (!options->framework) {
        line = text_format(L"%ls --runtime %ls", line, text_quoted(options->runtime));
    }
    return text_format(L"%ls --children ignore --start-only --report none --commit-limit %I64u "
                       L"--emergency %I64u %ls",
                       line, limit, emergency, text_quoted(options->program));
}

/* Whether the runtime starts with this limit; nothing that it says is shown. */
static BOOL starts_with(const struct options *options, UINT64 limit)
{
    STARTUPINFOW startup = {.cb = sizeof(startup), .dwFlags = STARTF_USESTDHANDLES};
    PROCESS_INFORMATION process;
    DWORD exit_code = 1;
    if (!CreateProcessW(NULL, command_line(options, limit), NULL, NULL, FALSE, CREATE_NO_WINDOW,
                        NULL, NULL, &startup, &process)) {
        return FALSE;
    }
    if (WaitForSingleObject(process.hProcess, PATIENCE_MS) != WAIT_OBJECT_0) {
        TerminateProcess(process.hProcess, exit_code);
    }
    GetExitCodeProcess(process.hProcess, &exit_code);
    CloseHandle(process.hThread);
    CloseHandle(process.hProcess);
    return exit_code == 0;
}

/* 0: there is none. */
static UINT64 smallest_limit(const struct options *options)
{
    UINT64 low = options->commit_limit / STEP, high = low + 1;
    gc_settings_forget_limit();
    while (!starts_with(options, high * STEP)) {
        low = high;
        high *= 2;
        if (high * STEP > LARGEST) {
            return 0;
        }
    }
    while (high - low > 1) {
        UINT64 middle = low + (high - low) / 2;
        if (starts_with(options, middle * STEP)) {
            high = middle;
        } else {
            low = middle;
        }
    }
    return high * STEP;
}

int start_limit_explain(const struct options *options, const HOSTMEM_STATISTICS *statistics)
{
    if (InterlockedExchange(&telling, TRUE)) {
        Sleep(INFINITE); /* the one that tells ends the process */
    }
    if (statistics->DeniedReserve) {
        return text_fail(L"the runtime does not start with --reserve-limit %I64u (%I64u bytes "
                         L"reserved when it was refused more)",
                         options->reserve_limit, statistics->ReservePeakBytes);
    }
    UINT64 smallest = options->start_only ? 0 : smallest_limit(options);
    return text_fail(
        L"the runtime does not start with --commit-limit %I64u (%I64u bytes in use when "
        L"it was refused more)%ls",
        options->commit_limit, statistics->ChargedPeakBytes,
        smallest ? text_format(L"; the smallest that it starts with is %I64uK", smallest >> 10)
                 : L"");
}
