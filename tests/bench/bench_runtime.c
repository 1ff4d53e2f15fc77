/* SPDX-License-Identifier: MIT
 *
 * What a managed program costs end to end: a real runtime, not bound, bound to the manager, and bound
 * with a trace, in turns, each in a process of its own. Measured is the program part, after the
 * runtime has started: the time on the clock, and the processor time of all threads, that of the
 * thread that writes the trace included. A program runs as often as it takes to use the processor for
 * about half a second, because its time comes in ticks of 10 ms.
 *
 *     bench_runtime [--json FILE] RUNTIME_FOLDER PROGRAM...
 */
#include "bench.h"

#include "clr/coreclr.h"

#include <hostmem/hostmem.h>

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "trace/trace_manager.h"
#include "trace/trace_writer.h"

enum { RAW, BOUND, TRACED, SIDES };

#define TURNS 15
#define PROGRAM_NS 5e8

struct times {
    double wall; /* ns */
    double processor;
};

static void require(bool condition, const char *what)
{
    if (!condition) {
        fprintf(stderr, "bench_runtime: %s failed\n", what);
        exit(1);
    }
}

static double processor_time(void)
{
    FILETIME created, exited, kernel, user;
    require(GetProcessTimes(GetCurrentProcess(), &created, &exited, &kernel, &user),
            "GetProcessTimes");
    return 100.0 * ((double)kernel.dwHighDateTime * 4294967296.0 + kernel.dwLowDateTime +
                    (double)user.dwHighDateTime * 4294967296.0 + user.dwLowDateTime);
}

/* ---- the child ---- */

/* bench_runtime --child SIDE RUNS RUNTIME_FOLDER PROGRAM; its result goes to standard error. */
static int run_program(int side, unsigned runs)
{
    const struct trace_header about = {.flags = 0};
    WCHAR folder[MAX_PATH], trace[MAX_PATH];
    IHostMemoryManager *manager;
    HMODULE runtime = coreclr_load();
    require(runtime != NULL, "loading the runtime");
    require(side == RAW || HostMemCreateManager(NULL, &manager) == S_OK, "a manager");
    if (side == TRACED) {
        require(GetTempPathW(MAX_PATH, folder) != 0 &&
                    GetTempFileNameW(folder, L"hm", 0, trace) != 0 &&
                    trace_writer_open(trace, &about) == ERROR_SUCCESS &&
                    trace_manager_create(manager, &manager) == S_OK,
                "a trace");
    }
    require(side == RAW || HostMemBindRuntime(manager, runtime, NULL) == S_OK, "binding");
    require(coreclr_start() == S_OK, "starting the runtime");
    double wall = bench_now(), processor = processor_time();
    for (unsigned i = 0; i < runs; i++) {
        require(coreclr_run_program() == 42, "the program");
    }
    fprintf(stderr, "%.0f %.0f\n", bench_now() - wall, processor_time() - processor);
    if (side == TRACED) {
        trace_writer_stop();
        require(trace_writer_close() == 0 && DeleteFileW(trace), "the trace");
    }
    return 0;
}

/* ---- the parent ---- */

struct measurement {
    char *runtime;
    char *program;
    unsigned runs;
};

static struct times run_child(const struct measurement *measurement, int side)
{
    SECURITY_ATTRIBUTES inherited = {.nLength = sizeof(inherited), .bInheritHandle = TRUE};
    char own_path[MAX_PATH], command[4 * MAX_PATH], answer[256] = "";
    STARTUPINFOA startup = {.cb = sizeof(startup), .dwFlags = STARTF_USESTDHANDLES};
    PROCESS_INFORMATION process;
    HANDLE answer_end;
    DWORD used = 0, read, exit_code = 1;
    struct times times;

    GetModuleFileNameA(NULL, own_path, sizeof(own_path));
    snprintf(command, sizeof(command), "\"%s\" --child %d %u \"%s\" \"%s\"", own_path, side,
             measurement->runs, measurement->runtime, measurement->program);
    require(CreatePipe(&answer_end, &startup.hStdError, &inherited, 0) &&
                SetHandleInformation(answer_end, HANDLE_FLAG_INHERIT, 0),
            "CreatePipe");
    startup.hStdOutput =
        CreateFileA("NUL", GENERIC_WRITE, FILE_SHARE_WRITE, &inherited, OPEN_EXISTING, 0, NULL);
    if (!CreateProcessA(own_path, command, NULL, NULL, TRUE, 0, NULL, NULL, &startup, &process)) {
        fprintf(stderr, "CreateProcess: error %lu\n", GetLastError());
        require(false, command);
    }
    CloseHandle(startup.hStdError);
    CloseHandle(startup.hStdOutput);
    while (used < sizeof(answer) - 1 &&
           ReadFile(answer_end, answer + used, sizeof(answer) - 1 - used, &read, NULL) &&
           read > 0) {
        used += read;
    }
    CloseHandle(answer_end);
    WaitForSingleObject(process.hProcess, INFINITE);
    GetExitCodeProcess(process.hProcess, &exit_code);
    CloseHandle(process.hProcess);
    CloseHandle(process.hThread);
    if (exit_code != 0 || sscanf(answer, "%lf %lf", &times.wall, &times.processor) != 2) {
        fprintf(stderr, "%s", answer);
        require(false, command);
    }
    return times;
}

/* Two rows: what `side` takes against `base`. */
static void print(const char *row, const char *what, int base, int side, double (*processor)[TURNS],
                  double (*wall)[TURNS])
{
    char name[96];
    double times[2][TURNS];
    for (int i = 0; i < 2; i++) {
        memcpy(times[0], i == 0 ? processor[base] : wall[base], sizeof(times[0]));
        memcpy(times[1], i == 0 ? processor[side] : wall[side], sizeof(times[1]));
        struct bench_result result = bench_summary(times[0], times[1], TURNS);
        snprintf(name, sizeof(name), "%s%s, %s", row, what, i == 0 ? "CPU" : "wall");
        bench_print(name, 1, 0, 0, &result);
    }
}

static void measure(const char *runtime_name, struct measurement *measurement)
{
    double wall[SIDES][TURNS], processor[SIDES][TURNS];
    char row[64];
    const char *name = measurement->program + strlen(measurement->program);
    while (name > measurement->program && name[-1] != '/' && name[-1] != '\\') {
        name--;
    }
    measurement->runs = 1;
    struct times once = run_child(measurement, RAW);
    measurement->runs = 1 + (unsigned)(PROGRAM_NS / (once.processor + 1e7));
    for (int i = 0; i < TURNS; i++) {
        for (int turn = 0; turn < SIDES; turn++) {
            int side = (i + turn) % SIDES;
            struct times times = run_child(measurement, side);
            wall[side][i] = times.wall / measurement->runs;
            processor[side][i] = times.processor / measurement->runs;
        }
    }
    snprintf(row, sizeof(row), "%s %.*s", runtime_name, (int)strcspn(name, "."), name);
    print(row, "", RAW, BOUND, processor, wall);
    print(row, ", trace", BOUND, TRACED, processor, wall);
}

int main(int argc, char **argv)
{
    const char *json = NULL;
    if (argc == 6 && strcmp(argv[1], "--child") == 0) {
        coreclr_use(argv[4], argv[5]);
        return run_program(atoi(argv[2]), (unsigned)atoi(argv[3]));
    }
    if (argc > 2 && strcmp(argv[1], "--json") == 0) {
        json = argv[2];
        argv += 2;
        argc -= 2;
    }
    require(argc > 2, "bench_runtime [--json FILE] RUNTIME_FOLDER PROGRAM...");
    bench_open(
        "Programs on a real runtime, bound against not bound, and with a trace against bound",
        json);
    for (int i = 2; i < argc; i++) {
        struct measurement measurement = {.runtime = argv[1], .program = argv[i]};
        const char *version = argv[1] + strlen(argv[1]);
        while (version > argv[1] && version[-1] != '/' && version[-1] != '\\') {
            version--;
        }
        measure(version, &measurement);
    }
    bench_close();
    return 0;
}
