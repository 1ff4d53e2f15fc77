/* SPDX-License-Identifier: MIT
 *
 * What to say when a runtime does not start because of its commit limit: which limit it needs. No
 * figure of the failed start tells that, and a start without a limit takes another course, so it is
 * tried out: the same start, in other processes, with one limit after the other.
 *
 * A runtime that is refused memory while it starts may return an error, die of an exception on any of its
 * threads, sometimes while the error is being told already, or hang. All three are told in the same way:
 * the first thread to tell ends the process, any other one waits for that.
 */
#ifndef RUN_START_LIMIT_H
#define RUN_START_LIMIT_H

#include <hostmem/hostmem.h>

#include "options.h"

/* What hostfxr returns, after it has printed why, when coreclr_initialize has failed. */
#define CORECLR_INIT_FAILED 0x80008089u

/* The runtime is about to be started with this manager; both must stay. With a limit, a start that has
 * not come to its end ten seconds after the manager was asked for more than there is, is over: `give_up`
 * is called, by a thread for that. */
void start_limit_begin(const struct options *options, IHostMemoryManager *manager,
                       void (*give_up)(void));

/* It has started. HOSTMEM_BIND_OPTIONS.OnStart. */
void CALLBACK start_limit_started(void *context);

/* Whether the manager has refused that runtime anything for lack of budget; and that while it is still
 * starting. */
BOOL start_limit_was_reached(void);
BOOL start_limit_is_in_the_way(void);

/* Say so in one line and return the exit code. Takes a second or two. */
int start_limit_tell(void);

/* The same for the manager of another process: what it knew when that had ended. With start_only no
 * smallest limit is looked for. */
BOOL start_limit_refused(const HOSTMEM_STATISTICS *statistics);
int start_limit_explain(const struct options *options, const HOSTMEM_STATISTICS *statistics);

#endif
