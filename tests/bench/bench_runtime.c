/* SPDX-License-Identifier: MIT
 *
 * What a managed program costs end to end: a real runtime, bound to the manager and not bound, in
 * turns, each in a process of its own. Measured is the program part, after the runtime has started:
 * the time on the clock, and the processor time of all threads. A program runs as often as it takes
 * to use the processor for about half a second, because its time comes in ticks of 10 ms.
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

#define PAIRS 15
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
static int run_program(bool managed, unsigned runs)
{
    IHostMemoryManager *manager;
    HMODULE runtime = coreclr_load();
    require(runtime != NULL, "loading the runtime");
    if (managed) {
        require(HostMemCreateManager(NULL, &manager) == S_OK &&
                    HostMemBindRuntime(manager, runtime) == S_OK,
                "binding");
    }
    require(coreclr_start() == S_OK, "starting the runtime");
    double wall = bench_now(), processor = processor_time();
    for (unsigned i = 0; i < runs; i++) {
        require(coreclr_run_program() == 42, "the program");
    }
    fprintf(stderr, "%.0f %.0f\n", bench_now() - wall, processor_time() - processor);
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
    require(CreateProcessA(own_path, command, NULL, NULL, TRUE, 0, NULL, NULL, &startup, &process),
            "CreateProcess");
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

static void measure(const char *runtime_name, struct measurement *measurement)
{
    double wall[2][PAIRS], processor[2][PAIRS];
    char row[64];
    const char *name = measurement->program + strlen(measurement->program);
    while (name > measurement->program && name[-1] != '/' && name[-1] != '\\') {
        name--;
    }
    measurement->runs = 1;
    struct times once = run_child(measurement, 0);
    measurement->runs = 1 + (unsigned)(PROGRAM_NS / (once.processor + 1e7));
    for (int i = 0; i < PAIRS; i++) {
        for (int turn = 0; turn < 2; turn++) {
            int side = (i + turn) % 2;
            struct times times = run_child(measurement, side);
            wall[side][i] = times.wall / measurement->runs;
            processor[side][i] = times.processor / measurement->runs;
        }
    }
    struct bench_result result = bench_summary(processor[0], processor[1], PAIRS);
    snprintf(row, sizeof(row), "%s %.*s, CPU", runtime_name, (int)strcspn(name, "."), name);
    bench_print(row, 1, 0, 0, &result);
    result = bench_summary(wall[0], wall[1], PAIRS);
    snprintf(row, sizeof(row), "%s %.*s, wall", runtime_name, (int)strcspn(name, "."), name);
    bench_print(row, 1, 0, 0, &result);
}

int main(int argc, char **argv)
{
    const char *json = NULL;
    if (argc == 6 && strcmp(argv[1], "--child") == 0) {
        coreclr_use(argv[4], argv[5]);
        return run_program(atoi(argv[2]) != 0, (unsigned)atoi(argv[3]));
    }
    if (argc > 2 && strcmp(argv[1], "--json") == 0) {
        json = argv[2];
        argv += 2;
        argc -= 2;
    }
    require(argc > 2, "bench_runtime [--json FILE] RUNTIME_FOLDER PROGRAM...");
    bench_open("Programs on a real runtime, bound against not bound", json);
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
