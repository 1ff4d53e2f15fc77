/* SPDX-License-Identifier: MIT
 *
 * The program is started suspended, is given the agent, and runs; meanwhile we wait. What the agent
 * knows lies in memory that both have, so it is there when the program has ended in any way.
 */
#include "child_host.h"
#include "agent_block.h"
#include "child_job.h"
#include "gc_settings.h"
#include "inject.h"
#include "new_manager.h"
#include "report.h"
#include "start_limit.h"
#include "text.h"

#include <wchar.h>

#define MANAGED_EXCEPTION 0xe0434352u /* that nobody caught: it says itself what it is */
#define START_FAILURE 0x80008089u     /* an apphost whose coreclr_initialize failed */

#define CLOSE_PATIENCE_MS 2000 /* of the five seconds that there are when a console is closed */
#define REPORT_MS 500
#define LOOK_MS 250 /* for what was abandoned */

/* ---- The settings ---- */

/* An executable finds its runtime by DOTNET_ROOT, or by another name where x64 has taken that one; from
 * 6.0 on it looks at a third name first. What is no installation cannot be meant. */
static void name_runtime_folder(const struct options *options)
{
    BOOL beside_x64 = FALSE;
    IsWow64Process(GetCurrentProcess(), &beside_x64);
    if (options->runtime_is_given &&
        path_exists(text_format(L"%ls\\host\\fxr", options->runtime))) {
        SetEnvironmentVariableW(beside_x64 ? L"DOTNET_ROOT(x86)" : L"DOTNET_ROOT",
                                options->runtime);
        SetEnvironmentVariableW(sizeof(void *) == 8 ? L"DOTNET_ROOT_X64" : L"DOTNET_ROOT_X86",
                                options->runtime);
    }
}

/* Before anything is set. */
static struct agent_table *create_table(const struct options *options, HANDLE *mapping)
{
    *mapping = CreateFileMappingW(INVALID_HANDLE_VALUE, NULL, PAGE_READWRITE, 0,
                                  sizeof(struct agent_table), NULL);
    static const WCHAR *const variables[] = {AGENT_VARIABLES};
    struct agent_table *table =
        *mapping ? MapViewOfFile(*mapping, FILE_MAP_ALL_ACCESS, 0, 0, sizeof(*table)) : NULL;
    if (table) {
        struct agent_block *block = &table->blocks[0];
        table->bind_children = options->bind_children;
        table->runner_id = GetCurrentProcessId();
        for (int i = 0; i < AGENT_VARIABLE_COUNT; i++) {
            GetEnvironmentVariableW(variables[i], table->variables[i], AGENT_PATH);
        }
        table->count = 1;
        block->limits = new_manager_limits(options);
        block->faults = options->faults;
        block->binding_flags = options->binding_flags;
        block->bound = S_FALSE;
        if (options->trace_file) {
            wcsncpy(block->trace_file, options->trace_file, AGENT_PATH - 1);
        }
    }
    return table;
}

static WCHAR *command_line(const struct options *options)
{
    const WCHAR *line = text_quoted(options->program);
    for (int i = 0; i < options->argument_count; i++) {
        line = text_format(L"%ls %ls", line, text_quoted(options->arguments[i]));
    }
    return text_format(L"%ls", line);
}

/* ---- The process ---- */

static HANDLE running; /* the program */

/* Signals are for the program, which gets them too; we stay for its report. When the console is closed,
 * the system ends us after some seconds, perhaps before the program has heard of it. */
static BOOL WINAPI ignore_signal(DWORD signal)
{
    if (signal != CTRL_C_EVENT && signal != CTRL_BREAK_EVENT) {
        child_job_outlives_us();
        WaitForSingleObject(running, CLOSE_PATIENCE_MS);
        Sleep(REPORT_MS);
        return FALSE;
    }
    return TRUE;
}

static DWORD start_suspended(const struct options *options, PROCESS_INFORMATION *process)
{
    STARTUPINFOW startup = {
        .cb = sizeof(startup),
        .dwFlags = STARTF_USESTDHANDLES,
        .hStdInput = GetStdHandle(STD_INPUT_HANDLE),
        .hStdOutput = GetStdHandle(STD_OUTPUT_HANDLE),
        .hStdError = GetStdHandle(STD_ERROR_HANDLE),
    };
    SetConsoleCtrlHandler(ignore_signal, TRUE);
    return CreateProcessW(options->program, command_line(options), NULL, NULL, TRUE,
                          CREATE_SUSPENDED, NULL, NULL, &startup, process)
               ? ERROR_SUCCESS
               : GetLastError();
}

/* Why the agent cannot do its work, or -1. */
static int check_agent(const struct options *options, const struct agent_block *block,
                       HANDLE process, DWORD error)
{
    DWORD exit_code = 0;
    /* The loader ends a process that lacks a DLL for instance. */
    if (error != ERROR_SUCCESS && WaitForSingleObject(process, 1000) == WAIT_OBJECT_0) {
        GetExitCodeProcess(process, &exit_code);
        return text_fail(L"%ls cannot be started: it ended with 0x%08lx", options->program,
                         exit_code);
    }
    if (error == ERROR_ACCESS_DENIED) {
        return text_fail(L"%ls lets nobody in: it is a protected process", options->program);
    }
    if (error != ERROR_SUCCESS) {
        return text_fail(L"hostmem cannot be put into %ls: error %lu", options->program, error);
    }
    switch (block->step) {
    case AGENT_RUNS:
        return -1;
    case AGENT_CREATES_MANAGER:
        return text_fail(L"the memory manager cannot be made: 0x%08lx", block->error);
    case AGENT_BINDS_CHILDREN:
        return text_fail(L"--children bind is not possible on this system: 0x%08lx", block->error);
    case AGENT_OPENS_TRACE:
        return text_fail(L"cannot write the trace to %ls: error %lu", options->trace_file,
                         HRESULT_CODE(block->error));
    default:
        return text_fail(L"cannot bind %ls: 0x%08lx", options->program, block->error);
    }
}

static void wait_for_end(struct agent_table *table, HANDLE process)
{
    DWORD period = table->bind_children ? LOOK_MS : INFINITE;
    table->blocks[0].process = process;
    while (WaitForSingleObject(process, period) == WAIT_TIMEOUT) {
        child_job_resume_abandoned(table);
    }
    child_job_resume_abandoned(table);
}

/* From its first instruction to its end. Returns -1 and the exit code, or that after a message. */
static int run_to_end(const struct options *options, struct agent_table *table, HANDLE mapping,
                      DWORD *exit_code)
{
    PROCESS_INFORMATION process;
    struct agent_block *block = &table->blocks[0];
    DWORD error = start_suspended(options, &process);
    if (error != ERROR_SUCCESS) {
        return text_fail(L"%ls cannot be started: error %lu", options->program, error);
    }
    running = process.hProcess;
    child_job_add(process.hProcess);
    block->process_id = process.dwProcessId;
    int result =
        check_agent(options, block, process.hProcess, inject_agent(process.hProcess, mapping));
    if (result < 0) {
        ResumeThread(process.hThread);
    } else {
        TerminateProcess(process.hProcess, EXIT_CODE_USAGE);
    }
    wait_for_end(table, process.hProcess);
    GetExitCodeProcess(process.hProcess, exit_code);
    child_job_end();
    CloseHandle(process.hThread);
    return result;
}

static void close_table(struct agent_table *table, HANDLE mapping)
{
    struct agent_block *block;
    for (LONG i = 0; (block = agent_block_at(table, i)) != NULL; i++) {
        if (block->process) {
            CloseHandle(block->process);
        }
    }
    UnmapViewOfFile(table);
    CloseHandle(mapping);
}

/* ---- What is said of it ---- */

static const struct figures *figures_of(const struct agent_block *block)
{
    return block->ended ? &block->last : &block->copies[block->sequence & 1];
}

/* FALSE: it has none yet. What is seen from outside is right in any case. */
static BOOL exit_code_of(const struct agent_block *block, DWORD *exit_code)
{
    if (process_has_ended(block->process)) {
        return GetExitCodeProcess(block->process, exit_code);
    }
    *exit_code = block->exit_code;
    return block->ended;
}

/* As GetTickCount64 tells it: when it ended, or now. */
static UINT64 last_ticks(const struct agent_block *block)
{
    UINT64 ticks = GetTickCount64();
    FILETIME begin, end = {0, 0}, kernel, user, now;
    if (process_has_ended(block->process) &&
        GetProcessTimes(block->process, &begin, &end, &kernel, &user)) {
        GetSystemTimeAsFileTime(&now);
        UINT64 since = ((UINT64)now.dwHighDateTime << 32 | now.dwLowDateTime) -
                       ((UINT64)end.dwHighDateTime << 32 | end.dwLowDateTime);
        ticks -= since / 10000; /* of 100 ns each */
    }
    return ticks;
}

static struct report report_of(const struct agent_block *block)
{
    const struct figures *figures = figures_of(block);
    UINT64 last = last_ticks(block);
    UINT64 age = last > figures->ticks ? last - figures->ticks : 1;
    DWORD exit_code;
    BOOL has_code = exit_code_of(block, &exit_code);
    return (struct report){
        .program = block->program,
        .process_id = block->process_id,
        .kind = "coreclr",
        .version = block->runtime_version,
        .path = block->runtime_path,
        .started_by = "executable",
        .runs = !has_code,
        .exit_code = exit_code,
        .milliseconds = figures->ticks - block->started_ticks,
        .age_milliseconds = block->ended ? 0 : age,
        .figures = *figures,
    };
}

/* Of every process that ran .NET. Returns how many there were. */
static unsigned write_reports(const struct agent_table *table,
                              const struct runtime_location *location)
{
    static struct report reports[AGENT_PROCESSES];
    unsigned count = 0;
    for (LONG i = 0; i < table->count && i < AGENT_PROCESSES; i++) {
        if (table->blocks[i].bound == S_OK) {
            reports[count] = report_of(&table->blocks[i]);
            if (i == 0 && !*reports[count].version && location->runtime_config) {
                reports[count].version = location->version; /* it is in the program's folder */
            }
            count++;
        }
    }
    if (count > 0) {
        report_write_processes(reports, count);
    }
    return count;
}

/* The smallest limit is found by starts of the program's DLL, which is beside an apphost: the runtime
 * starts as it does for the executable, and nothing of the program runs. A single-file program cannot
 * be started in part. */
static int explain_start(const struct options *options, const struct agent_block *block)
{
    struct options trial = *options;
    trial.program = path_with_extension(options->program, L".dll");
    trial.start_only = !path_exists(trial.program);
    const WCHAR *folder = path_folder(options->program);
    if (path_exists(text_format(L"%ls\\coreclr.dll", folder))) { /* self-contained */
        trial.runtime = folder;
    }
    return start_limit_explain(&trial, &figures_of(block)->statistics);
}

/* An exception ended it, and none that managed code has named already. Ctrl+C is no fault, and small
 * negative numbers are a program's own. */
static BOOL is_crash(DWORD exit_code)
{
    return exit_code >= 0x80000000u && exit_code < 0xffff0000u && exit_code != MANAGED_EXCEPTION &&
           exit_code != (DWORD)STATUS_CONTROL_C_EXIT;
}

/* Whatever it is that a runtime did not bear, a refusal comes before it. */
static void explain_crash(const struct options *options, const struct agent_block *block,
                          DWORD exit_code)
{
    const HOSTMEM_STATISTICS *known = &figures_of(block)->statistics;
    text_fail(L"%ls crashed with 0x%08lx in a commit limit of %I64u bytes: %lsit was refused %I64u "
              L"requests, with %I64u bytes in use",
              path_name(options->program), exit_code, options->commit_limit,
              block->ended ? L"" : L"as far as is known ",
              known->DeniedTask + known->DeniedAppDomain + known->DeniedProcess,
              known->ChargedPeakBytes);
}

/* What is to be said when the program has ended. Returns the exit code. */
static int conclude(const struct options *options, const struct agent_table *table, DWORD exit_code,
                    const struct runtime_location *location)
{
    const struct agent_block *block = &table->blocks[0];
    const WCHAR *name = path_name(options->program);
    if (FAILED(block->bound)) {
        text_fail(L"the runtime that %ls loaded cannot be bound: 0x%08lx", name, block->bound);
    } else if (block->bound == S_OK && (!block->start_bytes || exit_code == START_FAILURE) &&
               start_limit_refused(&figures_of(block)->statistics)) {
        return explain_start(options, block);
    } else if (write_reports(table, location) == 0) {
        text_fail(L"%ls ended with %ls and never loaded a .NET runtime", name,
                  text_format(exit_code < 0x80000000u ? L"%lu" : L"0x%08lx", exit_code));
    }
    if (block->bound == S_OK && options->commit_limit && is_crash(exit_code) &&
        start_limit_refused(&figures_of(block)->statistics)) {
        explain_crash(options, block, exit_code);
    }
    if (block->trace_missing) {
        text_fail(L"calls that the trace lacks: %I64u", block->trace_missing);
    }
    if (table->count > AGENT_PROCESSES) {
        text_fail(L"%ls started %ld processes, of which the first %d were bound", name,
                  table->count - 1, AGENT_PROCESSES - 1);
    }
    return (int)exit_code;
}

int child_host_run(const struct options *options)
{
    HANDLE mapping;
    struct agent_table *table = create_table(options, &mapping);
    if (!table) {
        return text_fail(L"out of memory");
    }
    int result = report_prepare(options, NULL);
    if (result < 0) {
        struct runtime_location location;
        DWORD exit_code = 0;
        name_runtime_folder(options);
        runtime_of_executable(options->program, &location);
        report_gc_settings(gc_settings_apply(options, &location));
        result = run_to_end(options, table, mapping, &exit_code);
        if (result < 0) {
            result = conclude(options, table, exit_code, &location);
        }
    }
    close_table(table, mapping);
    return result;
}
