/* SPDX-License-Identifier: MIT
 *
 * Runs a method on the .NET Framework's CLR, which takes the memory manager itself: mscoree.dll
 * leads to the runtime, SetHostControl hands over the manager, Start starts.
 */
#ifndef RUN_FRAMEWORK_HOST_H
#define RUN_FRAMEWORK_HOST_H

#include <hostmem/hostmem.h>

#include "options.h"

/* Returns -1 when the method has run and its result is in *exit_code, or the exit code after a
 * message. */
int framework_host_run(const struct options *options, IHostMemoryManager *manager, int *exit_code);

#endif
