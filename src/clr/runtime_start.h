/* SPDX-License-Identifier: MIT
 *
 * Whether the bound runtime has started: until then everything it asks for is critical.
 *
 * The hosting layer of the .NET Framework passes eProcessCritical until the flag "the execution
 * engine has started" is set at the end of start-up, for a refusal before that is permanent for the
 * process. .NET Core still has the flag: ICLRRuntimeHost::GetCurrentAppDomainId answers
 * HOST_E_CLRNOTAVAILABLE as long as it is not set, and that answer is one read of it, with no lock
 * and no memory. So the binding asks at every request until the answer changes, which it does once,
 * and tells the manager then, if it wants to know (IHostRuntimeLifetime::RuntimeStarted).
 *
 * Limits: 2.0 answers only the host that started it. There, and in a module that does not export
 * GetCLRRuntimeHost, the runtime has "started" when it creates its memory resource notification,
 * which it does for the finalizer thread: before the system's own assemblies are loaded, so a part
 * of start-up is taken for the program's.
 */
#ifndef CLR_RUNTIME_START_H
#define CLR_RUNTIME_START_H

#include <hostmem/hostmem.h>

/* Whether `runtime` has begun to start. Asks nothing of it. */
BOOL runtime_start_has_begun(HMODULE runtime);

/* Begin to watch `runtime`. Call it before the heap functions are bound: what it makes the runtime
 * allocate stays allocated. A runtime whose entry point has not run yet, `initialized` FALSE, is
 * asked from the moment it creates its memory resource notification. Told of the end of the start
 * are `lifetime`, which can be NULL, and the host by options->OnStart. */
void runtime_start_watch(HMODULE runtime, BOOL initialized, IHostRuntimeLifetime *lifetime,
                         const HOSTMEM_BIND_OPTIONS *options);

/* End the watch that runtime_start_watch began, for a binding that comes to nothing. */
void runtime_start_forget(void);

/* Whether the runtime has started. Any thread, no lock. */
BOOL runtime_start_is_over(void);

/* The runtime has come to the point where it creates a memory resource notification. */
void runtime_start_reached_finalizer(void);

#endif
