/* SPDX-License-Identifier: MIT
 *
 * The command line: hostmem-run [options] program [arguments].
 */
#ifndef RUN_OPTIONS_H
#define RUN_OPTIONS_H

#include <windows.h>

enum gc_kind { GC_AS_CONFIGURED, GC_WORKSTATION, GC_SERVER, GC_CONCURRENT };
enum report_format { REPORT_TEXT, REPORT_JSON, REPORT_NONE };

struct options {
    const WCHAR *runtime;   /* --runtime, or where .NET is looked for */
    const WCHAR *framework; /* version of the .NET Framework; NULL: .NET Core */
    const WCHAR *entry;     /* Namespace.Type.Method for the .NET Framework */
    enum gc_kind gc;
    enum report_format report;
    const WCHAR *report_file; /* NULL: standard output */
    UINT64 commit_limit;      /* bytes; 0: none */
    UINT64 reserve_limit;     /* bytes; 0: none */
    UINT64 emergency;         /* bytes of commit_limit */
    UINT64 cushion;           /* bytes */
    BOOL overdraft;
    BOOL start_only;
    WCHAR *program; /* full path */
    int argument_count;
    WCHAR **arguments;
    int option_count; /* what stands before the program, as it was given */
    WCHAR **option_list;
};

/* Returns -1 to go on, or the exit code of a program that has said all it has to say. */
int options_parse(int argc, WCHAR **argv, struct options *options);

#endif
