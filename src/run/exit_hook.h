/* SPDX-License-Identifier: MIT
 *
 * A last call before the process ends, however it ends short of termination from outside.
 *
 * A program that returns from Main comes back to the host. One that calls Environment.Exit never
 * does: the runtime calls ExitProcess. And one that ends by an unhandled exception never leaves the
 * exception. Two hooks catch them:
 *
 *     ExitProcess     calls the TLS callbacks of this executable, and before that the FLS callbacks
 *                     of the calling thread. Windows does both; Wine leaves out the former, so every
 *                     thread gets an FLS value when it starts. By then all other threads have been
 *                     ended with the exit code; a thread that only waits keeps it for us.
 *     an exception    ends in the process's one filter for unhandled exceptions. The runtime sets
 *                     its own when it starts, so ours is put before it when an exception is raised,
 *                     and calls it first. The exit code will be the exception's.
 *
 * What terminates the process (Environment.FailFast, stack overflow) asks nobody. Where a bound runtime
 * does it, HOSTMEM_BIND_OPTIONS.OnTermination tells; exit_hook_run_apart is for that.
 */
#ifndef RUN_EXIT_HOOK_H
#define RUN_EXIT_HOOK_H

#include <windows.h>

/* Called at most once. Other threads may be gone and the loader lock held; from a TLS callback the
 * C runtime has ended as well: system calls and hostmem only. */
typedef void exit_hook(DWORD exit_code);

/* Called for an exception that nobody handles, on its thread, before the runtime has printed it. When it
 * returns, everything takes its course. */
typedef void crash_hook(void);

/* Set the hooks; `crash` may be NULL. Before the runtime starts. Returns FALSE without memory for a
 * thread. */
BOOL exit_hook_set(exit_hook *hook, crash_hook *crash);

/* Call the hook now, from a program that came back, unless it was called already. */
void exit_hook_run(DWORD exit_code);

/* Call it on another thread, unless it was called already, and give it three seconds: for a thread
 * that may be out of stack, and may hold what the hook waits for. */
void CALLBACK exit_hook_run_apart(void *context, UINT32 exit_code);

/* Do without: the process ends after an error of our own. */
void exit_hook_cancel(void);

#endif
