/* SPDX-License-Identifier: MIT
 *
 * hostmem-replay: what is in a trace of hostmem-run, and how the same calls fare elsewhere.
 */
#include "replay/replay_report.h"
#include "trace/trace_summary.h"

#include <stdlib.h>
#include <wchar.h>

#define EXIT_DIFFERENT 1
#define EXIT_UNUSABLE 2

static const char usage[] =
    "hostmem-replay FILE [options]\n"
    "\n"
    "Replays a trace that hostmem-run --trace has written: every call in the recorded order, by "
    "one\n"
    "thread, with other addresses. Says how long the calls of each method took, and how many were\n"
    "answered otherwise than in the recording.\n"
    "\n"
    "  --through TARGET  raw: Win32's own functions, the default\n"
    "                    table: hostmem's manager, with the limits of the recorded one\n"
    "                    passthrough: a manager that only calls Win32\n"
    "                    list: a manager that keeps a linked list under one lock\n"
    "  --rounds N        replay so often, and report the fastest round\n"
    "  --json            report as JSON\n"
    "  --results FILE    write what each call answered, without addresses\n"
    "  --summary         replay nothing, print what is in the trace\n"
    "  --version\n"
    "  --help\n"
    "\n"
    "The exit code is 0, 1 if a call was answered otherwise, 2 if there was nothing to replay.\n";

struct command {
    const WCHAR *file;
    const WCHAR *through;
    const WCHAR *results;
    unsigned long rounds;
    bool json;
    bool summary;
};

static int fail(const WCHAR *file, const char *text)
{
    if (file != NULL) {
        fprintf(stderr, "hostmem-replay: %ls %s\n", file, text);
    } else {
        fprintf(stderr, "hostmem-replay: %s\n", text);
    }
    return EXIT_UNUSABLE;
}

/* ---- The command line ---- */

/* Returns -1 to go on, or the exit code. */
static int parse_value(int argc, WCHAR **argv, int *index, struct command *command)
{
    const WCHAR *name = argv[*index];
    WCHAR *end;
    if (*index + 1 == argc) {
        return fail(name, "needs a value, or is unknown: see --help");
    }
    const WCHAR *value = argv[++*index];
    if (wcscmp(name, L"--through") == 0) {
        command->through = value;
    } else if (wcscmp(name, L"--results") == 0) {
        command->results = value;
    } else if (wcscmp(name, L"--rounds") == 0) {
        command->rounds = wcstoul(value, &end, 10);
        if (*end != 0 || command->rounds == 0 || command->rounds > 1000000) {
            return fail(NULL, "--rounds needs a number from 1 to 1000000");
        }
    } else {
        return fail(name, "is no option: see --help");
    }
    return -1;
}

static int parse(int argc, WCHAR **argv, struct command *command)
{
    *command = (struct command){.through = L"raw", .rounds = 1};
    for (int i = 1; i < argc; i++) {
        int result = -1;
        if (wcscmp(argv[i], L"--help") == 0) {
            fputs(usage, stdout);
            return 0;
        } else if (wcscmp(argv[i], L"--version") == 0) {
            puts("hostmem-replay " HOSTMEM_VERSION);
            return 0;
        } else if (wcscmp(argv[i], L"--json") == 0) {
            command->json = true;
        } else if (wcscmp(argv[i], L"--summary") == 0) {
            command->summary = true;
        } else if (argv[i][0] == L'-') {
            result = parse_value(argc, argv, &i, command);
        } else if (command->file != NULL) {
            return fail(argv[i], "is one file too many: see --help");
        } else {
            command->file = argv[i];
        }
        if (result >= 0) {
            return result;
        }
    }
    return command->file != NULL ? -1 : fail(NULL, "no trace given: see --help");
}

/* ---- The file ---- */

/* The whole file, in memory to be freed. NULL after a message. */
static void *load(const WCHAR *path, size_t *size)
{
    FILE *file = _wfopen(path, L"rb");
    if (file == NULL) {
        fail(path, "cannot be read");
        return NULL;
    }
    void *bytes = NULL;
    __int64 length = _fseeki64(file, 0, SEEK_END) == 0 ? _ftelli64(file) : -1;
    if (length >= 0 && (UINT64)length < SIZE_MAX && _fseeki64(file, 0, SEEK_SET) == 0) {
        *size = (size_t)length;
        bytes = malloc(*size + 1);
    }
    if (bytes == NULL || fread(bytes, 1, *size, file) != *size) {
        fail(path, bytes == NULL ? "is too large for the memory there is" : "cannot be read");
        free(bytes);
        bytes = NULL;
    }
    fclose(file);
    return bytes;
}

static bool open_trace(const WCHAR *path, struct trace *trace, struct trace_plan *plan)
{
    struct trace_error error;
    size_t size;
    void *bytes = load(path, &size);
    if (bytes == NULL) {
        return false;
    }
    bool good = trace_read(bytes, size, trace, &error);
    free(bytes);
    if (good && !trace_plan_make(trace, plan, &error)) {
        trace_free(trace);
        good = false;
    }
    if (!good) {
        fail(path, error.text);
    } else if (!trace->header.closed) {
        fprintf(stderr,
                "hostmem-replay: %ls was never closed: its process was terminated. It is whole up "
                "to call %llu.\n",
                path, (unsigned long long)trace->count);
    }
    return good;
}

/* ---- Replaying ---- */

static double total_nanoseconds(const struct replay *replay)
{
    double ticks = 0;
    for (unsigned i = 0; i < TRACE_METHOD_COUNT; i++) {
        ticks += (double)replay->methods[i].ticks;
    }
    return ticks * replay->ns_per_tick;
}

/* One round, with a target of its own. */
static int replay_once(const struct command *command, FILE *results, struct replay *replay)
{
    HRESULT hr;
    if (!target_create(command->through, &replay->trace->header, &replay->target, &hr)) {
        return fail(NULL, "--through needs raw, table, passthrough or list");
    }
    if (hr != S_OK) {
        fprintf(stderr, "hostmem-replay: the target cannot be made: 0x%08lx\n", (unsigned long)hr);
        return EXIT_UNUSABLE;
    }
    replay->results = results;
    bool good = replay_run(replay);
    target_destroy(&replay->target);
    return good ? -1 : fail(command->file, "is too large for the memory there is");
}

static int replay_all(const struct command *command, const struct trace *trace,
                      const struct trace_plan *plan, FILE *results)
{
    struct replay fastest = {0};
    for (unsigned long i = 0; i < command->rounds; i++) {
        struct replay replay = {.trace = trace, .plan = plan};
        int result = replay_once(command, i == 0 ? results : NULL, &replay);
        if (result >= 0) {
            return result;
        }
        if (i == 0 || total_nanoseconds(&replay) < total_nanoseconds(&fastest)) {
            fastest = replay;
        }
    }
    (command->json ? replay_report_json : replay_report_text)(&fastest, stdout);
    return replay_different(&fastest) == 0 ? 0 : EXIT_DIFFERENT;
}

static int replay(const struct command *command, const struct trace *trace,
                  const struct trace_plan *plan)
{
    SYSTEM_INFO system;
    FILE *results = NULL;
    GetSystemInfo(&system);
    if (trace->header.pointer_bytes != sizeof(void *)) {
        return fail(command->file, sizeof(void *) == 8
                                       ? "is of a 32-bit process: use that hostmem-replay"
                                       : "is of a 64-bit process: use that hostmem-replay");
    }
    if (trace->header.page_bytes != system.dwPageSize) {
        return fail(command->file, "is of a system with pages of another size");
    }
    if (command->results != NULL) {
        results = _wfopen(command->results, L"w");
        if (results == NULL) {
            return fail(command->results, "cannot be written");
        }
    }
    int result = replay_all(command, trace, plan, results);
    if (results != NULL) {
        bool written = !ferror(results);
        if (fclose(results) != 0 || !written) {
            return fail(command->results, "cannot be written");
        }
    }
    return result;
}

int wmain(int argc, WCHAR **argv); /* as -municode calls it; no header declares it */

int wmain(int argc, WCHAR **argv)
{
    struct command command;
    struct trace trace;
    struct trace_plan plan;
    int result = parse(argc, argv, &command);
    if (result >= 0) {
        return result;
    }
    if (!open_trace(command.file, &trace, &plan)) {
        return EXIT_UNUSABLE;
    }
    if (command.summary) {
        result = trace_summary_write(&trace, &plan, stdout) ? 0 : fail(NULL, "out of memory");
    } else {
        result = replay(&command, &trace, &plan);
    }
    trace_plan_free(&plan);
    trace_free(&trace);
    return result;
}
