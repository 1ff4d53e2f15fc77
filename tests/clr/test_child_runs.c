/* SPDX-License-Identifier: MIT
 *
 * What hostmem-run leaves behind when it runs an executable: a report when the program is killed, no
 * program when it is killed itself, and no process and no handle after many starts.
 *
 * test_child_runs <starts> <hostmem-run.exe> <args.exe> <linger.exe> <dotnet root>
 * args.exe returns how many arguments it has; linger.exe fills some memory and then sleeps.
 */
#include "contract/contract.h"
#include "run/child_host.h"

#include <tlhelp32.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <wchar.h>

#define PATIENCE_MS 60000
#define PERIOD_MS 100 /* between two looks of the agent */
#define KILLED 99

static int starts;
static WCHAR hostmem_run[MAX_PATH], args_program[MAX_PATH], linger_program[MAX_PATH],
    dotnet[MAX_PATH];

/* ---- Processes ---- */

/* The first process that was started by `parent` or, with 0, that has the name. 0: none. */
static DWORD find_process(DWORD parent, const WCHAR *name)
{
    HANDLE all = CreateToolhelp32Snapshot(TH32CS_SNAPPROCESS, 0);
    PROCESSENTRY32W process = {.dwSize = sizeof(process)};
    DWORD found = 0;
    for (BOOL more = Process32FirstW(all, &process); more && !found;
         more = Process32NextW(all, &process)) {
        if (_wcsicmp(process.szExeFile, name) == 0 &&
            (!parent || process.th32ParentProcessID == parent)) {
            found = process.th32ProcessID;
        }
    }
    CloseHandle(all);
    return found;
}

static const WCHAR *name_of(const WCHAR *path)
{
    return wcsrchr(path, L'\\') + 1;
}

/* Reads what linger prints when it has filled its memory. */
static void wait_until_filled(HANDLE output)
{
    char text[256] = "";
    DWORD used = 0, size = 0;
    while (!strstr(text, "filled") && used < sizeof(text) - 1 &&
           ReadFile(output, text + used, (DWORD)sizeof(text) - 1 - used, &size, NULL)) {
        used += size;
    }
    assert_non_null(strstr(text, "filled"));
}

/* Starts linger under hostmem-run with the report in a file, waits until it sleeps. */
static HANDLE start_lingering(const WCHAR *report, DWORD flags, PROCESS_INFORMATION *run)
{
    WCHAR command[6 * MAX_PATH];
    STARTUPINFOW startup = {.cb = sizeof(startup), .dwFlags = STARTF_USESTDHANDLES};
    SECURITY_ATTRIBUTES inherited = {.nLength = sizeof(inherited), .bInheritHandle = TRUE};
    HANDLE output;
    swprintf(command, sizeof(command) / sizeof(WCHAR),
             L"\"%ls\" --runtime \"%ls\" --report \"json=%ls\" \"%ls\" 4 600", hostmem_run, dotnet,
             report, linger_program);
    assert_true(CreatePipe(&output, &startup.hStdOutput, &inherited, 0));
    assert_true(
        CreateProcessW(hostmem_run, command, NULL, NULL, TRUE, flags, NULL, NULL, &startup, run));
    CloseHandle(startup.hStdOutput);
    wait_until_filled(output);
    CloseHandle(output);
    Sleep(2 * PERIOD_MS); /* then this is known */
    HANDLE program = OpenProcess(PROCESS_ALL_ACCESS, FALSE,
                                 find_process(run->dwProcessId, name_of(linger_program)));
    assert_non_null(program);
    return program;
}

static void close(PROCESS_INFORMATION *run, HANDLE program)
{
    CloseHandle(program);
    CloseHandle(run->hThread);
    CloseHandle(run->hProcess);
}

/* Waits for hostmem-run to end, and reads the report. */
static const char *read_report(const PROCESS_INFORMATION *run, const WCHAR *path, DWORD *exit_code)
{
    static char report[16384];
    DWORD size = 0;
    assert_int_equal(WaitForSingleObject(run->hProcess, PATIENCE_MS), WAIT_OBJECT_0);
    assert_true(GetExitCodeProcess(run->hProcess, exit_code));
    HANDLE file = CreateFileW(path, GENERIC_READ, 0, NULL, OPEN_EXISTING, 0, NULL);
    assert_true(ReadFile(file, report, sizeof(report) - 1, &size, NULL));
    CloseHandle(file);
    report[size] = 0;
    return report;
}

/* The number behind a key of the report. */
static long long value_of(const char *report, const char *key)
{
    const char *place = strstr(report, key);
    long long value = -1;
    assert_non_null(place);
    assert_int_equal(sscanf(place + strlen(key), "\": %lld", &value), 1);
    return value;
}

/* ---- The tests ---- */

static void expect_figures(const char *report)
{
    assert_in_range(value_of(report, "VirtualAlloc"), 50, 1000000);
    assert_in_range(value_of(report, "currentBytes"), 4 * MIB,
                    64 * MIB); /* of commit: it is first */
    assert_int_equal(value_of(report, "osBytes"), value_of(report, "currentBytes"));
}

static void a_killed_program_is_reported_with_what_was_known(void **state)
{
    WCHAR path[MAX_PATH];
    PROCESS_INFORMATION run;
    DWORD code = POISON_DWORD;
    (void)state;
    swprintf(path, MAX_PATH, L"%ls.killed.json", linger_program);
    HANDLE program = start_lingering(path, 0, &run);
    assert_true(TerminateProcess(program, KILLED));
    const char *report = read_report(&run, path, &code);
    assert_int_equal(code, KILLED);
    assert_int_equal(value_of(report, "exitCode"), code);
    assert_in_range(value_of(report, "figuresAgeMilliseconds"), 1, PATIENCE_MS);
    expect_figures(report);
    close(&run, program);
}

/* Both have a console of their own for it; we are in it for a moment. */
static void ctrl_c_ends_the_program_and_hostmem_run_reports(void **state)
{
    WCHAR path[MAX_PATH];
    PROCESS_INFORMATION run;
    DWORD code = POISON_DWORD;
    (void)state;
    swprintf(path, MAX_PATH, L"%ls.ctrl_c.json", linger_program);
    HANDLE program = start_lingering(path, CREATE_NO_WINDOW, &run);
    FreeConsole();
    assert_true(AttachConsole(run.dwProcessId));
    assert_true(SetConsoleCtrlHandler(NULL, TRUE));
    assert_true(GenerateConsoleCtrlEvent(CTRL_C_EVENT, 0));
    const char *report = read_report(&run, path, &code);
    assert_true(code == (DWORD)STATUS_CONTROL_C_EXIT || code == 0); /* of Windows, and of Wine */
    assert_int_equal(value_of(report, "exitCode"), code);
    assert_int_equal(value_of(report, "figuresAgeMilliseconds"), 0);
    expect_figures(report);
    assert_true(SetConsoleCtrlHandler(NULL, FALSE));
    FreeConsole();
    close(&run, program);
}

static void a_program_ends_with_the_hostmem_run_that_is_killed(void **state)
{
    WCHAR path[MAX_PATH];
    PROCESS_INFORMATION run;
    (void)state;
    swprintf(path, MAX_PATH, L"%ls.orphan.json", linger_program);
    HANDLE program = start_lingering(path, 0, &run);
    assert_int_equal(WaitForSingleObject(program, 0), WAIT_TIMEOUT);
    assert_true(TerminateProcess(run.hProcess, KILLED));
    assert_int_equal(WaitForSingleObject(program, PATIENCE_MS), WAIT_OBJECT_0);
    close(&run, program);
}

/* Handles of this process: the numbers that the system takes for one. */
static unsigned handles(void)
{
    unsigned count = 0;
    DWORD ignored;
    for (uintptr_t number = 4; number < 4 * 4096; number += 4) {
        count += GetHandleInformation((HANDLE)number, &ignored) != 0;
    }
    return count;
}

static void many_starts_leave_no_process_and_no_handle(void **state)
{
    static WCHAR *arguments[] = {L"one", L"t w o", L"\\\"", L"", L"five"};
    const struct options options = {.runtime = dotnet,
                                    .runtime_is_given = TRUE,
                                    .report = REPORT_NONE,
                                    .program = args_program,
                                    .argument_count = 5,
                                    .arguments = arguments};
    unsigned before = 0;
    (void)state;
    for (int i = 0; i <= starts; i++) {
        assert_int_equal(child_host_run(&options), 5);
        before = i == 0 ? handles() : before; /* the first one opens what stays open */
    }
    assert_in_range(before, 3, 1000);
    assert_int_equal(handles(), before);
    assert_int_equal(find_process(0, name_of(args_program)), 0);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_killed_program_is_reported_with_what_was_known),
        cmocka_unit_test(ctrl_c_ends_the_program_and_hostmem_run_reports),
        cmocka_unit_test(a_program_ends_with_the_hostmem_run_that_is_killed),
        cmocka_unit_test(many_starts_leave_no_process_and_no_handle),
    };
    WCHAR *paths[] = {hostmem_run, args_program, linger_program, dotnet};
    if (argc != 6) {
        return 2;
    }
    starts = atoi(argv[1]);
    for (int i = 0; i < 4; i++) {
        WCHAR path[MAX_PATH];
        MultiByteToWideChar(CP_UTF8, 0, argv[i + 2], -1, path, MAX_PATH);
        GetFullPathNameW(path, MAX_PATH, paths[i], NULL);
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
