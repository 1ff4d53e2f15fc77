/* SPDX-License-Identifier: MIT
 *
 * A runtime that cannot go on ends the process without a word to anybody in it: after
 * Environment.FailFast, a stack overflow, or damage that it has found in itself. It calls
 * RaiseFailFastException, and TerminateProcess where that comes back. The host hears of it here, and
 * a program that ends itself by TerminateProcess is heard as well: it has asked the runtime for the
 * function.
 */
#include "bound_private.h"

#define FAIL_FAST_EXCEPTION 0xc0000602u /* STATUS_, where no exception is given */

/* For each call: who comes second must not end the process while the host is at work for the first. */
static void process_ends(UINT32 exit_code)
{
    const HOSTMEM_BIND_OPTIONS *options = &targets.options;
    if (options->OnTermination) {
        options->OnTermination(options->Context, exit_code);
    }
}

BOOL WINAPI bound_TerminateProcess(HANDLE process, UINT exit_code)
{
    DWORD error = GetLastError();
    if (is_this_process(process)) {
        process_ends(exit_code);
    }
    SetLastError(error);
    return original.TerminateProcess(process, exit_code);
}

void WINAPI bound_RaiseFailFastException(EXCEPTION_RECORD *exception, CONTEXT *context, DWORD flags)
{
    process_ends(exception ? exception->ExceptionCode : FAIL_FAST_EXCEPTION);
    original.RaiseFailFastException(exception, context, flags);
}
