/* SPDX-License-Identifier: MIT
 *
 * A host that leaves everything to hostfxr, which finds and loads a runtime, and knows of hostmem
 * only that HostMemBindRuntimeOnLoad gives that runtime to a manager.
 *
 * hostfxr_host <hostfxr.dll> <dotnet root> <program.dll> [arguments]
 */
#include <hostmem/hostmem.h>

#include <stdio.h>

typedef int(__cdecl *hostfxr_main_fn)(int argc, WCHAR **argv, const WCHAR *host, const WCHAR *root,
                                      const WCHAR *program);

int wmain(int argc, WCHAR **argv);

static int fail(const char *what, unsigned long error)
{
    printf("%s: 0x%08lx\n", what, error);
    return 1;
}

int wmain(int argc, WCHAR **argv)
{
    if (argc < 4) {
        return fail("the arguments are not right", (unsigned long)argc);
    }
    HMODULE hostfxr = LoadLibraryExW(argv[1], NULL, LOAD_WITH_ALTERED_SEARCH_PATH);
    hostfxr_main_fn hostfxr_main =
        (hostfxr_main_fn)(void (*)(void))GetProcAddress(hostfxr, "hostfxr_main_startupinfo");
    if (!hostfxr_main) {
        return fail("no hostfxr_main_startupinfo", GetLastError());
    }

    IHostMemoryManager *manager;
    HRESULT hr = HostMemCreateManager(NULL, &manager);
    if (hr == S_OK) {
        hr = HostMemBindRuntimeOnLoad(manager, NULL, NULL);
    }
    if (hr != S_OK) {
        return fail("no binding", (unsigned long)hr);
    }
    int exit_code = hostfxr_main(argc - 3, argv + 3, argv[0], argv[2], argv[3]);

    HOSTMEM_BINDING binding = {.Size = sizeof(binding)};
    HostMemGetBinding(&binding);
    UINT64 counted, found;
    void *statistics = NULL;
    IHostMemoryManager_QueryInterface(manager, &IID_IHostMemoryStatistics, &statistics);
    IHostMemoryStatistics_MeasureCommit((IHostMemoryStatistics *)statistics, &counted, &found);
    printf("exit code %d, binding 0x%08lx, %u functions bound, %u passed on, %u unknown, %s\n",
           exit_code, binding.Result, binding.BoundFunctions, binding.PassedOnFunctions,
           binding.UnknownFunctions,
           counted == found && found > 0 ? "accounting right" : "ACCOUNTING WRONG");
    return exit_code;
}
