/* SPDX-License-Identifier: MIT */
#include "framework_host.h"
#include "gc_settings.h"
#include "report.h"
#include "start_limit.h"
#include "text.h"

#include <wchar.h>

typedef HRESULT(STDAPICALLTYPE *create_instance_fn)(REFCLSID clsid, REFIID riid, void **object);

static const CLSID clsid_meta_host = {
    0x9280188d, 0x0e8e, 0x4867, {0xb3, 0x0c, 0x7f, 0xa8, 0x38, 0x84, 0xe8, 0xde}};
static const CLSID clsid_runtime_host = {
    0x90f1a06e, 0x7712, 0x4762, {0x86, 0xb5, 0x7a, 0x5e, 0xba, 0x6b, 0xdb, 0x02}};
static const IID iid_runtime_host = {
    0x90f1a06c, 0x7712, 0x4762, {0x86, 0xb5, 0x7a, 0x5e, 0xba, 0x6b, 0xdb, 0x02}};

static int no_framework(const WCHAR *version, const WCHAR *step, HRESULT hr)
{
    return text_fail(L".NET Framework %ls is not installed here (%ls: 0x%08lx); use a .NET Core "
                     L"runtime with --runtime",
                     version, step, hr);
}

/* mscoree.dll is loaded, not linked to: it is missing where there is no .NET Framework at all. */
static int open_runtime(const WCHAR *version, ICLRRuntimeInfo **info, ICLRRuntimeHost **host)
{
    HMODULE mscoree = LoadLibraryW(L"mscoree.dll");
    if (!mscoree) {
        return no_framework(version, L"mscoree.dll", HRESULT_FROM_WIN32(GetLastError()));
    }
    create_instance_fn create =
        (create_instance_fn)(void (*)(void))GetProcAddress(mscoree, "CLRCreateInstance");
    if (!create) {
        return no_framework(version, L"CLRCreateInstance", HRESULT_FROM_WIN32(GetLastError()));
    }
    void *object = NULL;
    HRESULT hr = create(&clsid_meta_host, &IID_ICLRMetaHost, &object);
    if (FAILED(hr)) {
        return no_framework(version, L"CLRCreateInstance", hr);
    }
    ICLRMetaHost *meta_host = object;
    hr = ICLRMetaHost_GetRuntime(meta_host, version, &IID_ICLRRuntimeInfo, &object);
    if (FAILED(hr)) {
        return no_framework(version, L"GetRuntime", hr);
    }
    *info = object;
    BOOL loadable = FALSE;
    hr = ICLRRuntimeInfo_IsLoadable(*info, &loadable);
    if (SUCCEEDED(hr) && !loadable) {
        return text_fail(L".NET Framework %ls cannot be loaded beside the runtime that is loaded "
                         L"already",
                         version);
    }
    hr = ICLRRuntimeInfo_GetInterface(*info, &clsid_runtime_host, &iid_runtime_host, &object);
    if (FAILED(hr)) {
        return no_framework(version, L"GetInterface", hr);
    }
    *host = object;
    return -1;
}

static void name_runtime(ICLRRuntimeInfo *info, const WCHAR *version)
{
    static WCHAR folder[MAX_PATH];
    DWORD size = MAX_PATH;
    if (FAILED(ICLRRuntimeInfo_GetRuntimeDirectory(info, folder, &size))) {
        folder[0] = 0;
    }
    report_runtime("framework", version, folder, "ICLRRuntimeHost");
}

static int start(ICLRRuntimeHost *host, IHostMemoryManager *manager)
{
    IHostControl *control;
    HRESULT hr = HostMemCreateHostControl(manager, NULL, &control);
    if (SUCCEEDED(hr)) {
        hr = ICLRRuntimeHost_SetHostControl(host, control);
        IHostControl_Release(control);
    }
    if (hr != S_OK) {
        return text_fail(L"the runtime refused the memory manager: SetHostControl returned 0x%08lx",
                         hr);
    }
    hr = ICLRRuntimeHost_Start(host);
    if (FAILED(hr) && start_limit_was_reached()) {
        return start_limit_tell();
    }
    if (FAILED(hr)) {
        return text_fail(L"the runtime did not start: Start returned 0x%08lx", hr);
    }
    return -1;
}

/* Nobody else knows: a CLR that is given its manager is bound by nobody. */
static void runtime_started(IHostMemoryManager *manager)
{
    void *lifetime;
    if (IHostMemoryManager_QueryInterface(manager, &IID_IHostRuntimeLifetime, &lifetime) == S_OK) {
        IHostRuntimeLifetime_RuntimeStarted((IHostRuntimeLifetime *)lifetime);
        IHostRuntimeLifetime_Release((IHostRuntimeLifetime *)lifetime);
    }
}

static WCHAR *joined_arguments(const struct options *options)
{
    WCHAR *joined = text_format(L"");
    for (int i = 0; i < options->argument_count; i++) {
        joined = text_format(L"%ls%ls%ls", joined, i > 0 ? L" " : L"", options->arguments[i]);
    }
    return joined;
}

int framework_host_run(const struct options *options, IHostMemoryManager *manager, int *exit_code)
{
    const WCHAR *dot = wcsrchr(options->entry, L'.');
    if (!dot || dot == options->entry || !dot[1]) {
        return text_fail(L"--entry %ls: write Namespace.Type.Method", options->entry);
    }
    ICLRRuntimeInfo *info = NULL;
    ICLRRuntimeHost *host = NULL;
    int result = open_runtime(options->framework, &info, &host);
    if (result >= 0) {
        return result;
    }
    name_runtime(info, options->framework);
    gc_settings_apply(options, NULL);
    result = start(host, manager);
    if (result >= 0) {
        return result;
    }
    runtime_started(manager);
    start_limit_started(NULL);
    if (options->start_only) {
        *exit_code = 0;
        return -1;
    }
    WCHAR *type = text_format(L"%.*ls", (int)(dot - options->entry), options->entry);
    DWORD value = 0;
    HRESULT hr = ICLRRuntimeHost_ExecuteInDefaultAppDomain(host, options->program, type, dot + 1,
                                                           joined_arguments(options), &value);
    if (FAILED(hr)) {
        return text_fail(L"%ls in %ls cannot be run: ExecuteInDefaultAppDomain returned 0x%08lx",
                         options->entry, options->program, hr);
    }
    ICLRRuntimeHost_Stop(host);
    *exit_code = (int)value;
    return -1;
}
