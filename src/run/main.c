/* SPDX-License-Identifier: MIT
 *
 * hostmem-run: a host as a user of the library would write it. It creates a manager, gives it to a
 * runtime, runs a program, and asks the manager what happened.
 */
#include <hostmem/hostmem.h>

#include "coreclr_host.h"
#include "exit_hook.h"
#include "framework_host.h"
#include "options.h"
#include "pe_file.h"
#include "report.h"
#include "text.h"
#include "trace_file.h"

static int check_program(const WCHAR *program)
{
    struct pe_file file;
    if (!path_exists(program)) {
        return text_fail(L"%ls: no such file", program);
    }
    if (!pe_file_read(program, &file)) {
        return text_fail(L"%ls is no .NET program: give the .dll or .exe that the compiler made",
                         program);
    }
    if (!file.managed) {
        const WCHAR *dll = path_with_extension(program, L".dll");
        return path_exists(dll)
                   ? text_fail(L"%ls is native code; the .NET program is %ls", program, dll)
                   : text_fail(L"%ls is native code: give the .dll or .exe of a .NET program",
                               program);
    }
    return -1;
}

/* Says why it cannot be done, or returns -1. */
static int set_faults(IHostMemoryManager *manager, const HOSTMEM_FAULTS *faults)
{
    void *policy;
    HRESULT hr = IHostMemoryManager_QueryInterface(manager, &IID_IHostMemoryPolicy, &policy);
    if (hr == S_OK) {
        hr = IHostMemoryPolicy_SetFaults((IHostMemoryPolicy *)policy, faults);
        IHostMemoryPolicy_Release((IHostMemoryPolicy *)policy);
    }
    return hr == S_OK ? -1 : text_fail(L"the memory manager refuses --fault (0x%08lx)", hr);
}

/* The trace ends where the report's figures are taken, so that they are of the same calls. */
static void end_of_program(DWORD exit_code)
{
    trace_file_stop();
    report_write(exit_code);
    trace_file_close();
}

static int run(const struct options *options)
{
    IHostMemoryManager *manager;
    HOSTMEM_OPTIONS limits = {
        .Size = sizeof(limits),
        .Flags = options->overdraft ? HOSTMEM_FLAG_OVERDRAFT : 0,
        .CommitLimit = options->commit_limit,
        .ReserveLimit = options->reserve_limit,
        .EmergencyCommit = options->emergency,
        .AddressSpaceCushion = options->cushion,
    };
    HRESULT hr = HostMemCreateManager(&limits, &manager);
    if (FAILED(hr)) {
        return text_fail(L"HostMemCreateManager returned 0x%08lx", hr);
    }
    int result = report_prepare(options, manager);
    if (result < 0 && options->faults.Size != 0) {
        result = set_faults(manager, &options->faults);
    }
    if (result >= 0) {
        return result;
    }
    if (options->trace_file) {
        result = trace_file_open(options->trace_file, &limits, &manager);
        if (result >= 0) {
            return result;
        }
    }
    if (!exit_hook_set(end_of_program)) {
        return text_fail(L"out of memory");
    }
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
    int result = options_parse(argc, argv, &options);
    if (result < 0) {
        result = check_program(options.program);
    }
    return result < 0 ? run(&options) : result;
}
