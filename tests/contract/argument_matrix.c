/* SPDX-License-Identifier: MIT
 *
 * See argument_matrix.h.
 *
 * VirtualAlloc: 1,024 sets of ten flags, 8 addresses, 10 sizes (9 on x86) and 6 protections make
 * 491,520 calls; VirtualFree: 16 sets of four flags make 1,280. Most are refused, in a microsecond
 * or two, and leave the layout as it is.
 */
#include "contract/argument_matrix.h"

#define HOLE (2 * GRANULARITY)
#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* ---- the dimensions ---- */

static const DWORD alloc_flags[] = {
    MEM_COMMIT,   MEM_RESERVE,     MEM_DECOMMIT, MEM_RELEASE,    MEM_RESET,
    MEM_TOP_DOWN, MEM_WRITE_WATCH, MEM_PHYSICAL, MEM_RESET_UNDO, MEM_LARGE_PAGES,
};
static const DWORD free_flags[] = {MEM_DECOMMIT, MEM_RELEASE, 1 /* coalesce */, 2 /* preserve */};

static const struct {
    const char *name;
    ptrdiff_t offset; /* from the base of the region */
} addresses[] = {
    [AT_NULL] = {"NULL", 0},
    [AT_BASE] = {"the base", 0},
    [AT_BASE_1] = {"the base + 1", 1},
    [AT_PAGE_1] = {"the second page", PAGE},
    [AT_LAST_PAGE] = {"the last page", REGION_BYTES - PAGE},
    [AT_LAST] = {"the last byte", REGION_BYTES - 1},
    [AT_END] = {"the end", REGION_BYTES},
    [AT_FAR] = {"a far address", REGION_BYTES + HOLE + GRANULARITY},
};

static const SIZE_T sizes[] = {
    0,
    1,
    PAGE,
    PAGE + 1,
    REGION_BYTES,
    REGION_BYTES + 1,
    SIZE_MAX - PAGE,
    SIZE_MAX,
    (SIZE_T)1 << 31,
#ifdef _WIN64
    (SIZE_T)1 << 47,
#endif
};
static const DWORD protections[] = {PAGE_READWRITE,
                                    PAGE_NOACCESS,
                                    PAGE_EXECUTE_READWRITE,
                                    PAGE_GUARD | PAGE_READWRITE,
                                    0,
                                    3 /* no such */};

static DWORD subset(const DWORD *flags, size_t count, unsigned bits)
{
    DWORD set = 0;
    for (size_t i = 0; i < count; i++) {
        set |= (bits >> i & 1) != 0 ? flags[i] : 0;
    }
    return set;
}

unsigned long for_each_call(void (*visit)(const struct call *call))
{
    unsigned long calls = 0;
    for (unsigned bits = 0; bits < 1u << COUNT(alloc_flags); bits++) {
        for (size_t at = 0; at < COUNT(addresses) * COUNT(sizes) * COUNT(protections); at++) {
            struct call call = {.type = subset(alloc_flags, COUNT(alloc_flags), bits),
                                .address = (enum address)(at % COUNT(addresses)),
                                .size = sizes[at / COUNT(addresses) % COUNT(sizes)],
                                .protect = protections[at / COUNT(addresses) / COUNT(sizes)]};
            visit(&call);
            calls++;
        }
    }
    for (unsigned bits = 0; bits < 1u << COUNT(free_flags); bits++) {
        for (size_t at = 0; at < COUNT(addresses) * COUNT(sizes); at++) {
            struct call call = {.frees = true,
                                .type = subset(free_flags, COUNT(free_flags), bits),
                                .address = (enum address)(at % COUNT(addresses)),
                                .size = sizes[at / COUNT(addresses)]};
            visit(&call);
            calls++;
        }
    }
    return calls;
}

void print_call(const struct call *call)
{
    print_error("%s(%s, %#llx, type %#lx", call->frees ? "VirtualFree" : "VirtualAlloc",
                addresses[call->address].name, (unsigned long long)call->size, call->type);
    if (call->frees) {
        print_error(")");
    } else {
        print_error(", protect %#lx)", call->protect);
    }
}

/* ---- a side ---- */

struct answer side_alloc(const struct side *side, void *address, SIZE_T size, DWORD type,
                         DWORD protect)
{
    struct answer answer;
    void *memory = POISON_POINTER;
    SetLastError(MARKER);
    if (side->manager != NULL) {
        answer.hr = IHostMemoryManager_VirtualAlloc(side->manager, address, size, type, protect,
                                                    eTaskCritical, &memory);
        answer.error = GetLastError();
    } else {
        memory = VirtualAlloc(address, size, type, protect);
        answer.error = GetLastError();
        answer.hr = memory != NULL ? S_OK : hr_of_win32(answer.error);
    }
    answer.memory = memory;
    return answer;
}

struct answer side_free(const struct side *side, void *address, SIZE_T size, DWORD type)
{
    struct answer answer = {.memory = NULL};
    SetLastError(MARKER);
    if (side->manager != NULL) {
        answer.hr = IHostMemoryManager_VirtualFree(side->manager, address, size, type);
        answer.error = GetLastError();
    } else {
        BOOL succeeded = VirtualFree(address, size, type);
        answer.error = GetLastError();
        answer.hr = succeeded ? S_OK : hr_of_win32(answer.error);
    }
    return answer;
}

static bool is_free(const char *address, SIZE_T size)
{
    MEMORY_BASIC_INFORMATION info;
    return VirtualQuery(address, &info, sizeof(info)) != 0 && info.State == MEM_FREE &&
           (SIZE_T)((char *)info.BaseAddress + info.RegionSize - address) >= size;
}

/* Takes what is left of the region away, whoever has it. */
static void side_clear(const struct side *side)
{
    MEMORY_BASIC_INFORMATION info;
    side_free(side, side->base, 0, MEM_RELEASE);
    for (char *at = side->base; at < side->base + REGION_BYTES; at += info.RegionSize) {
        assert_int_not_equal(VirtualQuery(at, &info, sizeof(info)), 0);
        if (info.State != MEM_FREE) {
            VirtualFree(info.AllocationBase, 0, MEM_RELEASE);
        }
    }
}

/* Finds a place for the region: guard, region, hole, guard, the far hole, guard. */
static void find_place(struct side *side)
{
    SIZE_T size = REGION_BYTES + 2 * HOLE + 3 * GRANULARITY;
    char *place = VirtualAlloc(NULL, size, MEM_RESERVE | MEM_TOP_DOWN, PAGE_NOACCESS);
    assert_non_null(place);
    assert_true(VirtualFree(place, 0, MEM_RELEASE));
    side->base = place + GRANULARITY;
    char *const guards[] = {place, side->base + REGION_BYTES + HOLE,
                            side->base + REGION_BYTES + HOLE + GRANULARITY + HOLE};
    for (size_t i = 0; i < COUNT(guards); i++) {
        assert_ptr_equal(VirtualAlloc(guards[i], GRANULARITY, MEM_RESERVE, PAGE_NOACCESS),
                         guards[i]);
    }
}

static void drop_manager(struct side *side)
{
    if (side->manager != NULL) {
        IHostMemoryStatistics_Release(side->statistics);
        assert_int_equal(IHostMemoryManager_Release(side->manager), 0);
        side->manager = NULL;
    }
}

void side_renew_manager(struct side *side, UINT64 limit)
{
    if (side->manager != NULL && side->base != NULL) {
        side_clear(side);
    }
    drop_manager(side);
    side->manager = CREATE_MANAGER(.CommitLimit = limit);
    EXPECT_OK(IHostMemoryManager_QueryInterface(side->manager, &IID_IHostMemoryStatistics,
                                                (void **)&side->statistics));
}

void side_prepare(struct side *side)
{
    if (side->base != NULL) {
        side_clear(side);
    }
    if (side->base == NULL || !is_free(side->base, REGION_BYTES + HOLE) ||
        !is_free(side->base + addresses[AT_FAR].offset, HOLE)) {
        find_place(side); /* somebody has moved in */
    }
    char *base = side->base;
    assert_ptr_equal(side_alloc(side, base, REGION_BYTES, MEM_RESERVE, PAGE_READWRITE).memory,
                     base);
    assert_int_equal(side_alloc(side, base + 2 * PAGE, 3 * PAGE, MEM_COMMIT, PAGE_READWRITE).hr,
                     S_OK);
    assert_int_equal(side_alloc(side, base + 8 * PAGE, PAGE, MEM_COMMIT, PAGE_READWRITE).hr, S_OK);
    side->prepared = true;
}

/* ---- one call, and what it left ---- */

/* The whole allocation around `memory`. */
static void take_created(struct side *side, char *memory)
{
    MEMORY_BASIC_INFORMATION info;
    SIZE_T size = 0;
    assert_int_not_equal(VirtualQuery(memory, &info, sizeof(info)), 0);
    char *base = info.AllocationBase;
    while (VirtualQuery(base + size, &info, sizeof(info)) != 0 && info.State != MEM_FREE &&
           info.AllocationBase == base) {
        size += info.RegionSize;
    }
    side->created_base = base;
    take_picture(&side->created, base, size);
}

void side_make_call(struct side *side, const struct call *call)
{
    char *address = call->address == AT_NULL ? NULL : side->base + addresses[call->address].offset;
    side->answer = call->frees ? side_free(side, address, call->size, call->type)
                               : side_alloc(side, address, call->size, call->type, call->protect);
    take_picture(&side->region, side->base, REGION_BYTES);
    side->created.count = 0;
    char *memory = side->answer.memory;
    if (side->answer.hr == S_OK) {
        side->prepared = false;
        if (!call->frees && (memory < side->base || memory >= side->base + REGION_BYTES)) {
            take_created(side, memory);
        }
    }
}

SIZE_T bytes_in_state(const struct picture *picture, DWORD states)
{
    SIZE_T bytes = 0;
    for (size_t i = 0; i < picture->count; i++) {
        bytes += (picture->runs[i].state & states) != 0 ? picture->runs[i].size : 0;
    }
    return bytes;
}

bool side_release_created(struct side *side)
{
    if (side->created.count == 0 ||
        side_free(side, side->created_base, 0, MEM_RELEASE).hr == S_OK) {
        return true;
    }
    VirtualFree(side->created_base, 0, MEM_RELEASE);
    return false;
}

void side_destroy(struct side *side)
{
    side_clear(side);
    drop_manager(side);
}
