/* SPDX-License-Identifier: MIT
 *
 * The type library in the DLL: what a tool of another language finds there. Nothing of OLE's own may
 * be defined again, IUnknown above all, and nothing that the IDL files declare may be missing, so
 * the files themselves say what is expected.
 */
#include "contract/contract.h"

#include <oleauto.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MOST_TYPES 64

static const IID libid_stdole = {0x00020430, 0, 0, {0xc0, 0, 0, 0, 0, 0, 0, 0x46}};

static ITypeLib *library;

static int load_library(void **state)
{
    WCHAR path[MAX_PATH];
    (void)state;
    dll_path(path, MAX_PATH);
    return LoadTypeLib(path, &library) == S_OK ? 0 : -1;
}

static int release_library(void **state)
{
    (void)state;
    ITypeLib_Release(library);
    return 0;
}

/* ---- one type ---- */

struct type {
    char name[64];
    TYPEKIND kind;
    GUID guid; /* of interfaces */
};

static void name_of(UINT index, char name[64])
{
    BSTR wide = NULL;
    EXPECT_HR(ITypeLib_GetDocumentation(library, (INT)index, &wide, NULL, NULL, NULL), S_OK);
    snprintf(name, 64, "%ls", wide);
    SysFreeString(wide);
}

static TYPEATTR attributes_of(ITypeInfo *info)
{
    TYPEATTR *attributes = NULL;
    EXPECT_HR(ITypeInfo_GetTypeAttr(info, &attributes), S_OK);
    TYPEATTR result = *attributes;
    ITypeInfo_ReleaseTypeAttr(info, attributes);
    return result;
}

/* Every Windows has it. Of a Wine that was put together for x86 programs it may be missing. */
static bool ole_s_library_is_there(void)
{
    ITypeLib *ole = NULL;
    if (LoadRegTypeLib(&libid_stdole, 2, 0, 0, &ole) == S_OK) {
        ITypeLib_Release(ole);
        return true;
    }
    return !known_wine_gap();
}

static void expect_base_is_ole_s_own(ITypeInfo *info)
{
    HREFTYPE reference = 0;
    ITypeInfo *base = NULL;
    ITypeLib *home = NULL;
    TLIBATTR *attributes = NULL;
    UINT index;
    EXPECT_HR(ITypeInfo_GetRefTypeOfImplType(info, 0, &reference), S_OK);
    EXPECT_HR(ITypeInfo_GetRefTypeInfo(info, reference, &base), S_OK);
    const GUID guid = attributes_of(base).guid;
    assert_memory_equal(&guid, &IID_IUnknown, sizeof(GUID));
    EXPECT_HR(ITypeInfo_GetContainingTypeLib(base, &home, &index), S_OK);
    EXPECT_HR(ITypeLib_GetLibAttr(home, &attributes), S_OK);
    assert_memory_equal(&attributes->guid, &libid_stdole, sizeof(GUID));
    assert_int_equal(attributes->wMajorVerNum, 2);
    ITypeLib_ReleaseTLibAttr(home, attributes);
    ITypeLib_Release(home);
    ITypeInfo_Release(base);
}

/* ---- what the IDL files declare ---- */

static GUID guid_in(const char *line)
{
    WCHAR text[39];
    GUID guid;
    const char *digits = strstr(line, "uuid(");
    assert_non_null(digits);
    swprintf(text, sizeof(text) / sizeof(text[0]), L"{%.36hs}", digits + strlen("uuid("));
    assert_int_equal(IIDFromString(text, &guid), S_OK);
    return guid;
}

/* Each interface, structure and enumeration of a file begins a line of its own. */
static size_t declared_in(const char *path, struct type *types, size_t count)
{
    char line[512], attributes[512] = "";
    FILE *file = fopen(path, "r");
    if (file == NULL) {
        fail_at(__FILE__, __LINE__, "%s cannot be opened", path);
    }
    while (fgets(line, sizeof(line), file) != NULL) {
        struct type *type = &types[count];
        assert_true(count < MOST_TYPES);
        if (line[0] == '[') {
            strcpy(attributes, line);
        } else if (sscanf(line, "interface %63[A-Za-z_0-9] :", type->name) == 1) {
            type->kind = TKIND_INTERFACE;
            type->guid = guid_in(attributes);
            count++;
        } else if (sscanf(line, "typedef struct %63[A-Za-z_0-9] {", type->name) == 1) {
            type->kind = TKIND_RECORD;
            count++;
        } else if (strncmp(line, "typedef enum", strlen("typedef enum")) == 0) {
            /* Without a name of its own it gets one that widl makes up. */
            assert_int_equal(sscanf(line, "typedef enum %63[A-Za-z_0-9] {", type->name), 1);
            type->kind = TKIND_ENUM;
            count++;
        }
    }
    fclose(file);
    return count;
}

static const struct type *declared(const struct type *types, size_t count, const char *name)
{
    for (size_t i = 0; i < count; i++) {
        if (strcmp(types[i].name, name) == 0) {
            return &types[i];
        }
    }
    return NULL;
}

/* ---- the tests ---- */

static void all_that_is_declared_is_there_and_nothing_else(void **state)
{
    static struct type types[MOST_TYPES];
    size_t count = declared_in(HOSTMEM_IDL_DIR "/clrhosting.idl", types, 0);
    const bool whole = ole_s_library_is_there();
    (void)state;
    if (!whole) {
        print_message("skipped here: whose IUnknown it is; this Wine has no stdole2.tlb\n");
    }
    count = declared_in(HOSTMEM_IDL_DIR "/hostmem.idl", types, count);
    assert_in_range(count, 20, MOST_TYPES);
    size_t found = 0;
    for (UINT i = 0; i < ITypeLib_GetTypeInfoCount(library); i++) {
        char name[64];
        ITypeInfo *info = NULL;
        name_of(i, name);
        const struct type *type = declared(types, count, name);
        EXPECT_HR(ITypeLib_GetTypeInfo(library, i, &info), S_OK);
        TYPEATTR attributes = attributes_of(info);
        if (type != NULL) {
            found++;
            assert_int_equal(attributes.typekind, type->kind);
            if (type->kind == TKIND_INTERFACE) {
                assert_memory_equal(&attributes.guid, &type->guid, sizeof(GUID));
                if (whole) {
                    expect_base_is_ole_s_own(info);
                }
            }
        } else if (strcmp(name, "HostMemoryManager") != 0 && strcmp(name, "_GUID") != 0) {
            fail_at(__FILE__, __LINE__, "%s is nothing of ours", name);
        }
        ITypeInfo_Release(info);
    }
    for (size_t i = 0; i < count; i++) {
        WCHAR name[64];
        BOOL is_there = FALSE;
        swprintf(name, 64, L"%hs", types[i].name);
        EXPECT_HR(ITypeLib_IsName(library, name, 0, &is_there), S_OK);
        if (!is_there) {
            fail_at(__FILE__, __LINE__, "%s is missing", types[i].name);
        }
    }
    assert_int_equal(found, count);
}

static void enumerations_have_their_values(void **state)
{
    static const struct {
        const WCHAR *name;
        LONG value;
    } expected[] = {
        {L"eMemoryAvailableHigh", eMemoryAvailableHigh},
        {L"eProcessCritical", eProcessCritical},
        {L"MALLOC_EXECUTABLE", MALLOC_EXECUTABLE},
        {L"HOSTMEM_FLAG_OVERDRAFT", HOSTMEM_FLAG_OVERDRAFT},
        {L"HOSTMEM_FAULT_PROCESS", HOSTMEM_FAULT_PROCESS},
        {L"HOSTMEM_EVENT_BROKEN", HOSTMEM_EVENT_BROKEN},
        {L"HOSTMEM_REFUSED_BY_SYSTEM", HOSTMEM_REFUSED_BY_SYSTEM},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(expected) / sizeof(expected[0]); i++) {
        WCHAR name[64];
        ITypeInfo *info = NULL;
        MEMBERID member;
        USHORT found = 1;
        VARDESC *value = NULL;
        wcscpy(name, expected[i].name);
        EXPECT_HR(ITypeLib_FindName(library, name, 0, &info, &member, &found), S_OK);
        assert_int_equal(found, 1);
        for (UINT variable = 0; variable < attributes_of(info).cVars; variable++) {
            EXPECT_HR(ITypeInfo_GetVarDesc(info, variable, &value), S_OK);
            if (value->memid == member) {
                assert_int_equal(value->lpvarValue->lVal, expected[i].value);
                found = 0;
            }
            ITypeInfo_ReleaseVarDesc(info, value);
        }
        assert_int_equal(found, 0);
        ITypeInfo_Release(info);
    }
}

static void the_class_has_the_manager_s_interfaces(void **state)
{
    ITypeInfo *class_info = NULL;
    TLIBATTR *attributes = NULL;
    TYPEATTR *class_attributes = NULL;
    (void)state;
    EXPECT_HR(ITypeLib_GetLibAttr(library, &attributes), S_OK);
    assert_memory_equal(&attributes->guid, &LIBID_HostMem, sizeof(GUID));
    assert_int_equal(attributes->wMajorVerNum, 1);
    assert_int_equal(attributes->wMinorVerNum, 0);
    ITypeLib_ReleaseTLibAttr(library, attributes);
    EXPECT_HR(ITypeLib_GetTypeInfoOfGuid(library, &CLSID_HostMemoryManager, &class_info), S_OK);
    EXPECT_HR(ITypeInfo_GetTypeAttr(class_info, &class_attributes), S_OK);
    assert_int_equal(class_attributes->typekind, TKIND_COCLASS);
    assert_int_equal(class_attributes->cImplTypes, 8);
    static const IID *const interfaces[] = {&IID_IHostMemoryManager,   &IID_IHostMemoryStatistics,
                                            &IID_IHostMemoryLimits,    &IID_IHostMemoryPressure,
                                            &IID_IHostRuntimeLifetime, &IID_IHostMemoryFaults,
                                            &IID_IHostMemoryCharge,    &IID_IHostMemoryEvents};
    for (UINT i = 0; i < class_attributes->cImplTypes; i++) {
        ITypeInfo *interface_info = NULL;
        TYPEATTR *interface_attributes = NULL;
        HREFTYPE reference = 0;
        EXPECT_HR(ITypeInfo_GetRefTypeOfImplType(class_info, i, &reference), S_OK);
        EXPECT_HR(ITypeInfo_GetRefTypeInfo(class_info, reference, &interface_info), S_OK);
        EXPECT_HR(ITypeInfo_GetTypeAttr(interface_info, &interface_attributes), S_OK);
        assert_memory_equal(&interface_attributes->guid, interfaces[i], sizeof(GUID));
        ITypeInfo_ReleaseTypeAttr(interface_info, interface_attributes);
        ITypeInfo_Release(interface_info);
    }
    ITypeInfo_ReleaseTypeAttr(class_info, class_attributes);
    ITypeInfo_Release(class_info);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_that_is_declared_is_there_and_nothing_else),
        cmocka_unit_test(enumerations_have_their_values),
        cmocka_unit_test(the_class_has_the_manager_s_interfaces),
    };
    return cmocka_run_group_tests(tests, load_library, release_library);
}
