/* SPDX-License-Identifier: MIT
 *
 * Has a server of the Model Context Protocol work: starts it, asks it so many times for the list of its
 * tools, closes its input, and returns its exit code. Requests and answers are lines of JSON.
 *
 * mcp_client <requests> <command line of the server>
 */
#include <windows.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <wchar.h>

#define FAILED_TO_WORK 98

static const char *const greeting[] = {
    "{\"jsonrpc\": \"2.0\", \"id\": 0, \"method\": \"initialize\", \"params\": "
    "{\"protocolVersion\": "
    "\"2024-11-05\", \"capabilities\": {}, \"clientInfo\": {\"name\": \"test\", \"version\": "
    "\"1\"}}}\n",
    "{\"jsonrpc\": \"2.0\", \"method\": \"notifications/initialized\"}\n"};

static const char request[] = "{\"jsonrpc\": \"2.0\", \"id\": 1, \"method\": \"tools/list\"}\n";

/* Where the server's ends of the pipes come from, and ours. */
struct server {
    HANDLE input;  /* we write */
    HANDLE output; /* we read */
    PROCESS_INFORMATION process;
};

static BOOL start(struct server *server, WCHAR *command)
{
    STARTUPINFOW startup = {.cb = sizeof(startup), .dwFlags = STARTF_USESTDHANDLES};
    SECURITY_ATTRIBUTES inherited = {.nLength = sizeof(inherited), .bInheritHandle = TRUE};
    startup.hStdError = GetStdHandle(STD_ERROR_HANDLE);
    BOOL started =
        CreatePipe(&startup.hStdInput, &server->input, &inherited, 0) &&
        CreatePipe(&server->output, &startup.hStdOutput, &inherited, 0) &&
        SetHandleInformation(server->input, HANDLE_FLAG_INHERIT, 0) &&
        SetHandleInformation(server->output, HANDLE_FLAG_INHERIT, 0) &&
        CreateProcessW(NULL, command, NULL, NULL, TRUE, 0, NULL, NULL, &startup, &server->process);
    CloseHandle(startup.hStdInput);
    CloseHandle(startup.hStdOutput);
    return started;
}

static BOOL write_line(const struct server *server, const char *line)
{
    DWORD written;
    return WriteFile(server->input, line, (DWORD)strlen(line), &written, NULL);
}

/* Read to the end of a line; its bytes, 0 when there is none. */
static size_t read_line(const struct server *server)
{
    char part[65536];
    size_t bytes = 0;
    DWORD got;
    while (ReadFile(server->output, part, sizeof(part), &got, NULL) && got > 0) {
        bytes += got;
        if (part[got - 1] == '\n') { /* nothing follows before the next request */
            return bytes;
        }
    }
    return 0;
}

static BOOL work(const struct server *server, long requests)
{
    size_t bytes = 0;
    if (!write_line(server, greeting[0]) || read_line(server) == 0 ||
        !write_line(server, greeting[1])) {
        return FALSE;
    }
    for (long i = 0; i < requests; i++) {
        size_t answer = write_line(server, request) ? read_line(server) : 0;
        if (answer == 0) {
            return FALSE;
        }
        bytes += answer;
    }
    printf("%ld answers, %llu KiB\n", requests, (unsigned long long)bytes / 1024);
    return TRUE;
}

/* Behind the first two arguments, none of which has a space in it. */
static WCHAR *rest_of_command_line(void)
{
    WCHAR *rest = GetCommandLineW();
    for (int i = 0; i < 2; i++) {
        rest += *rest == L'"' ? wcscspn(rest + 1, L"\"") + 2 : wcscspn(rest, L" ");
        rest += wcsspn(rest, L" ");
    }
    return rest;
}

int wmain(int argc, WCHAR **argv); /* as -municode calls it; no header declares it */

int wmain(int argc, WCHAR **argv)
{
    struct server server = {0};
    DWORD exit_code = FAILED_TO_WORK;
    if (argc < 3 || !start(&server, rest_of_command_line())) {
        fprintf(stderr, "mcp_client: the server cannot be started: error %lu\n", GetLastError());
        return FAILED_TO_WORK;
    }
    BOOL worked = work(&server, wcstol(argv[1], NULL, 10));
    CloseHandle(server.input);
    while (read_line(&server) != 0) { /* until it has ended */
    }
    WaitForSingleObject(server.process.hProcess, INFINITE);
    GetExitCodeProcess(server.process.hProcess, &exit_code);
    return worked ? (int)exit_code : FAILED_TO_WORK;
}
