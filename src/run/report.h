/* SPDX-License-Identifier: MIT
 *
 * What the manager counted while a program ran, taken when it ends and written as text or JSON.
 */
#ifndef RUN_REPORT_H
#define RUN_REPORT_H

#include <hostmem/hostmem.h>

#include "options.h"
#include "text.h"

#define REPORT_LARGEST 8

struct report {
    const char *kind; /* "coreclr" or "framework" */
    const WCHAR *version;
    const WCHAR *path;
    const char *started_by; /* "hostfxr", "coreclr_initialize" or "ICLRRuntimeHost" */
    DWORD exit_code;
    UINT64 milliseconds;
    HOSTMEM_STATISTICS statistics;
    UINT64 commit_limit; /* 0: none */
    UINT64 emergency;
    UINT64 reserve_limit;   /* 0: none */
    BOOL faults;            /* requests were to be refused on purpose */
    UINT64 hard_limit;      /* for the collected heap; 0: none was set */
    UINT64 commit_bytes;    /* by the manager's count … */
    UINT64 commit_os_bytes; /* … and by the OS, at the same moment */
    UINT64 write_watch_regions;
    HOSTMEM_REGION largest[REPORT_LARGEST]; /* descending */
    unsigned largest_count;
};

/* Ready to report at exit. Opens the file, so a path that cannot be written is known before the
 * program runs. Returns -1, or the exit code after a message. */
int report_prepare(const struct options *options, IHostMemoryManager *manager);

/* What runs. The strings are kept, not copied. */
void report_runtime(const char *kind, const WCHAR *version, const WCHAR *path,
                    const char *started_by);

/* What the runtime was told of its limit: the heap hard limit, or 0. */
void report_hard_limit(UINT64 bytes);

/* Take the figures and write them: an exit_hook, with its limits. */
void report_write(DWORD exit_code);

void report_write_text(const struct report *report, struct text_writer *writer);
void report_write_json(const struct report *report, struct text_writer *writer);

#endif
