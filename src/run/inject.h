/* SPDX-License-Identifier: MIT
 *
 * hostmem in a process that has not begun: its first thread is suspended, and a thread that is made
 * in it from outside runs the loader's start before that. So hostmem.dll and the agent are loaded,
 * and the agent has done its work, before the program's first instruction.
 */
#ifndef RUN_INJECT_H
#define RUN_INJECT_H

#include <windows.h>

/* mapping  handle of a file mapping with a struct agent_table, in which the process has a block; it
 *          gets a handle of its own.
 * Returns ERROR_SUCCESS when the agent has come back; the block tells with what. */
DWORD inject_agent(HANDLE process, HANDLE mapping);

#endif
