/* SPDX-License-Identifier: MIT
 *
 * What to say when a runtime does not start because of its commit limit: which limit it needs. No
 * figure of the failed start tells that, and a start without a limit takes another course, so it is
 * tried out: the same start, in other processes, with one limit after the other.
 */
#ifndef RUN_START_LIMIT_H
#define RUN_START_LIMIT_H

#include <hostmem/hostmem.h>

#include "options.h"

/* What hostfxr returns, after it has printed why, when coreclr_initialize has failed. */
#define CORECLR_INIT_FAILED 0x80008089u

/* Whether the manager has refused the runtime anything for lack of budget. */
BOOL start_limit_was_reached(const struct options *options, IHostMemoryManager *manager);

/* Says so in one line and returns the exit code. Takes a second or two. */
int start_limit_fail(const struct options *options, IHostMemoryManager *manager);

/* The same, for the manager of another process: what it knew when that had ended. With start_only no
 * smallest limit is looked for. */
BOOL start_limit_refused(const HOSTMEM_STATISTICS *statistics);
int start_limit_explain(const struct options *options, const HOSTMEM_STATISTICS *statistics);

#endif
