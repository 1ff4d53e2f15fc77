/* SPDX-License-Identifier: MIT
 *
 * Runs a program that is an executable of its own: the apphost that the .NET SDK makes, a
 * self-contained or single-file program, a native host. It is a process of its own with our
 * environment and standard streams; hostmem is put into it before it begins.
 */
#ifndef RUN_CHILD_HOST_H
#define RUN_CHILD_HOST_H

#include "options.h"

/* Returns the exit code: the program's, or EXIT_CODE_USAGE after a message. Writes the report. */
int child_host_run(const struct options *options);

#endif
