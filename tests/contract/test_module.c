/* SPDX-License-Identifier: MIT
 *
 * The DLL as a file: what it exports and imports, its protections, its resources, and the layout of
 * its vtables. Read from the headers of the loaded module.
 */
#include "contract/contract.h"

#include <stdlib.h>
#include <string.h>

static const char *base;
static const IMAGE_NT_HEADERS *headers;

static int find_module(void **state)
{
    (void)state;
    base = (const char *)GetModuleHandleW(L"hostmem.dll");
    assert_non_null(base);
    const IMAGE_DOS_HEADER *dos = (const IMAGE_DOS_HEADER *)base;
    assert_int_equal(dos->e_magic, IMAGE_DOS_SIGNATURE);
    headers = (const IMAGE_NT_HEADERS *)(base + dos->e_lfanew);
    assert_int_equal(headers->Signature, IMAGE_NT_SIGNATURE);
    return 0;
}

static const void *directory(unsigned entry)
{
    const IMAGE_DATA_DIRECTORY *data = &headers->OptionalHeader.DataDirectory[entry];
    assert_int_not_equal(data->VirtualAddress, 0);
    return base + data->VirtualAddress;
}

/* ---- the public surface ---- */

static void the_exports_are_exactly_the_public_ones(void **state)
{
    static const char *const expected[] = {
        "DllCanUnloadNow",
        "DllGetClassObject",
        "DllInstall",
        "DllRegisterServer",
        "DllUnregisterServer",
        "HostMemBindRuntime",
        "HostMemBindRuntimeOnLoad",
        "HostMemCancelBindRuntimeOnLoad",
        "HostMemCreateHostControl",
        "HostMemCreateManager",
        "HostMemGetBinding",
        "HostMemGetFunctions",
    };
    const IMAGE_EXPORT_DIRECTORY *exports = directory(IMAGE_DIRECTORY_ENTRY_EXPORT);
    const DWORD *names = (const DWORD *)(base + exports->AddressOfNames);
    (void)state;
    /* The names of an export table are sorted. */
    assert_int_equal(exports->NumberOfNames, sizeof(expected) / sizeof(expected[0]));
    for (DWORD i = 0; i < exports->NumberOfNames; i++) {
        assert_string_equal(base + names[i], expected[i]);
    }
    assert_int_equal(exports->NumberOfFunctions, exports->NumberOfNames); /* none by number only */
    assert_string_equal(base + exports->Name, "hostmem.dll");
}

static bool is_one_of(const char *name, const char *const *names)
{
    for (; *names != NULL; names++) {
        if (_stricmp(name, *names) == 0) {
            return true;
        }
    }
    return false;
}

/* A host copies one file. */
static void only_dlls_of_windows_are_imported(void **state)
{
    static const char *const windows[] = {"advapi32.dll", "kernel32.dll", "msvcrt.dll", "ntdll.dll",
                                          "ole32.dll",    "oleaut32.dll", NULL};
    const IMAGE_IMPORT_DESCRIPTOR *import = directory(IMAGE_DIRECTORY_ENTRY_IMPORT);
    unsigned count = 0;
    (void)state;
    for (; import->Name != 0; import++, count++) {
        if (!is_one_of(base + import->Name, windows)) {
            fail_at(__FILE__, __LINE__, "imports from %s", base + import->Name);
        }
    }
    assert_in_range(count, 1, 6);
}

/* ---- protections ---- */

static void the_module_can_be_placed_anywhere_and_runs_no_data(void **state)
{
    WORD flags = headers->OptionalHeader.DllCharacteristics;
    (void)state;
    assert_true((flags & IMAGE_DLLCHARACTERISTICS_DYNAMIC_BASE) != 0);
    assert_true((flags & IMAGE_DLLCHARACTERISTICS_NX_COMPAT) != 0);
#ifdef _WIN64
    assert_true((flags & IMAGE_DLLCHARACTERISTICS_HIGH_ENTROPY_VA) != 0);
#endif
    assert_int_equal(headers->FileHeader.Characteristics & IMAGE_FILE_RELOCS_STRIPPED, 0);
    assert_true(headers->FileHeader.Characteristics & IMAGE_FILE_DLL);
    directory(IMAGE_DIRECTORY_ENTRY_BASERELOC);
}

static void no_section_is_writable_and_executable(void **state)
{
    const IMAGE_SECTION_HEADER *section = IMAGE_FIRST_SECTION(headers);
    (void)state;
    assert_in_range(headers->FileHeader.NumberOfSections, 3, 64);
    for (unsigned i = 0; i < headers->FileHeader.NumberOfSections; i++) {
        DWORD both = IMAGE_SCN_MEM_EXECUTE | IMAGE_SCN_MEM_WRITE;
        assert_int_not_equal(section[i].Characteristics & both, both);
        assert_int_equal(section[i].Characteristics & IMAGE_SCN_MEM_SHARED, 0);
    }
}

static void the_vtables_are_read_only(void **state)
{
    IHostMemoryManager *manager = create_manager();
    IHostMalloc *heap = POISON_POINTER;
    IHostControl *control = POISON_POINTER;
    (void)state;
    EXPECT_OK(IHostMemoryManager_CreateMalloc(manager, MALLOC_THREADSAFE, &heap));
    EXPECT_OK(HostMemCreateHostControl(manager, NULL, &control));
    const void *const tables[] = {manager->lpVtbl, heap->lpVtbl, control->lpVtbl};
    for (size_t i = 0; i < sizeof(tables) / sizeof(tables[0]); i++) {
        MEMORY_BASIC_INFORMATION info;
        assert_int_equal(VirtualQuery(tables[i], &info, sizeof(info)), sizeof(info));
        assert_int_equal(info.Protect, PAGE_READONLY);
        assert_ptr_equal(info.AllocationBase, base);
    }
    IHostControl_Release(control);
    IHostMalloc_Release(heap);
    assert_int_equal(IHostMemoryManager_Release(manager), 0);
}

/* ---- vtables ---- */

/* Every slot is a function in the code of the DLL, and no two are the same. */
static void expect_methods(const void *vtbl, size_t count)
{
    const uintptr_t *slots = vtbl;
    const IMAGE_SECTION_HEADER *text = IMAGE_FIRST_SECTION(headers);
    for (size_t i = 0; i < count; i++) {
        uintptr_t offset = slots[i] - (uintptr_t)base - text->VirtualAddress;
        assert_int_not_equal(slots[i], 0);
        assert_in_range(offset, 0, text->Misc.VirtualSize - 1);
        for (size_t j = 0; j < i; j++) {
            assert_int_not_equal(slots[i], slots[j]);
        }
    }
}

static void every_slot_of_every_vtable_is_filled(void **state)
{
    IHostMemoryManager *manager = create_manager();
    IHostMemoryStatistics *statistics = POISON_POINTER;
    IHostMalloc *heap = POISON_POINTER;
    IHostMallocBlocks *blocks = POISON_POINTER;
    IHostControl *control = POISON_POINTER;
    IHostMemoryLimits *limits = INTERFACE_OF(manager, IHostMemoryLimits);
    IHostMemoryPressure *pressure = INTERFACE_OF(manager, IHostMemoryPressure);
    IHostRuntimeLifetime *lifetime = INTERFACE_OF(manager, IHostRuntimeLifetime);
    IHostMemoryFaults *faults = INTERFACE_OF(manager, IHostMemoryFaults);
    IHostMemoryCharge *charge = INTERFACE_OF(manager, IHostMemoryCharge);
    IHostMemoryEvents *events = INTERFACE_OF(manager, IHostMemoryEvents);
    (void)state;
    EXPECT_OK(IHostMemoryManager_QueryInterface(manager, &IID_IHostMemoryStatistics,
                                                (void **)&statistics));
    EXPECT_OK(IHostMemoryManager_CreateMalloc(manager, MALLOC_THREADSAFE, &heap));
    EXPECT_OK(IHostMalloc_QueryInterface(heap, &IID_IHostMallocBlocks, (void **)&blocks));
    EXPECT_OK(HostMemCreateHostControl(manager, NULL, &control));
    expect_methods(manager->lpVtbl, 13);
    expect_methods(statistics->lpVtbl, 7);
    expect_methods(limits->lpVtbl, 5);
    expect_methods(pressure->lpVtbl, 4);
    expect_methods(lifetime->lpVtbl, 5);
    expect_methods(faults->lpVtbl, 4);
    expect_methods(charge->lpVtbl, 5);
    expect_methods(events->lpVtbl, 5);
    expect_methods(heap->lpVtbl, 6);
    expect_methods(blocks->lpVtbl, 4);
    expect_methods(control->lpVtbl, 5);
    IHostControl_Release(control);
    IHostMallocBlocks_Release(blocks);
    IHostMalloc_Release(heap);
    IHostMemoryStatistics_Release(statistics);
    IHostMemoryEvents_Release(events);
    IHostMemoryCharge_Release(charge);
    IHostMemoryFaults_Release(faults);
    IHostRuntimeLifetime_Release(lifetime);
    IHostMemoryPressure_Release(pressure);
    IHostMemoryLimits_Release(limits);
    assert_int_equal(IHostMemoryManager_Release(manager), 0);
}

/* trap 25: the CLR calls by slot number and with the callee cleaning the stack. Called through a
 * table of plain pointers, the methods must be where the CLR's headers have them. */
static void methods_are_in_the_clr_s_order(void **state)
{
    typedef HRESULT(STDMETHODCALLTYPE * create_malloc)(void *, DWORD, void **);
    typedef HRESULT(STDMETHODCALLTYPE * alloc)(void *, void *, SIZE_T, DWORD, DWORD, int, void **);
    typedef HRESULT(STDMETHODCALLTYPE * free_memory)(void *, void *, SIZE_T, DWORD);
    typedef HRESULT(STDMETHODCALLTYPE * query)(void *, void *, void *, SIZE_T, SIZE_T *);
    typedef HRESULT(STDMETHODCALLTYPE * protect)(void *, void *, SIZE_T, DWORD, DWORD *);
    typedef HRESULT(STDMETHODCALLTYPE * load)(void *, DWORD *, SIZE_T *);
    typedef HRESULT(STDMETHODCALLTYPE * one_pointer)(void *, void *);
    typedef HRESULT(STDMETHODCALLTYPE * range)(void *, void *, SIZE_T);
    typedef HRESULT(STDMETHODCALLTYPE * heap_alloc)(void *, SIZE_T, int, void **);
    typedef HRESULT(STDMETHODCALLTYPE * heap_debug_alloc)(void *, SIZE_T, int, char *, int,
                                                          void **);
    IHostMemoryManager *manager = create_manager();
    void (*const *slot)(void) = *(void (*const **)(void))manager;
    void *memory = POISON_POINTER, *heap = POISON_POINTER;
    MEMORY_BASIC_INFORMATION info;
    SIZE_T size = POISON_SIZE;
    DWORD value = POISON_DWORD;
    (void)state;
    EXPECT_OK(((create_malloc)slot[3])(manager, MALLOC_THREADSAFE, &heap));
    EXPECT_OK(((alloc)slot[4])(manager, NULL, PAGE, MEM_RESERVE | MEM_COMMIT, PAGE_READWRITE, 0,
                               &memory));
    EXPECT_OK(((query)slot[6])(manager, memory, &info, sizeof(info), &size));
    assert_int_equal(info.State, MEM_COMMIT);
    EXPECT_OK(((protect)slot[7])(manager, memory, PAGE, PAGE_READONLY, &value));
    assert_int_equal(value, PAGE_READWRITE);
    EXPECT_OK(((load)slot[8])(manager, &value, &size));
    EXPECT_OK(((one_pointer)slot[9])(manager, NULL));
    EXPECT_CALL(((range)slot[10])(manager, NULL, 0), E_OUTOFMEMORY, UNCHANGED);
    EXPECT_OK(((range)slot[11])(manager, (void *)0x10000, 5));
    assert_int_equal(statistics_of(manager).ViewsCurrentBytes, 5);
    EXPECT_OK(((one_pointer)slot[12])(manager, (void *)0x10000));
    EXPECT_OK(((free_memory)slot[5])(manager, memory, 0, MEM_RELEASE));
    void (*const *heap_slot)(void) = *(void (*const **)(void))heap;
    EXPECT_OK(((heap_alloc)heap_slot[3])(heap, 10, 0, &memory));
    EXPECT_OK(((one_pointer)heap_slot[5])(heap, memory));
    EXPECT_OK(((heap_debug_alloc)heap_slot[4])(heap, 10, 0, (char *)"f", 1, &memory));
    EXPECT_OK(((one_pointer)heap_slot[5])(heap, memory));
    IHostMalloc_Release((IHostMalloc *)heap);
    const HOSTMEM_CALLS calls = statistics_of(manager).Calls;
    const HOSTMEM_CALLS expected = {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 2};
    assert_memory_equal(&calls, &expected, sizeof(calls));
    assert_int_equal(IHostMemoryManager_Release(manager), 0);
}

/* ---- resources ---- */

static void there_is_a_version(void **state)
{
    HMODULE module = (HMODULE)(uintptr_t)base;
    HRSRC found = FindResourceW(module, MAKEINTRESOURCEW(VS_VERSION_INFO), (WCHAR *)RT_VERSION);
    (void)state;
    assert_non_null(found);
    const char *version = LockResource(LoadResource(module, found));
    DWORD size = SizeofResource(module, found);
    assert_non_null(version);
    /* VS_VERSIONINFO: three words, "VS_VERSION_INFO" in UTF-16, padding, the fixed part. */
    const VS_FIXEDFILEINFO *fixed = (const VS_FIXEDFILEINFO *)(version + 40);
    assert_true(size >= 40 + sizeof(*fixed));
    assert_int_equal(fixed->dwSignature, VS_FFI_SIGNATURE);
    assert_int_equal(fixed->dwFileType, VFT_DLL);
    assert_true(fixed->dwFileVersionMS != 0 || fixed->dwFileVersionLS != 0);
    assert_int_equal(fixed->dwFileVersionMS, fixed->dwProductVersionMS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_exports_are_exactly_the_public_ones),
        cmocka_unit_test(only_dlls_of_windows_are_imported),
        cmocka_unit_test(the_module_can_be_placed_anywhere_and_runs_no_data),
        cmocka_unit_test(no_section_is_writable_and_executable),
        cmocka_unit_test(the_vtables_are_read_only),
        cmocka_unit_test(every_slot_of_every_vtable_is_filled),
        cmocka_unit_test(methods_are_in_the_clr_s_order),
        cmocka_unit_test(there_is_a_version),
    };
    return cmocka_run_group_tests(tests, find_module, NULL);
}
