/* SPDX-License-Identifier: MIT
 *
 * kernel32.dll's CreateProcessW is a jump through an import slot of its own, to kernelbase.dll where
 * the function has been since Windows 8. So one slot leads every caller in the process here: managed
 * code, which finds the function by name, the C runtime, native libraries. (Windows 7 has the function
 * in kernel32.dll itself, and there this is refused.)
 */
#include "children.h"

#include "clr/import_table.h"
#include "run/inject.h"

#include <string.h>

static __typeof__(&CreateProcessW) original;
static HANDLE the_mapping;
static struct agent_board *the_board;
static const struct agent_block *settings;

static BOOL is_of_our_kind(HANDLE process)
{
    BOOL other_is_x86 = FALSE, we_are_x86 = FALSE; /* on x64 */
    return IsWow64Process(process, &other_is_x86) &&
           IsWow64Process(GetCurrentProcess(), &we_are_x86) && other_is_x86 == we_are_x86;
}

/* What cannot be bound runs all the same. */
static void bind_process(const PROCESS_INFORMATION *process)
{
    if (!is_of_our_kind(process->hProcess)) {
        return;
    }
    LONG place = InterlockedIncrement(&the_board->count) - 1;
    if (place < AGENT_PROCESSES) {
        struct agent_block *block = &the_board->blocks[place];
        block->limits = settings->limits;
        block->faults = settings->faults;
        block->binding_flags = settings->binding_flags;
        block->bound = S_FALSE;
        block->process_id = process->dwProcessId;
        inject_agent(process->hProcess, the_mapping);
    }
}

static BOOL WINAPI create_process(const WCHAR *program, WCHAR *command_line,
                                  SECURITY_ATTRIBUTES *process_security,
                                  SECURITY_ATTRIBUTES *thread_security, BOOL inherit, DWORD flags,
                                  void *environment, const WCHAR *folder, STARTUPINFOW *startup,
                                  PROCESS_INFORMATION *process)
{
    if (!original(program, command_line, process_security, thread_security, inherit,
                  flags | CREATE_SUSPENDED, environment, folder, startup, process)) {
        return FALSE;
    }
    DWORD error = GetLastError();
    /* In a process under a debugger no thread runs before the debugger says so: it is our caller. */
    if (!(flags & (DEBUG_PROCESS | DEBUG_ONLY_THIS_PROCESS))) {
        bind_process(process);
    }
    if (!(flags & CREATE_SUSPENDED)) {
        ResumeThread(process->hThread);
    }
    SetLastError(error);
    return TRUE;
}

static import_function choose(const struct import *import, void *context)
{
    (void)context;
    if (strcmp(import->name, "CreateProcessW") != 0) {
        return NULL;
    }
    original = (__typeof__(original))import->current;
    return (import_function)create_process;
}

HRESULT children_bind(IHostMemoryManager *manager, HANDLE mapping, struct agent_board *board,
                      const struct agent_block *own)
{
    struct import_slots slots;
    the_mapping = mapping;
    the_board = board;
    settings = own;
    HRESULT hr = import_table_collect(GetModuleHandleW(L"kernel32.dll"), choose, NULL, &slots);
    if (hr == S_OK && slots.count == 0) {
        hr = HRESULT_FROM_WIN32(ERROR_OLD_WIN_VERSION);
    }
    return hr == S_OK ? import_table_redirect(manager, &slots) : hr;
}
