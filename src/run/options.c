/* SPDX-License-Identifier: MIT
 *
 * Every option is --name or --name=value; options that need a value also take it from the next
 * argument. Options end at the first argument without dashes, which is the program: what follows is
 * the program's own.
 */
#include "options.h"
#include "text.h"

#include <stdint.h>
#include <stdlib.h>
#include <wchar.h>

#define EMERGENCY_DEFAULT UINT64_MAX

static const char usage[] =
    "hostmem-run [options] program [arguments]\n"
    "\n"
    "Runs a .NET program with its memory in the hands of hostmem, and reports what it used. The\n"
    "program is a .dll or .exe as the compiler makes it, or an executable that starts the runtime\n"
    "by itself: an apphost, a self-contained or single-file program, a native host.\n"
    "\n"
    "  --runtime DIR          the folder of dotnet.exe, or a framework folder (with coreclr.dll),\n"
    "                         which is used without hostfxr. Default: %HOSTMEM_RUNTIME%, then\n"
    "                         %DOTNET_ROOT%, also as DOTNET_ROOT_X64 or another of\n"
    "                         its names, then %ProgramFiles%\\dotnet\n"
    "  --framework[=VERSION]  the .NET Framework instead of .NET Core; default v4.0.30319\n"
    "  --entry TYPE.METHOD    with --framework: static int METHOD(string), which gets the\n"
    "                         arguments joined by spaces\n"
    "  --gc KIND              workstation, server or concurrent; default: as configured\n"
    "  --commit-limit SIZE    what the runtime may commit, pages and heap blocks together\n"
    "  --emergency SIZE       the part of it kept for requests that a garbage collection cannot\n"
    "                         answer; default: 1/16, at most 8M\n"
    "  --overdraft            what is critical for the process is granted beyond the limit\n"
    "  --reserve-limit SIZE   what address space the runtime may take\n"
    "  --cushion SIZE         address space to be given back when the runtime finds none\n"
    "  --crt-heap             the C runtime's malloc, as the runtime imports it, is managed too;\n"
    "                         see HOSTMEM_BIND_CRT_HEAP in hostmem.h\n"
    "  --fault RULES          refuse requests on purpose: see below\n"
    "  --start-only           start the runtime, and end without running the program\n"
    "  --children KIND        what is done with processes that an executable starts: ignore, or\n"
    "                         bind: each gets the same limits, and a report if it runs .NET.\n"
    "                         Default: ignore\n"
    "  --report KIND[=FILE]   text, json or none; default: text. Written to standard output when\n"
    "                         the program has ended, or to FILE\n"
    "  --trace FILE           record every call of the runtime, for hostmem-replay\n"
    "  --version\n"
    "  --help\n"
    "\n"
    "A SIZE is a number of bytes, or of KiB, MiB or GiB with K, M or G behind it; 0 is none.\n"
    "With a commit limit the runtime sees a machine of that size. Unless they are configured\n"
    "already, .NET Core 3.0 and later get System.GC.HeapHardLimit, and earlier ones on x86\n"
    "GCSegmentSize.\n"
    "\n"
    "The RULES of --fault are one or more of these, with commas between them:\n"
    "  rate=N/M               of M requests N are refused on average; default: 1/1000\n"
    "  seed=N                 which ones; default: 1. The same seed and the same sequence of\n"
    "                         requests give the same refusals\n"
    "  level=LEVEL[+LEVEL]    task (default): the collected heap, whose refusal is an\n"
    "                         OutOfMemoryException. appdomain: other pages of the runtime.\n"
    "                         process: its native heap, and its start\n"
    "  method=M[+M]           VirtualAlloc (pages), Alloc (blocks); default: both\n"
    "  size=SIZE              only requests of so many bytes or more\n"
    "  skip=N                 the first N requests are spared; default: 0\n"
    "  count=N                no more than N are refused; default: no end\n"
    "Only requests of these levels, methods and sizes are counted, so rate=1/1,skip=9,count=1\n"
    "refuses the tenth of them and no other.\n"
    "\n"
    "An executable is a process of its own, with our environment, streams and signals. There is\n"
    "always a report of it; if it had no last word, of what was known before. If it is native and\n"
    "never loads a runtime, one line says so. --framework, --entry and --start-only are not for "
    "it.\n"
    "\n"
    "The exit code is the program's; 2 if it could not be run. There is a report when the program\n"
    "returns, calls Environment.Exit or Environment.FailFast, or ends by an unhandled exception.\n"
    "There is none, and FILE is left empty, when a .dll's process is terminated from outside. A\n"
    "trace then lacks its last moments, and hostmem-replay says so.\n";

static void print(const char *text)
{
    struct text_writer writer = {.file = GetStdHandle(STD_OUTPUT_HANDLE)};
    text_write(&writer, text);
    text_flush(&writer);
}

/* Whether argv[*index] is the option `name`. *value is what stands behind its '=', or NULL. */
static BOOL is_option(const WCHAR *argument, const WCHAR *name, const WCHAR **value)
{
    size_t length = wcslen(name);
    if (wcsncmp(argument, name, length) != 0 || (argument[length] && argument[length] != L'=')) {
        return FALSE;
    }
    *value = argument[length] ? argument + length + 1 : NULL;
    return TRUE;
}

static int need_value(const WCHAR *name, const WCHAR **value, int argc, WCHAR **argv, int *index)
{
    if (!*value && *index + 1 < argc) {
        *value = argv[++*index];
    }
    return *value && **value ? -1 : text_fail(L"%ls needs a value: see --help", name);
}

static int parse_gc(const WCHAR *value, struct options *options)
{
    static const WCHAR *const names[] = {NULL, L"workstation", L"server", L"concurrent"};
    for (int i = GC_WORKSTATION; i <= GC_CONCURRENT; i++) {
        if (wcscmp(value, names[i]) == 0) {
            options->gc = (enum gc_kind)i;
            return -1;
        }
    }
    return text_fail(L"--gc %ls: use workstation, server or concurrent", value);
}

BOOL options_parse_size(const WCHAR *text, UINT64 *size)
{
    UINT64 number = 0;
    const WCHAR *rest = text;
    for (; *rest >= L'0' && *rest <= L'9'; rest++) {
        UINT64 digit = (UINT64)(*rest - L'0');
        if (number > (UINT64_MAX - digit) / 10) {
            return FALSE;
        }
        number = 10 * number + digit;
    }
    static const WCHAR units[] = L"KMG";
    const WCHAR *unit = *rest ? wcschr(units, (WCHAR)towupper((wint_t)*rest)) : NULL;
    int shift = unit ? 10 * (int)(unit - units + 1) : 0;
    if (rest == text || (*rest && (!unit || rest[1])) || number > UINT64_MAX >> shift) {
        return FALSE;
    }
    *size = number << shift;
    return TRUE;
}

/* The options whose value is a size. */
static int parse_size_option(int argc, WCHAR **argv, int *index, struct options *options)
{
    const struct {
        const WCHAR *name;
        UINT64 *size;
    } sizes[] = {
        {L"--commit-limit", &options->commit_limit},
        {L"--reserve-limit", &options->reserve_limit},
        {L"--emergency", &options->emergency},
        {L"--cushion", &options->cushion},
    };
    const WCHAR *argument = argv[*index], *value;
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        if (!is_option(argument, sizes[i].name, &value)) {
            continue;
        }
        int result = need_value(sizes[i].name, &value, argc, argv, index);
        if (result < 0 && !options_parse_size(value, sizes[i].size)) {
            return text_fail(L"%ls %ls: use a size such as 24M, 512K, 1G or a number of bytes",
                             sizes[i].name, value);
        }
        return result;
    }
    return text_fail(L"unknown option %ls: see --help", argument);
}

static int parse_children(const WCHAR *value, struct options *options)
{
    options->bind_children = wcscmp(value, L"bind") == 0;
    return options->bind_children || wcscmp(value, L"ignore") == 0
               ? -1
               : text_fail(L"--children %ls: use bind or ignore", value);
}

static int parse_report(const WCHAR *value, struct options *options)
{
    static const WCHAR *const names[] = {L"text", L"json", L"none"};
    for (int i = REPORT_TEXT; i <= REPORT_NONE; i++) {
        const WCHAR *file;
        if (!is_option(value, names[i], &file)) {
            continue;
        }
        if (file && (!*file || i == REPORT_NONE)) {
            return text_fail(L"--report %ls: use text, text=FILE, json, json=FILE or none", value);
        }
        options->report = (enum report_format)i;
        options->report_file = file ? path_full(file) : NULL;
        return -1;
    }
    return text_fail(L"--report %ls: use text, json or none", value);
}

static int parse_option(int argc, WCHAR **argv, int *index, struct options *options)
{
    const WCHAR *argument = argv[*index];
    const WCHAR *value;
    int result = -1;
    if (is_option(argument, L"--help", &value)) {
        print(usage);
        return 0;
    }
    if (is_option(argument, L"--version", &value)) {
        print("hostmem-run " HOSTMEM_VERSION "\n");
        return 0;
    }
    if (is_option(argument, L"--framework", &value)) {
        options->framework = value && *value ? value : L"v4.0.30319";
    } else if (is_option(argument, L"--runtime", &value)) {
        result = need_value(L"--runtime", &value, argc, argv, index);
        options->runtime = value;
    } else if (is_option(argument, L"--entry", &value)) {
        result = need_value(L"--entry", &value, argc, argv, index);
        options->entry = value;
    } else if (is_option(argument, L"--gc", &value)) {
        result = need_value(L"--gc", &value, argc, argv, index);
        return result < 0 ? parse_gc(value, options) : result;
    } else if (is_option(argument, L"--fault", &value)) {
        result = need_value(L"--fault", &value, argc, argv, index);
        return result < 0 ? fault_option_parse(value, &options->faults) : result;
    } else if (is_option(argument, L"--children", &value)) {
        result = need_value(L"--children", &value, argc, argv, index);
        return result < 0 ? parse_children(value, options) : result;
    } else if (is_option(argument, L"--report", &value)) {
        result = need_value(L"--report", &value, argc, argv, index);
        return result < 0 ? parse_report(value, options) : result;
    } else if (is_option(argument, L"--trace", &value)) {
        result = need_value(L"--trace", &value, argc, argv, index);
        options->trace_file = result < 0 ? path_full(value) : NULL;
    } else if (is_option(argument, L"--overdraft", &value) && !value) {
        options->overdraft = TRUE;
    } else if (is_option(argument, L"--crt-heap", &value) && !value) {
        options->binding_flags |= HOSTMEM_BIND_CRT_HEAP;
    } else if (is_option(argument, L"--start-only", &value) && !value) {
        options->start_only = TRUE;
    } else {
        result = parse_size_option(argc, argv, index, options);
    }
    return result;
}

static int complete_limits(struct options *options)
{
    if (!options->commit_limit && options->overdraft) {
        return text_fail(L"--overdraft is for --commit-limit: give both");
    }
    if (options->emergency == EMERGENCY_DEFAULT) {
        UINT64 share = options->commit_limit / 16;
        options->emergency = share < 8 << 20 ? share : 8 << 20;
    } else if (options->emergency > options->commit_limit) {
        return text_fail(L"--emergency is a part of --commit-limit: it cannot be larger");
    }
    return -1;
}

/* What fits together, and where .NET is looked for. */
/* Where .NET's own hosts look, in their order. */
static const WCHAR *installed_runtime(void)
{
    BOOL beside_x64 = FALSE;
    IsWow64Process(GetCurrentProcess(), &beside_x64);
    const WCHAR *const names[] = {
        sizeof(void *) == 8 ? L"DOTNET_ROOT_X64" : L"DOTNET_ROOT_X86",
        beside_x64 ? L"DOTNET_ROOT(x86)" : L"DOTNET_ROOT",
        L"DOTNET_ROOT",
    };
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        const WCHAR *folder = _wgetenv(names[i]);
        if (folder && *folder) {
            return folder;
        }
    }
    const WCHAR *programs = _wgetenv(L"ProgramFiles");
    return text_format(L"%ls\\dotnet", programs ? programs : L"C:\\Program Files");
}

static void find_runtime(struct options *options)
{
    if (!options->runtime) {
        options->runtime = _wgetenv(L"HOSTMEM_RUNTIME");
    }
    options->runtime_is_given = options->runtime && *options->runtime;
    options->runtime =
        path_full(options->runtime_is_given ? options->runtime : installed_runtime());
}

static int complete(struct options *options)
{
    if (options->framework && !options->entry) {
        return text_fail(L"--framework needs --entry Namespace.Type.Method, a static method "
                         L"int METHOD(string)");
    }
    if (options->entry && !options->framework) {
        return text_fail(L"--entry is for --framework; a .NET Core program starts at its Main");
    }
    if (options->framework && options->runtime) {
        return text_fail(L"--runtime and --framework exclude each other: the .NET Framework is "
                         L"found by its version");
    }
    int result = complete_limits(options);
    if (result >= 0) {
        return result;
    }
    find_runtime(options);
    return -1;
}

int options_parse(int argc, WCHAR **argv, struct options *options)
{
    *options = (struct options){
        .gc = GC_AS_CONFIGURED, .report = REPORT_TEXT, .emergency = EMERGENCY_DEFAULT};
    int index = 1;
    for (; index < argc && argv[index][0] == L'-'; index++) {
        int result = parse_option(argc, argv, &index, options);
        if (result >= 0) {
            return result;
        }
    }
    if (index == argc) {
        return text_fail(L"no program given: hostmem-run [options] program [arguments], "
                         L"see --help");
    }
    options->option_list = argv + 1;
    options->option_count = index - 1;
    options->program = path_full(argv[index++]);
    options->argument_count = argc - index;
    options->arguments = argv + index;
    return complete(options);
}
