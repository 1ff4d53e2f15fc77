/* SPDX-License-Identifier: MIT
 *
 * The command line: hostmem-run [options] program [arguments].
 */
#ifndef RUN_OPTIONS_H
#define RUN_OPTIONS_H

#include <hostmem/hostmem.h>

enum gc_kind { GC_AS_CONFIGURED, GC_WORKSTATION, GC_SERVER, GC_CONCURRENT };
enum report_format { REPORT_TEXT, REPORT_JSON, REPORT_NONE };

struct options {
    const WCHAR *runtime;   /* --runtime, or where .NET is looked for */
    BOOL runtime_is_given;  /* by --runtime or HOSTMEM_RUNTIME, which mean nobody but us */
    const WCHAR *framework; /* version of the .NET Framework; NULL: .NET Core */
    const WCHAR *entry;     /* Namespace.Type.Method for the .NET Framework */
    enum gc_kind gc;
    enum report_format report;
    const WCHAR *report_file; /* NULL: standard output */
    const WCHAR *trace_file;  /* NULL: no trace */
    UINT64 commit_limit;      /* bytes; 0: none */
    UINT64 reserve_limit;     /* bytes; 0: none */
    UINT64 emergency;         /* bytes of commit_limit */
    UINT64 cushion;           /* bytes */
    HOSTMEM_FAULTS faults;    /* Size 0: none */
    UINT32 binding_flags;     /* HOSTMEM_BIND_* */
    BOOL overdraft;
    BOOL start_only;
    BOOL bind_children; /* what an executable starts */
    WCHAR *program;     /* full path */
    int argument_count;
    WCHAR **arguments;
    int option_count; /* what stands before the program, as it was given */
    WCHAR **option_list;
};

/* Returns -1 to go on, or the exit code of a program that has said all it has to say. */
int options_parse(int argc, WCHAR **argv, struct options *options);

/* Digits and at most one of K, M and G. FALSE for anything else, or more than 64 bits hold. */
BOOL options_parse_size(const WCHAR *text, UINT64 *size);

/* fault_option.c: the value of --fault. Returns as options_parse. */
int fault_option_parse(const WCHAR *value, HOSTMEM_FAULTS *faults);

#endif
