/* SPDX-License-Identifier: MIT
 *
 * hostmem-run: a host as a user of the library would write it. It creates a manager, gives it to a
 * runtime, runs a program, and asks the manager what happened.
 */
#include <hostmem/hostmem.h>

#include "child_host.h"
#include "coreclr_host.h"
#include "exit_hook.h"
#include "framework_host.h"
#include "new_manager.h"
#include "options.h"
#include "pe_file.h"
#include "report.h"
#include "start_limit.h"
#include "text.h"
#include "trace_file.h"

static int check_program(const WCHAR *program, struct pe_file *file)
{
    if (!path_exists(program)) {
        return text_fail(L"%ls: no such file", program);
    }
    if (!pe_file_read(program, file)) {
        return text_fail(L"%ls is no .NET program: give the .dll or .exe that the compiler made",
                         program);
    }
    return -1;
}

/* An executable starts its runtime itself. */
static int check_executable(const struct options *options, const struct pe_file *file)
{
    if (!file->program) {
        return text_fail(L"%ls is native code: give the .dll or .exe of a .NET program",
                         options->program);
    }
    if (file->machine != pe_own_machine()) {
        return text_fail(L"%ls is for %ls, this hostmem-run for %ls: use the other one",
                         options->program, pe_machine_name(file->machine),
                         pe_machine_name(pe_own_machine()));
    }
    if (options->framework || options->start_only) {
        return text_fail(L"%ls starts its runtime itself: %ls is for a .dll", options->program,
                         options->framework ? L"--framework" : L"--start-only");
    }
    return -1;
}

/* The trace ends where the report's figures are taken, so that they are of the same calls. */
static void end_of_program(DWORD exit_code)
{
    trace_file_stop();
    report_write(exit_code);
    trace_file_close();
}

/* Of a start that cannot come to its end, on whatever thread. */
static void give_up_start(void)
{
    int exit_code = start_limit_tell();
    exit_hook_cancel();
    trace_file_stop();
    trace_file_close();
    TerminateProcess(GetCurrentProcess(), (UINT)exit_code);
}

static void crashed(void)
{
    if (start_limit_is_in_the_way()) {
        give_up_start();
    }
}

static int run(const struct options *options)
{
    IHostMemoryManager *manager;
    HOSTMEM_OPTIONS limits = new_manager_limits(options);
    HRESULT hr = new_manager(&limits, &options->faults, &manager);
    if (hr != S_OK) {
        return text_fail(L"the memory manager cannot be made: 0x%08lx", hr);
    }
    int result = report_prepare(options, manager);
    if (result >= 0) {
        return result;
    }
    if (options->trace_file) {
        result = trace_file_open(options->trace_file, &limits, &manager);
        if (result >= 0) {
            return result;
        }
    }
    if (!exit_hook_set(end_of_program, crashed)) {
        return text_fail(L"out of memory");
    }
    start_limit_begin(options, manager, give_up_start);
    int exit_code = 0;
    result = options->framework ? framework_host_run(options, manager, &exit_code)
                                : coreclr_host_run(options, manager, &exit_code);
    if (result >= 0) {
        exit_hook_cancel();
        trace_file_close();
        return result;
    }
    exit_hook_run((DWORD)exit_code);
    return exit_code;
}

int wmain(int argc, WCHAR **argv); /* as -municode calls it; no header declares it */

int wmain(int argc, WCHAR **argv)
{
    struct options options;
    struct pe_file file;
    int result = options_parse(argc, argv, &options);
    if (result < 0) {
        result = check_program(options.program, &file);
    }
    if (result >= 0) {
        return result;
    }
    if (file.managed && options.bind_children) {
        return text_fail(L"--children bind is for an executable that starts its runtime itself");
    }
    if (file.managed) {
        return run(&options);
    }
    result = check_executable(&options, &file);
    return result < 0 ? child_host_run(&options) : result;
}
