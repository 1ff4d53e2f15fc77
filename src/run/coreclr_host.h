/* SPDX-License-Identifier: MIT
 *
 * Runs a program on .NET Core: load coreclr.dll by its full path, bind it to the memory manager,
 * and start it the way the program is meant to be started.
 */
#ifndef RUN_CORECLR_HOST_H
#define RUN_CORECLR_HOST_H

#include <hostmem/hostmem.h>

#include "options.h"

/* Returns -1 when the program has run, or the exit code after a message. */
int coreclr_host_run(const struct options *options, IHostMemoryManager *manager, int *exit_code);

#endif
