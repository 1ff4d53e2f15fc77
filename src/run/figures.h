/* SPDX-License-Identifier: MIT
 *
 * What a manager knows at one moment, as a block of plain numbers: it can lie in memory that two
 * processes share.
 */
#ifndef RUN_FIGURES_H
#define RUN_FIGURES_H

#include <hostmem/hostmem.h>

#define FIGURES_LARGEST 8
#define FIGURES_FUNCTIONS 96

struct figures {
    UINT64 ticks; /* GetTickCount64 when they were taken */
    HOSTMEM_STATISTICS statistics;
    UINT64 commit_bytes;    /* by the manager's count … */
    UINT64 commit_os_bytes; /* … and by the OS, at the same moment */
    UINT64 write_watch_regions;
    HOSTMEM_REGION largest[FIGURES_LARGEST]; /* descending */
    UINT32 largest_count;
    HOSTMEM_BINDING binding;
    HOSTMEM_FUNCTION functions[FIGURES_FUNCTIONS]; /* the first that were met */
    UINT32 function_count;
};

/* Take them. Calls the system and hostmem only: it can be done while the process ends. */
void figures_take(IHostMemoryStatistics *source, struct figures *figures);

#endif
