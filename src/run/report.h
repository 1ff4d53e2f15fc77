/* SPDX-License-Identifier: MIT
 *
 * What the manager counted while a program ran, taken when it ends and written as text or JSON.
 */
#ifndef RUN_REPORT_H
#define RUN_REPORT_H

#include <hostmem/hostmem.h>

#include "figures.h"
#include "gc_settings.h"
#include "options.h"
#include "text.h"

struct report {
    const WCHAR *program; /* of an executable; NULL: it ran in this process */
    DWORD process_id;
    const char *kind; /* "coreclr" or "framework" */
    const WCHAR *version;
    const WCHAR *path;
    const char *started_by; /* "hostfxr", "coreclr_initialize", "ICLRRuntimeHost" or "executable" */
    BOOL runs;              /* still, and has no exit code */
    DWORD exit_code;
    UINT64 milliseconds;
    UINT64 age_milliseconds; /* how long before the end of the program the figures were taken */
    UINT64 commit_limit;     /* 0: none */
    UINT64 emergency;
    UINT64 reserve_limit; /* 0: none */
    BOOL faults;          /* requests were to be refused on purpose */
    struct gc_settings gc;
    struct figures figures;
};

/* Ready to report. Opens the file, so a path that cannot be written is known before the program
 * runs. manager  NULL: the figures come from elsewhere. Returns -1, or the exit code after a message. */
int report_prepare(const struct options *options, IHostMemoryManager *manager);

/* What runs. The strings are kept, not copied. */
void report_runtime(const char *kind, const WCHAR *version, const WCHAR *path,
                    const char *started_by);

/* What the collector was told. */
void report_gc_settings(struct gc_settings settings);

/* Take the figures and write them: an exit_hook, with its limits. */
void report_write(DWORD exit_code);

/* Write the reports of other processes, of the first one and of those that it started. Their limits
 * are those of report_prepare and report_gc_settings; the rest is the caller's. */
void report_write_processes(struct report *processes, unsigned count);

void report_write_text(const struct report *report, struct text_writer *writer);

/* One object; those of `children` are the array "children" in it. */
void report_write_json(const struct report *report, const struct report *children, unsigned count,
                       struct text_writer *writer);

#endif
