/* SPDX-License-Identifier: MIT
 *
 * The system's calls fail and leave LastError at 0, as hooks of other programs make them. That is a
 * failure all the same: no S_OK without memory, no region in the table that is not there, and a
 * LastError that says something. The calls are those of hostmem.dll, through its import slots.
 */
#include "contract/contract.h"

#include "clr/imports.h"

static bool silent; /* the calls fail */

/* Of read-only pages, which the manager's own tables are never made of. */
static void *WINAPI silent_alloc(void *address, SIZE_T size, DWORD type, DWORD protect)
{
    if (silent && protect == PAGE_READONLY) {
        SetLastError(ERROR_SUCCESS);
        return NULL;
    }
    return VirtualAlloc(address, size, type, protect);
}

static BOOL WINAPI silent_free(void *address, SIZE_T size, DWORD type)
{
    if (silent) {
        SetLastError(ERROR_SUCCESS);
        return FALSE;
    }
    return VirtualFree(address, size, type);
}

static BOOL WINAPI silent_protect(void *address, SIZE_T size, DWORD protect, DWORD *old)
{
    if (silent) {
        SetLastError(ERROR_SUCCESS);
        return FALSE;
    }
    return VirtualProtect(address, size, protect, old);
}

static SIZE_T WINAPI silent_query(const void *address, MEMORY_BASIC_INFORMATION *info, SIZE_T size)
{
    if (silent) {
        SetLastError(ERROR_SUCCESS);
        return 0;
    }
    return VirtualQuery(address, info, size);
}

static BOOL WINAPI silent_status(MEMORYSTATUSEX *status)
{
    if (silent) {
        SetLastError(ERROR_SUCCESS);
        return FALSE;
    }
    return GlobalMemoryStatusEx(status);
}

static void redirect(const struct imports *imports, const char *name, void (*to)(void))
{
    void *value = imports_find(imports, name);
    assert_non_null(value);
    for (size_t i = 0; i < imports->count; i++) {
        if (imports->values[i] == value) {
            DWORD protect;
            assert_true(
                VirtualProtect(imports->slots[i], sizeof(void *), PAGE_READWRITE, &protect));
            *imports->slots[i] = (void *)(uintptr_t)to;
            VirtualProtect(imports->slots[i], sizeof(void *), protect, &protect);
        }
    }
}

static int redirect_all(void **state)
{
    static struct imports imports;
    (void)state;
    imports_read(GetModuleHandleW(L"hostmem.dll"), &imports);
    redirect(&imports, "VirtualAlloc", (void (*)(void))silent_alloc);
    redirect(&imports, "VirtualFree", (void (*)(void))silent_free);
    redirect(&imports, "VirtualProtect", (void (*)(void))silent_protect);
    redirect(&imports, "VirtualQuery", (void (*)(void))silent_query);
    redirect(&imports, "GlobalMemoryStatusEx", (void (*)(void))silent_status);
    return 0;
}

#define EXPECT_SILENT_FAILURE(call)                                                                \
    do {                                                                                           \
        silent = true;                                                                             \
        EXPECT_CALL(call, HRESULT_FROM_WIN32(ERROR_GEN_FAILURE), ERROR_GEN_FAILURE);               \
        silent = false;                                                                            \
    } while (0)

static void no_memory_is_no_success(void **state)
{
    IHostMemoryManager *manager = *state;
    void *memory = POISON_POINTER;
    EXPECT_SILENT_FAILURE(IHostMemoryManager_VirtualAlloc(
        manager, NULL, PAGE, MEM_RESERVE | MEM_COMMIT, PAGE_READONLY, eTaskCritical, &memory));
    assert_null(memory);
    assert_int_equal(statistics_of(manager).RegionsCurrent, 0);
    assert_int_equal(statistics_of(manager).ChargedCurrentBytes, 0);
    char *region = reserve(manager, GRANULARITY);
    memory = POISON_POINTER;
    EXPECT_SILENT_FAILURE(IHostMemoryManager_VirtualAlloc(manager, region, PAGE, MEM_COMMIT,
                                                          PAGE_READONLY, eTaskCritical, &memory));
    assert_null(memory);
    assert_int_equal(statistics_of(manager).ChargedCurrentBytes, 0);
    EXPECT_OK(IHostMemoryManager_VirtualFree(manager, region, 0, MEM_RELEASE));
}

static void what_was_not_decommitted_is_still_charged(void **state)
{
    IHostMemoryManager *manager = *state;
    void *memory = POISON_POINTER;
    char *region = reserve(manager, GRANULARITY);
    EXPECT_OK(IHostMemoryManager_VirtualAlloc(manager, region, PAGE, MEM_COMMIT, PAGE_READWRITE,
                                              eTaskCritical, &memory));
    EXPECT_SILENT_FAILURE(IHostMemoryManager_VirtualFree(manager, region, PAGE, MEM_DECOMMIT));
    assert_int_equal(statistics_of(manager).ChargedCurrentBytes, PAGE);
    region[0] = 1;
    EXPECT_OK(IHostMemoryManager_VirtualFree(manager, region, 0, MEM_RELEASE));
}

static void what_was_not_asked_is_not_answered(void **state)
{
    IHostMemoryManager *manager = *state;
    MEMORY_BASIC_INFORMATION info;
    SIZE_T size = POISON_SIZE;
    DWORD value = POISON_DWORD;
    EXPECT_SILENT_FAILURE(
        IHostMemoryManager_VirtualQuery(manager, &info, &info, sizeof(info), &size));
    assert_int_equal(size, 0);
    EXPECT_SILENT_FAILURE(
        IHostMemoryManager_VirtualProtect(manager, &info, 1, PAGE_READWRITE, &value));
    assert_int_equal(value, POISON_DWORD);
    EXPECT_SILENT_FAILURE(IHostMemoryManager_GetMemoryLoad(manager, &value, &size));
    assert_int_equal(value, 0);
    assert_int_equal(size, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        manager_test(no_memory_is_no_success),
        manager_test(what_was_not_decommitted_is_still_charged),
        manager_test(what_was_not_asked_is_not_answered),
    };
    return cmocka_run_group_tests(tests, redirect_all, NULL);
}
