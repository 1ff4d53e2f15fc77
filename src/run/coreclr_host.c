/* SPDX-License-Identifier: MIT
 *
 * There are two ways to start a .NET Core program. hostfxr, the one behind dotnet.exe, reads
 * runtimeconfig.json and deps.json and finds the coreclr.dll that is loaded and bound already.
 * Where there is no runtimeconfig.json, coreclr_initialize does, with the framework's own DLLs as
 * the trusted ones.
 */
#include "coreclr_host.h"
#include "exit_hook.h"
#include "gc_settings.h"
#include "report.h"
#include "runtime_locator.h"
#include "start_limit.h"
#include "text.h"

#include <stdlib.h>
#include <string.h>

typedef int(STDMETHODCALLTYPE *coreclr_initialize_fn)(const char *host, const char *domain,
                                                      int property_count, const char **names,
                                                      const char **values, void **runtime,
                                                      unsigned *domain_id);
typedef int(STDMETHODCALLTYPE *coreclr_execute_assembly_fn)(void *runtime, unsigned domain_id,
                                                            int argc, const char **argv,
                                                            const char *program,
                                                            unsigned *exit_code);
typedef int(STDMETHODCALLTYPE *coreclr_shutdown_2_fn)(void *runtime, unsigned domain_id,
                                                      int *exit_code);
typedef int(__cdecl *hostfxr_main_startupinfo_fn)(int argc, const WCHAR **argv, const WCHAR *host,
                                                  const WCHAR *root, const WCHAR *app);

#define FUNCTION(type, module, name) ((type)(void (*)(void))GetProcAddress(module, name))

/* ---- Through hostfxr ---- */

/* NULL where hostfxr_main is all there is, before 2.1: it takes the folder of the running program,
 * which is this one, for the dotnet root. */
static hostfxr_main_startupinfo_fn load_hostfxr(const struct runtime_location *location)
{
    if (!location->runtime_config || !location->hostfxr) {
        return NULL;
    }
    HMODULE hostfxr = LoadLibraryExW(location->hostfxr, NULL, LOAD_WITH_ALTERED_SEARCH_PATH);
    return hostfxr ? FUNCTION(hostfxr_main_startupinfo_fn, hostfxr, "hostfxr_main_startupinfo")
                   : NULL;
}

static int run_with_hostfxr(const struct options *options, const struct runtime_location *location,
                            hostfxr_main_startupinfo_fn hostfxr_main, int *exit_code)
{
    const WCHAR *dotnet = text_format(L"%ls\\dotnet.exe", location->root);
    const WCHAR *prefix[] = {dotnet, L"exec", L"--fx-version", location->version, options->program};
    int count = (int)(sizeof(prefix) / sizeof(prefix[0]));
    const WCHAR **argv = calloc((size_t)(count + options->argument_count), sizeof(*argv));
    if (!argv) {
        return text_fail(L"out of memory");
    }
    memcpy(argv, prefix, sizeof(prefix));
    for (int i = 0; i < options->argument_count; i++) {
        argv[count++] = options->arguments[i];
    }
    *exit_code =
        hostfxr_main(count, argv, dotnet, location->root, path_with_extension(dotnet, L".dll"));
    if ((DWORD)*exit_code == CORECLR_INIT_FAILED && start_limit_was_reached()) {
        return start_limit_tell();
    }
    return -1;
}

/* ---- Through coreclr_initialize ---- */

/* Every DLL of the framework, separated by semicolons, in UTF-8. */
static char *trusted_assemblies(const WCHAR *framework)
{
    char *prefix = text_utf8(text_format(L"%ls\\", framework));
    size_t used = 0, capacity = 0;
    char *list = NULL;
    WIN32_FIND_DATAW found;
    HANDLE search = FindFirstFileW(text_format(L"%ls\\*.dll", framework), &found);
    for (BOOL more = search != INVALID_HANDLE_VALUE; more; more = FindNextFileW(search, &found)) {
        char *name = text_utf8(found.cFileName);
        size_t size = strlen(prefix) + strlen(name) + 1;
        if (used + size + 1 > capacity) {
            capacity = 2 * capacity + size + 1;
            char *larger = realloc(list, capacity);
            if (!larger) {
                free(list);
                list = NULL;
                break;
            }
            list = larger;
        }
        strcpy(list + used, prefix);
        strcat(list + used, name);
        strcat(list + used, ";");
        used += size;
    }
    if (search != INVALID_HANDLE_VALUE) {
        FindClose(search);
    }
    return list;
}

static const char **utf8_arguments(const struct options *options)
{
    const char **argv = calloc((size_t)options->argument_count + 1, sizeof(*argv));
    for (int i = 0; argv && i < options->argument_count; i++) {
        argv[i] = text_utf8(options->arguments[i]);
    }
    return argv;
}

static int run_with_coreclr(const struct options *options, const struct runtime_location *location,
                            HMODULE coreclr, int *exit_code)
{
    coreclr_initialize_fn initialize =
        FUNCTION(coreclr_initialize_fn, coreclr, "coreclr_initialize");
    coreclr_execute_assembly_fn execute =
        FUNCTION(coreclr_execute_assembly_fn, coreclr, "coreclr_execute_assembly");
    coreclr_shutdown_2_fn shutdown = FUNCTION(coreclr_shutdown_2_fn, coreclr, "coreclr_shutdown_2");
    if (!initialize || !execute || !shutdown) {
        return text_fail(L"%ls is too old: .NET Core 2.0 is the first version that works",
                         location->coreclr);
    }
    WCHAR *folder = path_folder(options->program);
    const char *names[] = {"TRUSTED_PLATFORM_ASSEMBLIES", "APP_PATHS",
                           "NATIVE_DLL_SEARCH_DIRECTORIES"};
    const char *values[] = {trusted_assemblies(location->framework), text_utf8(folder),
                            text_utf8(text_format(L"%ls\\;%ls\\", folder, location->framework))};
    const char **argv = utf8_arguments(options);
    if (!values[0] || !argv) {
        return text_fail(L"out of memory");
    }
    const char *program = text_utf8(options->program);
    void *runtime;
    unsigned domain;
    int hr = initialize(program, "hostmem-run", 3, names, values, &runtime, &domain);
    if (hr < 0 && start_limit_was_reached()) {
        return start_limit_tell();
    }
    if (hr < 0) {
        return text_fail(L"%ls did not start: coreclr_initialize returned 0x%08x%ls",
                         location->coreclr, hr, options->faults.Size != 0 ? L" with --fault" : L"");
    }
    start_limit_started(NULL);
    if (options->start_only) {
        *exit_code = 0;
        return -1;
    }
    unsigned result = 0;
    hr = execute(runtime, domain, options->argument_count, argv, program, &result);
    if (hr < 0) {
        return text_fail(L"%ls cannot be run: coreclr_execute_assembly returned 0x%08x",
                         options->program, hr);
    }
    int latched = 0;
    *exit_code = (int)result;
    if (shutdown(runtime, domain, &latched) >= 0) {
        *exit_code = latched; /* the same, or Environment.ExitCode of a Main that returns nothing */
    }
    return -1;
}

int coreclr_host_run(const struct options *options, IHostMemoryManager *manager, int *exit_code)
{
    struct runtime_location location;
    int result = runtime_locate(options->runtime, options->program, &location);
    if (result >= 0) {
        return result;
    }
    HMODULE coreclr = LoadLibraryExW(location.coreclr, NULL, LOAD_WITH_ALTERED_SEARCH_PATH);
    if (!coreclr) {
        return text_fail(L"cannot load %ls: error %lu", location.coreclr, GetLastError());
    }
    /* hostfxr cannot start a runtime without running a program. */
    hostfxr_main_startupinfo_fn hostfxr_main = options->start_only ? NULL : load_hostfxr(&location);
    const HOSTMEM_BIND_OPTIONS bind_options = {
        .Size = sizeof(bind_options),
        .Flags = options->binding_flags,
        .OnStart = hostfxr_main ? start_limit_started : NULL, /* coreclr_initialize returns */
        .OnTermination = exit_hook_run_apart,
    };
    HRESULT hr = HostMemBindRuntime(manager, coreclr, &bind_options);
    if (FAILED(hr)) {
        return text_fail(L"cannot bind %ls: HostMemBindRuntime returned 0x%08lx", location.coreclr,
                         hr);
    }
    report_gc_settings(gc_settings_apply(options, &location));
    report_runtime("coreclr", location.version, location.coreclr,
                   hostfxr_main ? "hostfxr" : "coreclr_initialize");
    if (hostfxr_main) {
        return run_with_hostfxr(options, &location, hostfxr_main, exit_code);
    }
    return run_with_coreclr(options, &location, coreclr, exit_code);
}
