/* SPDX-License-Identifier: MIT
 *
 * Managed programs on real runtimes with requests refused on purpose: hostmem-run --fault, again
 * and again, each run with a seed of its own. How a run may end:
 *
 *     well          exit code 42: a collection answered the refusal, or the program caught it
 *     OutOfMemory   0xe0434352, an OutOfMemoryException, or what the class library makes of it, that
 *                   nobody catches
 *     fail-fast     the runtime cannot go on, says so and ends the process: see `endings`
 *
 * Any other exit code is a crash, an access violation above all; what does not end is a hang. In a
 * report the committed bytes by hostmem's count must be those that VirtualQuery finds at the same
 * moment, and not above the peak: or it is a drift. None of the three may happen.
 *
 * The 4 programs, 2 runtimes and up to 8 plans are gone through in steps of 29, which has no factor
 * in common with 64 or 48: a few runs see something of each, and 64 runs see everything. The first
 * seed is the last argument or HOSTMEM_SEED, and the next ones count on. What is printed of a run
 * that went wrong is the command that repeats it.
 *
 * test_fault_runs RUNS all|spare_process PROGRAMS_FOLDER RUNTIME_20 RUNTIME_31 [SEED]
 */
#include "support/random.h"

#include <windows.h>

#include <stdbool.h>
#include <string.h>

/* When a run counts as a hang: no more processor time than this for so long, or more than that in
 * all, which is a second or two. The clock says nothing on a busy machine. */
#define IDLE_MS 100
#define PATIENCE_MS 60000
#define BUSY_MS 120000
#define STEP 29
#define TEXT_BYTES 65536

static const struct program {
    const char *name;
    const char *options;
    const char *arguments;
} programs[] = {
    {"churn", "", ""},
    {"threads", "", ""},
    {"dynamic", "", ""},
    {"oom", "--commit-limit 64M", "5"}, /* five times all there is */
};

/* What is refused, and how many requests are spared so that some runs come beyond the start. */
static const struct plan {
    const char *level;
    unsigned rate; /* one in so many */
    unsigned skip;
} plans[] = {
    {"task", 10, 10},      {"task", 100, 0},        {"task", 1000, 0},
    {"appdomain", 10, 60}, {"appdomain", 100, 0},   {"task+appdomain", 30, 60},
    {"process", 10000, 0}, {"process", 1000, 6000},
};

enum {
    PROGRAMS = sizeof(programs) / sizeof(programs[0]),
    PLANS = sizeof(plans) / sizeof(plans[0]),
    PLANS_THAT_SPARE_PROCESS = PLANS - 2,
    RUNTIMES = 2
};

enum ending { WELL, OUT_OF_MEMORY, FAIL_FAST, CRASH, HANG, ENDINGS };

/* Wine's exit code of a fail-fast is the one that RaiseFailFastException stands for. */
#define FAILFAST_WINE 0xc0000602
#define FAILFAST_WINDOWS 0x80131623

static const struct {
    DWORD exit_code;
    const char *output; /* what the runtime or hostmem-run says besides */
    enum ending ending;
} endings[] = {
    {42, "", WELL},
    {0xe0434352, "OutOfMemoryException", OUT_OF_MEMORY},
    {0xe0434352, "Out of memory", OUT_OF_MEMORY},
    /* the same, and no memory for its text either */
    {0xe0434352, "Cannot print exception string because", OUT_OF_MEMORY},
    /* no memory for a thread */
    {0xe0434352, "System.Threading.ThreadStartException", OUT_OF_MEMORY},
    {2, "did not start: coreclr_initialize returned 0x8", FAIL_FAST},
    /* Environment.FailFast of the class library, which finds no memory to describe an error */
    {FAILFAST_WINE, "Process terminated. ", FAIL_FAST},
    {FAILFAST_WINDOWS, "Process terminated. ", FAIL_FAST},
    /* a result that the runtime verifies because it could not go on without */
    {FAILFAST_WINE, "CLR: Assert failure", FAIL_FAST},
    {FAILFAST_WINDOWS, "CLR: Assert failure", FAIL_FAST},
};

/* COR_E_EXECUTIONENGINE: the runtime has fallen over what it had left half done when it was refused
 * memory that no collection can give. Refusals of the collector's heap must never lead there. */
static const char engine_error[] = "Internal CLR error. (0x80131506)";

struct row {
    unsigned endings[ENDINGS];
    unsigned runs;
    unsigned drifts;
    uint64_t faults;
};

static struct row rows[PROGRAMS][PLANS];
static char output[TEXT_BYTES], report[TEXT_BYTES];
static char output_file[MAX_PATH], report_file[MAX_PATH], runner[MAX_PATH];
static const char *folder, *runtimes[RUNTIMES];

/* ---- one run ---- */

static void read_file(const char *name, char *text)
{
    DWORD size = 0;
    HANDLE file = CreateFileA(name, GENERIC_READ, FILE_SHARE_READ, NULL, OPEN_EXISTING, 0, NULL);
    if (file != INVALID_HANDLE_VALUE) {
        ReadFile(file, text, TEXT_BYTES - 1, &size, NULL);
        CloseHandle(file);
    }
    text[size] = 0;
}

/* Processor time that the process has used, in milliseconds. */
static uint64_t used_time(HANDLE process)
{
    FILETIME created, exited, kernel, user;
    GetProcessTimes(process, &created, &exited, &kernel, &user);
    return ((((uint64_t)kernel.dwHighDateTime + user.dwHighDateTime) << 32) + kernel.dwLowDateTime +
            user.dwLowDateTime) /
           10000;
}

static bool ends(HANDLE process)
{
    uint64_t used = 0, used_then = 0;
    ULONGLONG then = GetTickCount64();
    while (WaitForSingleObject(process, 1000) != WAIT_OBJECT_0) {
        used = used_time(process);
        if (used - used_then > IDLE_MS) {
            used_then = used;
            then = GetTickCount64();
        }
        if (used > BUSY_MS || GetTickCount64() - then > PATIENCE_MS) {
            return false;
        }
    }
    return true;
}

/* Runs `command` to its end, both outputs to output_file. False: there was none, and it was made. */
static bool run(char *command, DWORD *exit_code)
{
    SECURITY_ATTRIBUTES inherit = {.nLength = sizeof(inherit), .bInheritHandle = TRUE};
    PROCESS_INFORMATION process;
    HANDLE file =
        CreateFileA(output_file, GENERIC_WRITE, FILE_SHARE_READ, &inherit, CREATE_ALWAYS, 0, NULL);
    STARTUPINFOA startup = {.cb = sizeof(startup),
                            .dwFlags = STARTF_USESTDHANDLES,
                            .hStdOutput = file,
                            .hStdError = file};
    if (!CreateProcessA(NULL, command, NULL, NULL, TRUE, 0, NULL, NULL, &startup, &process)) {
        printf("cannot run %s: error %lu\n", command, GetLastError());
        exit(2);
    }
    CloseHandle(file);
    bool ended = ends(process.hProcess);
    if (!ended) {
        TerminateProcess(process.hProcess, 1);
        WaitForSingleObject(process.hProcess, INFINITE);
    }
    GetExitCodeProcess(process.hProcess, exit_code);
    CloseHandle(process.hThread);
    CloseHandle(process.hProcess);
    return ended;
}

static enum ending ending_of(DWORD exit_code, const struct plan *plan)
{
    if (strstr(output, engine_error) != NULL) {
        return strcmp(plan->level, "task") == 0 ? CRASH : FAIL_FAST;
    }
    for (size_t i = 0; i < sizeof(endings) / sizeof(endings[0]); i++) {
        if (endings[i].exit_code == exit_code && strstr(output, endings[i].output) != NULL) {
            return endings[i].ending;
        }
    }
    return CRASH;
}

/* The number `name` of `object` in the report; 0 if there is no report. */
static uint64_t figure(const char *object, const char *name)
{
    const char *at = strstr(report, object);
    at = at != NULL ? strstr(at, name) : NULL;
    return at != NULL ? strtoull(at + strlen(name), NULL, 10) : 0;
}

static bool report_drifts(void)
{
    uint64_t counted = figure("\"commit\"", "\"currentBytes\": ");
    uint64_t found = figure("\"commit\"", "\"osBytes\": ");
    return counted != found || counted > figure("\"commit\"", "\"peakBytes\": ");
}

/* Run number `index` of a round in which the first `plan_count` plans are tried. */
static void run_one(unsigned index, unsigned plan_count, uint64_t seed)
{
    unsigned choice = index * STEP % (PROGRAMS * RUNTIMES * plan_count);
    const char *runtime = runtimes[choice / PROGRAMS % RUNTIMES];
    const struct program *program = &programs[choice % PROGRAMS];
    const struct plan *plan = &plans[choice / PROGRAMS / RUNTIMES];
    struct row *row = &rows[program - programs][plan - plans];
    char command[6 * MAX_PATH];
    DWORD exit_code = 0;
    snprintf(command, sizeof(command),
             "\"%s\" --runtime \"%s\" --report \"json=%s\" %s "
             "--fault seed=%" PRIu64 ",level=%s,rate=1/%u,skip=%u \"%s/%s.exe\" %s",
             runner, runtime, report_file, program->options, seed, plan->level, plan->rate,
             plan->skip, folder, program->name, program->arguments);
    DeleteFileA(report_file);
    enum ending ending = run(command, &exit_code) ? CRASH : HANG;
    read_file(output_file, output);
    read_file(report_file, report);
    ending = ending == HANG ? HANG : ending_of(exit_code, plan);
    bool drifts = report_drifts();
    row->runs++;
    row->endings[ending]++;
    row->drifts += drifts;
    row->faults += figure("\"faults\"", "\"task\": ") + figure("\"faults\"", "\"appDomain\": ") +
                   figure("\"faults\"", "\"process\": ");
    if (ending >= CRASH || drifts) {
        printf("%s, exit code 0x%lx:\n%s\n%.2000s\n%.2000s\n",
               drifts           ? "a drift"
               : ending == HANG ? "a hang"
                                : "a crash",
               exit_code, command, output, report);
    }
}

/* ---- all of them ---- */

static void print_row(const char *program, const char *level, unsigned rate, const struct row *row)
{
    printf("%-8s %-14s 1/%-6u %4u %6u %6u %6u %6u %5u %5u %9" PRIu64 "\n", program, level, rate,
           row->runs, row->endings[WELL], row->endings[OUT_OF_MEMORY], row->endings[FAIL_FAST],
           row->endings[CRASH], row->endings[HANG], row->drifts, row->faults);
}

/* Whether all went well. */
static bool print_table(void)
{
    struct row total = {0};
    printf("%-8s %-14s %-8s %4s %6s %6s %6s %6s %5s %5s %9s\n", "program", "level", "rate", "runs",
           "well", "OutOf", "fail-", "crash", "hang", "drift", "refused");
    printf("%-8s %-14s %-8s %4s %6s %6s %6s\n", "", "", "", "", "", "Memory", "fast");
    for (unsigned program = 0; program < PROGRAMS; program++) {
        for (unsigned plan = 0; plan < PLANS; plan++) {
            const struct row *row = &rows[program][plan];
            if (row->runs > 0) {
                print_row(programs[program].name, plans[plan].level, plans[plan].rate, row);
            }
            total.runs += row->runs;
            total.drifts += row->drifts;
            total.faults += row->faults;
            for (unsigned ending = 0; ending < ENDINGS; ending++) {
                total.endings[ending] += row->endings[ending];
            }
        }
    }
    printf("totals: runs=%u failures=%" PRIu64 " well=%u out_of_memory=%u fail_fasts=%u crashes=%u "
           "hangs=%u drifts=%u\n",
           total.runs, total.faults, total.endings[WELL], total.endings[OUT_OF_MEMORY],
           total.endings[FAIL_FAST], total.endings[CRASH], total.endings[HANG], total.drifts);
    return total.endings[CRASH] + total.endings[HANG] + total.drifts == 0 && total.faults > 0;
}

int main(int argc, char **argv)
{
    if (argc < 6) {
        fprintf(stderr, "usage: test_fault_runs RUNS all|spare_process PROGRAMS_FOLDER RUNTIME_20 "
                        "RUNTIME_31 [SEED]\n");
        return 2;
    }
    unsigned runs = (unsigned)strtoul(argv[1], NULL, 10);
    unsigned plan_count = strcmp(argv[2], "all") == 0 ? PLANS : PLANS_THAT_SPARE_PROCESS;
    folder = argv[3];
    for (unsigned i = 0; i < RUNTIMES; i++) {
        runtimes[i] = argv[4 + i];
        if (GetFileAttributesA(runtimes[i]) == INVALID_FILE_ATTRIBUTES) {
            printf("SKIPPED: there is no .NET runtime in %s; ./dev setup fetches it\n",
                   argv[4 + i]);
            return 77;
        }
    }
    uint64_t seed = argc > 6 ? strtoull(argv[6], NULL, 0) : (uint64_t)time(NULL);
    seed = random_setting("HOSTMEM_SEED", seed);
    setvbuf(stdout, NULL, _IONBF, 0);
    printf("test_fault_runs: HOSTMEM_SEED=%" PRIu64 "\n", seed);
    GetModuleFileNameA(NULL, runner, sizeof(runner));
    strcpy(strrchr(runner, '\\') + 1, "hostmem-run.exe");
    snprintf(output_file, MAX_PATH, "fault_runs_%lu.txt", GetCurrentProcessId());
    snprintf(report_file, MAX_PATH, "fault_runs_%lu.json", GetCurrentProcessId());
    for (unsigned i = 0; i < runs; i++) {
        run_one(i, plan_count, seed + i);
    }
    DeleteFileA(output_file);
    DeleteFileA(report_file);
    return print_table() ? 0 : 1;
}
