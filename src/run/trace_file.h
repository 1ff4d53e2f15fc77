/* SPDX-License-Identifier: MIT
 *
 * --trace: a recording manager in front of the one that there is.
 */
#ifndef RUN_TRACE_FILE_H
#define RUN_TRACE_FILE_H

#include <hostmem/hostmem.h>

/* Replaces *manager by one that records into the file. Returns -1, or the exit code after a message.
 * `limits` is what the manager was made with. */
int trace_file_open(const WCHAR *path, const HOSTMEM_OPTIONS *limits, IHostMemoryManager **manager);

/* Record nothing more. Then write what is left, and say on stderr how many calls are missing, if
 * any. Both do nothing without a trace, and may be called as an exit_hook may. */
void trace_file_stop(void);
void trace_file_close(void);

#endif
