/* SPDX-License-Identifier: MIT
 *
 * See contract.h: pictures of memory, and pairs of the same memory from Win32 and from a manager.
 *
 * On a pair the manager always goes first: what it needs for its own tables is mapped before the OS
 * gives or takes the raw side's memory, so that it cannot land in a range that was just released.
 */
#include "contract/contract.h"

#include <string.h>

/* ---- pictures ---- */

void take_picture(struct picture *picture, const void *base, SIZE_T size)
{
    uintptr_t start = (uintptr_t)base, at = start, end = start + size;
    MEMORY_BASIC_INFORMATION info;
    *picture = (struct picture){.size = size};
    while (at < end) {
        assert_int_equal(VirtualQuery((void *)at, &info, sizeof(info)), sizeof(info));
        uintptr_t stop = (uintptr_t)info.BaseAddress + info.RegionSize;
        struct run run = {.offset = at - start, .state = info.State};
        stop = stop < end ? stop : end;
        run.size = stop - at;
        if (info.State != MEM_FREE) {
            run.protect = info.Protect;
            run.type = info.Type;
            run.allocation_protect = info.AllocationProtect;
            run.allocation_offset = (ptrdiff_t)((uintptr_t)info.AllocationBase - start);
        }
        assert_true(picture->count < sizeof(picture->runs) / sizeof(picture->runs[0]));
        picture->runs[picture->count++] = run;
        at = stop;
    }
}

static bool same_run(const struct run *left, const struct run *right)
{
    return left->offset == right->offset && left->size == right->size &&
           left->state == right->state && left->protect == right->protect &&
           left->type == right->type && left->allocation_protect == right->allocation_protect &&
           left->allocation_offset == right->allocation_offset;
}

static void print_run(const char *name, const struct run *run)
{
    print_error("  %s +%#llx %#llx bytes, state %#lx, protect %#lx, type %#lx, allocation %+lld "
                "with %#lx\n",
                name, (unsigned long long)run->offset, (unsigned long long)run->size, run->state,
                run->protect, run->type, (long long)run->allocation_offset,
                run->allocation_protect);
}

void expect_same_picture(const struct picture *left, const struct picture *right, const char *file,
                         int line)
{
    size_t count = left->count < right->count ? left->count : right->count;
    for (size_t i = 0; i < count; i++) {
        if (!same_run(&left->runs[i], &right->runs[i])) {
            print_run("left ", &left->runs[i]);
            print_run("right", &right->runs[i]);
            fail_at(file, line, "the pictures differ in run %d", (int)i);
        }
    }
    if (left->count != right->count) {
        fail_at(file, line, "the pictures have %d and %d runs", (int)left->count,
                (int)right->count);
    }
}

/* ---- pairs ---- */

static void compare_pair(const struct pair *pair, const char *file, int line)
{
    struct picture raw, managed;
    take_picture(&raw, pair->raw, pair->size);
    take_picture(&managed, pair->managed, pair->size);
    expect_same_picture(&raw, &managed, file, line);
}

/* What a call left behind: Win32's way of telling and the manager's. */
static DWORD same_error(bool succeeded, DWORD raw_error, HRESULT hr, DWORD managed_error,
                        const char *call, const char *file, int line)
{
    if (succeeded) {
        expect_call(hr, managed_error, S_OK, UNCHANGED, call, file, line);
        if (raw_error != UNCHANGED) {
            fail_at(file, line, "%s of Win32 succeeded and left LastError %lu", call, raw_error);
        }
        return ERROR_SUCCESS;
    }
    expect_call(hr, managed_error, hr_of_win32(raw_error), raw_error, call, file, line);
    return raw_error;
}

DWORD both_alloc(IHostMemoryManager *manager, void *raw_address, void *managed_address, SIZE_T size,
                 DWORD type, DWORD protect, void **raw, void **managed, const char *file, int line)
{
    void *managed_result = POISON_POINTER;
    SetLastError(MARKER);
    HRESULT hr = IHostMemoryManager_VirtualAlloc(manager, managed_address, size, type, protect,
                                                 eTaskCritical, &managed_result);
    DWORD managed_error = GetLastError();
    SetLastError(MARKER);
    void *raw_result = VirtualAlloc(raw_address, size, type, protect);
    DWORD raw_error = GetLastError();
    DWORD error =
        same_error(raw_result != NULL, raw_error, hr, managed_error, "VirtualAlloc", file, line);
    if (error != ERROR_SUCCESS) {
        if (managed_result != NULL) { /* trap 2 */
            fail_at(file, line, "VirtualAlloc failed and left %p", managed_result);
        }
        return error;
    }
    if (managed_result == NULL || managed_result == POISON_POINTER) {
        fail_at(file, line, "VirtualAlloc succeeded and gave %p", managed_result);
    }
    *raw = raw_result;
    *managed = managed_result;
    return ERROR_SUCCESS;
}

DWORD pair_create(struct pair *pair, SIZE_T size, DWORD type, DWORD protect, const char *file,
                  int line)
{
    void *raw, *managed;
    DWORD error =
        both_alloc(pair->manager, NULL, NULL, size, type, protect, &raw, &managed, file, line);
    if (error == ERROR_SUCCESS) {
        pair->raw = raw;
        pair->managed = managed;
        pair->size = (size + GRANULARITY - 1) & ~(GRANULARITY - 1);
        compare_pair(pair, file, line);
    }
    return error;
}

DWORD pair_alloc(struct pair *pair, ptrdiff_t offset, SIZE_T size, DWORD type, DWORD protect,
                 const char *file, int line)
{
    void *raw, *managed;
    DWORD error = both_alloc(pair->manager, pair->raw + offset, pair->managed + offset, size, type,
                             protect, &raw, &managed, file, line);
    compare_pair(pair, file, line);
    if (error == ERROR_SUCCESS && (char *)raw - pair->raw != (char *)managed - pair->managed) {
        fail_at(file, line, "VirtualAlloc gave +%lld, Win32 +%lld",
                (long long)((char *)managed - pair->managed), (long long)((char *)raw - pair->raw));
    }
    return error;
}

DWORD pair_free(struct pair *pair, ptrdiff_t offset, SIZE_T size, DWORD type, const char *file,
                int line)
{
    SetLastError(MARKER);
    HRESULT hr = IHostMemoryManager_VirtualFree(pair->manager, pair->managed + offset, size, type);
    DWORD managed_error = GetLastError();
    SetLastError(MARKER);
    BOOL succeeded = VirtualFree(pair->raw + offset, size, type);
    DWORD raw_error = GetLastError();
    compare_pair(pair, file, line);
    return same_error(succeeded, raw_error, hr, managed_error, "VirtualFree", file, line);
}

void pair_free_refused(struct pair *pair, ptrdiff_t offset, SIZE_T size, DWORD type,
                       const char *file, int line)
{
    struct picture before, after;
    UINT64 refused = statistics_of(pair->manager).ForeignVirtualFree;
    take_picture(&before, pair->managed, pair->size);
    SetLastError(MARKER);
    HRESULT hr = IHostMemoryManager_VirtualFree(pair->manager, pair->managed + offset, size, type);
    expect_call(hr, GetLastError(), HOST_E_INVALIDOPERATION, ERROR_INVALID_ADDRESS, "VirtualFree",
                file, line);
    take_picture(&after, pair->managed, pair->size);
    expect_same_picture(&before, &after, file, line);
    if (statistics_of(pair->manager).ForeignVirtualFree != refused + 1) {
        fail_at(file, line, "the refused VirtualFree was not counted");
    }
    if (VirtualFree(pair->raw + offset, size, type)) {
        fail_at(file, line, "Win32 does not refuse this VirtualFree");
    }
    compare_pair(pair, file, line);
}

DWORD pair_protect(struct pair *pair, ptrdiff_t offset, SIZE_T size, DWORD protect, DWORD *old,
                   const char *file, int line)
{
    DWORD raw_old = POISON_DWORD, managed_old = POISON_DWORD;
    SetLastError(MARKER);
    HRESULT hr = IHostMemoryManager_VirtualProtect(pair->manager, pair->managed + offset, size,
                                                   protect, &managed_old);
    DWORD managed_error = GetLastError();
    SetLastError(MARKER);
    BOOL succeeded = VirtualProtect(pair->raw + offset, size, protect, &raw_old);
    DWORD raw_error = GetLastError();
    compare_pair(pair, file, line);
    DWORD error = same_error(succeeded, raw_error, hr, managed_error, "VirtualProtect", file, line);
    if (managed_old != (error == ERROR_SUCCESS ? raw_old : POISON_DWORD)) {
        fail_at(file, line, "old protection %#lx, Win32 says %#lx", managed_old, raw_old);
    }
    *old = managed_old;
    return error;
}

DWORD pair_query(struct pair *pair, ptrdiff_t offset, SIZE_T length, const char *file, int line)
{
    MEMORY_BASIC_INFORMATION raw[2], managed[2];
    SIZE_T written = POISON_SIZE;
    memset(raw, 0xad, sizeof(raw));
    memset(managed, 0xad, sizeof(managed));
    assert_true(length <= sizeof(raw));
    SetLastError(MARKER);
    HRESULT hr = IHostMemoryManager_VirtualQuery(pair->manager, pair->managed + offset, managed,
                                                 length, &written);
    DWORD managed_error = GetLastError();
    SetLastError(MARKER);
    SIZE_T raw_written = VirtualQuery(pair->raw + offset, raw, length);
    DWORD raw_error = GetLastError();
    DWORD error =
        same_error(raw_written != 0, raw_error, hr, managed_error, "VirtualQuery", file, line);
    if (written != raw_written) { /* trap 3: 0 on failure */
        fail_at(file, line, "VirtualQuery wrote %llu bytes, Win32's %llu",
                (unsigned long long)written, (unsigned long long)raw_written);
    }
    if (error == ERROR_SUCCESS) {
        ptrdiff_t apart = pair->managed - pair->raw;
        raw[0].BaseAddress = (char *)raw[0].BaseAddress + apart;
        if (raw[0].State == MEM_FREE) {
            raw[0].RegionSize = managed[0].RegionSize; /* depends on the neighbours */
        } else {
            raw[0].AllocationBase = (char *)raw[0].AllocationBase + apart;
        }
    }
    if (memcmp(raw, managed, sizeof(raw)) != 0) {
        fail_at(file, line, "VirtualQuery of +%lld wrote something else than Win32's",
                (long long)offset);
    }
    return error;
}

void pair_destroy(struct pair *pair)
{
    EXPECT_OK(IHostMemoryManager_VirtualFree(pair->manager, pair->managed, 0, MEM_RELEASE));
    assert_true(VirtualFree(pair->raw, 0, MEM_RELEASE));
    *pair = (struct pair){.manager = pair->manager};
}
