/* SPDX-License-Identifier: MIT
 *
 * The ways to CoCreateInstance(CLSID_HostMemoryManager): registered per machine, registered per
 * user, and not registered at all but named by a manifest. The registry is left as it was found.
 */
#include "contract/contract.h"

#include <wchar.h>

#define CLASS_KEY L"Software\\Classes\\CLSID\\{C2A81E73-4F5B-4D96-A0E8-1B7D93C5F60A}"
#define SERVER_KEY CLASS_KEY L"\\InprocServer32"

typedef HRESULT(STDAPICALLTYPE *register_function)(void);
typedef HRESULT(STDAPICALLTYPE *install_function)(BOOL, const WCHAR *);

static register_function register_server, unregister_server;
static install_function install;
static WCHAR path[MAX_PATH]; /* of the DLL */

static FARPROC function(const char *name)
{
    FARPROC address = GetProcAddress(GetModuleHandleW(L"hostmem.dll"), name);
    assert_non_null(address);
    return address;
}

static int start(void **state)
{
    (void)state;
    register_server = (register_function)(void (*)(void))function("DllRegisterServer");
    unregister_server = (register_function)(void (*)(void))function("DllUnregisterServer");
    install = (install_function)(void (*)(void))function("DllInstall");
    dll_path(path, MAX_PATH);
    assert_int_equal(CoInitializeEx(NULL, COINIT_MULTITHREADED), S_OK);
    unregister_server(); /* what an interrupted run may have left */
    install(FALSE, L"user");
    return 0;
}

static int finish(void **state)
{
    (void)state;
    unregister_server();
    install(FALSE, L"user");
    CoUninitialize();
    return 0;
}

/* ---- the registry ---- */

static bool key_exists(HKEY root, const WCHAR *name)
{
    HKEY key;
    LSTATUS status = RegOpenKeyExW(root, name, 0, KEY_READ, &key);
    if (status == ERROR_SUCCESS) {
        RegCloseKey(key);
    }
    assert_true(status == ERROR_SUCCESS || status == ERROR_FILE_NOT_FOUND);
    return status == ERROR_SUCCESS;
}

static void expect_text(HKEY root, const WCHAR *key, const WCHAR *name, const WCHAR *expected)
{
    WCHAR value[MAX_PATH] = L"";
    DWORD bytes = sizeof(value);
    assert_int_equal(RegGetValueW(root, key, name, RRF_RT_REG_SZ, NULL, value, &bytes), 0);
    if (_wcsicmp(value, expected) != 0) {
        fail_at(__FILE__, __LINE__, "value %ls of %ls is \"%ls\", not \"%ls\"",
                name == NULL ? L"(default)" : name, key, value, expected);
    }
}

static void expect_counts(HKEY root, const WCHAR *name, DWORD keys, DWORD values)
{
    DWORD found_keys = POISON_DWORD, found_values = POISON_DWORD;
    HKEY key;
    assert_int_equal(RegOpenKeyExW(root, name, 0, KEY_READ, &key), 0);
    assert_int_equal(RegQueryInfoKeyW(key, NULL, NULL, NULL, &found_keys, NULL, NULL, &found_values,
                                      NULL, NULL, NULL, NULL),
                     0);
    RegCloseKey(key);
    assert_int_equal(found_keys, keys);
    assert_int_equal(found_values, values);
}

static void expect_registered(HKEY root)
{
    expect_text(root, CLASS_KEY, NULL, L"hostmem memory manager");
    expect_text(root, SERVER_KEY, NULL, path);
    expect_text(root, SERVER_KEY, L"ThreadingModel", L"Both");
    /* Nothing else. */
    expect_counts(root, CLASS_KEY, 1, 1);
    expect_counts(root, SERVER_KEY, 0, 2);
}

static void expect_unregistered(HKEY root)
{
    assert_false(key_exists(root, SERVER_KEY));
    assert_false(key_exists(root, CLASS_KEY));
}

static void expect_manager_from_com(HRESULT expected)
{
    IHostMemoryManager *manager = POISON_POINTER;
    EXPECT_HR(CoCreateInstance(&CLSID_HostMemoryManager, NULL, CLSCTX_INPROC_SERVER,
                               &IID_IHostMemoryManager, (void **)&manager),
              expected);
    if (expected == S_OK) {
        char *memory = reserve_committed(manager, PAGE);
        assert_int_equal(statistics_of(manager).CommitCurrentBytes, PAGE);
        EXPECT_OK(IHostMemoryManager_VirtualFree(manager, memory, 0, MEM_RELEASE));
        assert_int_equal(IHostMemoryManager_Release(manager), 0);
    } else {
        assert_null(manager);
    }
}

static void registered_per_machine(void **state)
{
    (void)state;
    expect_manager_from_com(REGDB_E_CLASSNOTREG);
    EXPECT_HR(register_server(), S_OK);
    expect_registered(HKEY_LOCAL_MACHINE);
    expect_unregistered(HKEY_CURRENT_USER);
    expect_manager_from_com(S_OK);
    EXPECT_HR(register_server(), S_OK); /* again, over it */
    expect_registered(HKEY_LOCAL_MACHINE);
    EXPECT_HR(unregister_server(), S_OK);
    expect_unregistered(HKEY_LOCAL_MACHINE);
    expect_manager_from_com(REGDB_E_CLASSNOTREG);
}

static void registered_per_user(void **state)
{
    (void)state;
    EXPECT_HR(install(TRUE, L"user"), S_OK);
    expect_registered(HKEY_CURRENT_USER);
    expect_unregistered(HKEY_LOCAL_MACHINE);
    /* Windows: S_OK, HKEY_CLASSES_ROOT is the user's classes over the machine's. */
    expect_manager_from_com(known_wine_gap() ? REGDB_E_CLASSNOTREG : S_OK);
    EXPECT_HR(install(FALSE, L"user"), S_OK);
    expect_unregistered(HKEY_CURRENT_USER);
    EXPECT_HR(install(TRUE, L"USER"), S_OK); /* regsvr32 /i:USER */
    expect_registered(HKEY_CURRENT_USER);
    EXPECT_HR(install(FALSE, L"User"), S_OK);
    expect_unregistered(HKEY_CURRENT_USER);
}

static void install_without_a_user_is_per_machine(void **state)
{
    static const WCHAR *const none[] = {NULL, L""};
    (void)state;
    for (size_t i = 0; i < sizeof(none) / sizeof(none[0]); i++) {
        EXPECT_HR(install(TRUE, none[i]), S_OK);
        expect_registered(HKEY_LOCAL_MACHINE);
        expect_unregistered(HKEY_CURRENT_USER);
        EXPECT_HR(install(FALSE, none[i]), S_OK);
        expect_unregistered(HKEY_LOCAL_MACHINE);
    }
}

static void install_for_somebody_else_is_refused(void **state)
{
    (void)state;
    EXPECT_HR(install(TRUE, L"users"), E_INVALIDARG);
    EXPECT_HR(install(TRUE, L"machine"), E_INVALIDARG);
    EXPECT_HR(install(FALSE, L" user"), E_INVALIDARG);
    expect_unregistered(HKEY_LOCAL_MACHINE);
    expect_unregistered(HKEY_CURRENT_USER);
}

static void unregistering_what_is_not_registered_succeeds(void **state)
{
    (void)state;
    EXPECT_HR(unregister_server(), S_OK);
    EXPECT_HR(install(FALSE, L"user"), S_OK);
}

static void machine_and_user_do_not_touch_each_other(void **state)
{
    (void)state;
    EXPECT_HR(register_server(), S_OK);
    EXPECT_HR(install(TRUE, L"user"), S_OK);
    EXPECT_HR(unregister_server(), S_OK);
    expect_registered(HKEY_CURRENT_USER);
    EXPECT_HR(register_server(), S_OK);
    EXPECT_HR(install(FALSE, L"user"), S_OK);
    expect_registered(HKEY_LOCAL_MACHINE);
    EXPECT_HR(unregister_server(), S_OK);
    expect_unregistered(HKEY_LOCAL_MACHINE);
}

/* Both means: any apartment creates it directly, without a proxy. */
static DWORD WINAPI create_in_apartment(void *context)
{
    IHostMemoryManager *manager = NULL;
    HRESULT hr = CoInitializeEx(NULL, COINIT_APARTMENTTHREADED);
    if (hr != S_OK) {
        return 1;
    }
    (void)context;
    hr = CoCreateInstance(&CLSID_HostMemoryManager, NULL, CLSCTX_INPROC_SERVER,
                          &IID_IHostMemoryManager, (void **)&manager);
    if (hr == S_OK) {
        IHostMemoryManager_Release(manager);
    }
    CoUninitialize();
    return hr == S_OK ? 0 : 2;
}

static void every_apartment_creates_it_directly(void **state)
{
    (void)state;
    EXPECT_HR(register_server(), S_OK);
    run_threads(2, create_in_apartment, NULL);
    EXPECT_HR(unregister_server(), S_OK);
}

/* ---- no registration ---- */

static void expect_manager_in_context(const ACTCTXW *description)
{
    ULONG_PTR cookie = 0;
    HANDLE context = CreateActCtxW(description);
    expect_unregistered(HKEY_LOCAL_MACHINE);
    expect_unregistered(HKEY_CURRENT_USER);
    if (context == INVALID_HANDLE_VALUE) {
        fail_at(__FILE__, __LINE__, "CreateActCtx: error %lu", GetLastError());
    }
    assert_true(ActivateActCtx(context, &cookie));
    expect_manager_from_com(S_OK);
    assert_true(DeactivateActCtx(0, cookie));
    ReleaseActCtx(context);
    expect_manager_from_com(REGDB_E_CLASSNOTREG);
}

static void the_manifest_in_the_dll_is_enough(void **state)
{
    const ACTCTXW description = {
        .cbSize = sizeof(description),
        .dwFlags = ACTCTX_FLAG_RESOURCE_NAME_VALID,
        .lpSource = path,
        .lpResourceName = MAKEINTRESOURCEW(1),
    };
    (void)state;
    expect_manager_in_context(&description);
}

/* What a program's own manifest says. */
static void a_program_that_depends_on_the_assembly_finds_it(void **state)
{
    static const char manifest[] =
        "<?xml version=\"1.0\" encoding=\"UTF-8\" standalone=\"yes\"?>\n"
        "<assembly xmlns=\"urn:schemas-microsoft-com:asm.v1\" manifestVersion=\"1.0\">\n"
        "  <assemblyIdentity type=\"win32\" name=\"program\" version=\"1.0.0.0\"/>\n"
        "  <dependency><dependentAssembly>\n"
        "    <assemblyIdentity type=\"win32\" name=\"hostmem\" version=\"0.1.0.0\"/>\n"
        "  </dependentAssembly></dependency>\n"
        "</assembly>\n";
    WCHAR folder[MAX_PATH], file[MAX_PATH];
    DWORD written = POISON_DWORD;
    (void)state;
    wcscpy(folder, path);
    *wcsrchr(folder, L'\\') = L'\0';
    swprintf(file, MAX_PATH, L"%ls\\test_registration-program.manifest", folder);
    HANDLE handle = CreateFileW(file, GENERIC_WRITE, 0, NULL, CREATE_ALWAYS, 0, NULL);
    assert_ptr_not_equal(handle, INVALID_HANDLE_VALUE);
    assert_true(WriteFile(handle, manifest, sizeof(manifest) - 1, &written, NULL));
    assert_int_equal(written, sizeof(manifest) - 1);
    CloseHandle(handle);
    const ACTCTXW description = {
        .cbSize = sizeof(description),
        .dwFlags = ACTCTX_FLAG_ASSEMBLY_DIRECTORY_VALID,
        .lpSource = file,
        .lpAssemblyDirectory = folder,
    };
    expect_manager_in_context(&description);
    assert_true(DeleteFileW(file));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(registered_per_machine),
        cmocka_unit_test(registered_per_user),
        cmocka_unit_test(install_without_a_user_is_per_machine),
        cmocka_unit_test(install_for_somebody_else_is_refused),
        cmocka_unit_test(unregistering_what_is_not_registered_succeeds),
        cmocka_unit_test(machine_and_user_do_not_touch_each_other),
        cmocka_unit_test(every_apartment_creates_it_directly),
        cmocka_unit_test(the_manifest_in_the_dll_is_enough),
        cmocka_unit_test(a_program_that_depends_on_the_assembly_finds_it),
    };
    return cmocka_run_group_tests(tests, start, finish);
}
