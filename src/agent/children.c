/* SPDX-License-Identifier: MIT
 *
 * kernel32.dll's CreateProcess functions are jumps through import slots of its own, to kernelbase.dll
 * where they have been since Windows 8. So one slot leads every caller in the process here: managed
 * code, which finds the function by name, the C runtime, native libraries. (Windows 7 has the functions
 * in kernel32.dll itself, and there this is refused. Who starts a process as another user is not led
 * here, and the process is not bound.)
 */
#include "children.h"

#include "clr/import_table.h"
#include "run/inject.h"

#include <string.h>

static __typeof__(&CreateProcessW) original_w;
static __typeof__(&CreateProcessA) original_a;
static HANDLE the_mapping;
static struct agent_table *the_table;
static struct agent_block *own_block;
static HANDLE runner; /* NULL: it lets nobody in */

static BOOL is_of_our_kind(HANDLE process)
{
    BOOL other_is_x86 = FALSE, we_are_x86 = FALSE; /* on x64 */
    return IsWow64Process(process, &other_is_x86) &&
           IsWow64Process(GetCurrentProcess(), &we_are_x86) && other_is_x86 == we_are_x86;
}

/* What cannot be bound runs all the same: NULL. */
static struct agent_block *bind_process(const PROCESS_INFORMATION *process)
{
    if (!is_of_our_kind(process->hProcess)) {
        return NULL;
    }
    LONG place = InterlockedIncrement(&the_table->count) - 1;
    if (place >= AGENT_PROCESSES) {
        return NULL;
    }
    struct agent_block *block = &the_table->blocks[place];
    block->limits = own_block->limits;
    block->faults = own_block->faults;
    block->binding_flags = own_block->binding_flags;
    block->bound = S_FALSE;
    block->process_id = process->dwProcessId;
    block->creator = (LONG)(own_block - the_table->blocks);
    if (runner) {
        DuplicateHandle(GetCurrentProcess(), process->hProcess, runner, &block->process, 0, FALSE,
                        DUPLICATE_SAME_ACCESS);
    }
    inject_agent(process->hProcess, the_mapping);
    return block;
}

/* Between CreateProcess and its caller. */
static BOOL finish(BOOL created, DWORD flags, const PROCESS_INFORMATION *process)
{
    DWORD error = GetLastError();
    struct agent_block *block = NULL;
    /* In a process under a debugger no thread runs before the debugger says so: it is our caller. */
    if (created && !(flags & (DEBUG_PROCESS | DEBUG_ONLY_THIS_PROCESS))) {
        block = bind_process(process);
    }
    if (created && !(flags & CREATE_SUSPENDED)) {
        ResumeThread(process->hThread);
    }
    if (block) {
        block->handed_over = TRUE;
    }
    InterlockedDecrement(&own_block->starts);
    SetLastError(error);
    return created;
}

static BOOL WINAPI create_process_w(const WCHAR *program, WCHAR *command_line,
                                    SECURITY_ATTRIBUTES *process_security,
                                    SECURITY_ATTRIBUTES *thread_security, BOOL inherit, DWORD flags,
                                    void *environment, const WCHAR *folder, STARTUPINFOW *startup,
                                    PROCESS_INFORMATION *process)
{
    InterlockedIncrement(&own_block->starts);
    return finish(original_w(program, command_line, process_security, thread_security, inherit,
                             flags | CREATE_SUSPENDED, environment, folder, startup, process),
                  flags, process);
}

static BOOL WINAPI create_process_a(const char *program, char *command_line,
                                    SECURITY_ATTRIBUTES *process_security,
                                    SECURITY_ATTRIBUTES *thread_security, BOOL inherit, DWORD flags,
                                    void *environment, const char *folder, STARTUPINFOA *startup,
                                    PROCESS_INFORMATION *process)
{
    InterlockedIncrement(&own_block->starts);
    return finish(original_a(program, command_line, process_security, thread_security, inherit,
                             flags | CREATE_SUSPENDED, environment, folder, startup, process),
                  flags, process);
}

static import_function choose(const struct import *import, void *context)
{
    (void)context;
    if (strcmp(import->name, "CreateProcessW") == 0) {
        original_w = (__typeof__(original_w))import->current;
        return (import_function)create_process_w;
    }
    if (strcmp(import->name, "CreateProcessA") == 0) {
        original_a = (__typeof__(original_a))import->current;
        return (import_function)create_process_a;
    }
    return NULL;
}

HRESULT children_bind(IHostMemoryManager *manager, HANDLE mapping, struct agent_table *table,
                      struct agent_block *own)
{
    struct import_slots slots;
    the_mapping = mapping;
    the_table = table;
    own_block = own;
    runner = OpenProcess(PROCESS_DUP_HANDLE, FALSE, table->runner_id);
    HRESULT hr = import_table_collect(GetModuleHandleW(L"kernel32.dll"), choose, NULL, &slots);
    if (hr == S_OK && !original_w) {
        hr = HRESULT_FROM_WIN32(ERROR_OLD_WIN_VERSION);
    }
    return hr == S_OK ? import_table_redirect(manager, &slots) : hr;
}
