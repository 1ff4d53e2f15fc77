/* SPDX-License-Identifier: MIT
 *
 * Files that the CLR maps by itself, and what it tells the host about them (2.6). The host is never
 * asked for permission: NeedsVirtualAddressSpace comes only after a mapping has failed, and any
 * success makes the CLR try once more. LastError of the mapping is read after all that.
 */
#include "support/framework_calls.h"
#include "support/framework_judge.h"

static SIZE_T measure_view(const char *view)
{
    MEMORY_BASIC_INFORMATION info;
    SIZE_T size = 0;
    while (VirtualQuery(view + size, &info, sizeof(info)) != 0 &&
           info.AllocationBase == (void *)view) {
        size += info.RegionSize;
    }
    return size;
}

static HOSTMEM_STATISTICS statistics_of(struct clr *clr)
{
    HOSTMEM_STATISTICS statistics = {.Size = sizeof(statistics)};
    IHostMemoryStatistics_GetStatistics(clr->statistics, &statistics);
    return statistics;
}

/* `base`: the image's preferred base, or NULL. The size is nearly always 0, the whole file. */
static void *map_file(struct clr *clr, HANDLE section, void *base, SIZE_T size)
{
    void *view = MapViewOfFileEx(section, FILE_MAP_ALL_ACCESS, 0, 0, size, base);
    if (view == NULL) {
        DWORD error = GetLastError();
        UINT64 kept = statistics_of(clr).CushionBytes;
        if (ee_needs_address_space(clr, base, size)) {
            /* Not that there is room at `base` now: what is there may be the CLR's own. */
            judge(clr, statistics_of(clr).CushionBytes < kept, PITFALL(30),
                  "the host says that it made room, and keeps as much as before");
            view = MapViewOfFileEx(section, FILE_MAP_ALL_ACCESS, 0, 0, size, base);
        }
        SetLastError(error);
    }
    if (view != NULL) {
        /* CLR 2.0 reports what it asked for, nearly always 0: a host must measure it. */
        ee_acquired_address_space(clr, view,
                                  clr->profile->version == 2 ? size : measure_view(view));
    }
    return view;
}

static void unmap_file(struct clr *clr, void *view)
{
    if (UnmapViewOfFile(view)) {
        ee_released_address_space(clr, view);
    }
}

static UINT64 recorded_bytes(struct clr *clr)
{
    return statistics_of(clr).ViewsCurrentBytes;
}

static HANDLE file_of(SIZE_T size)
{
    return CreateFileMappingW(INVALID_HANDLE_VALUE, NULL, PAGE_READWRITE, 0, (DWORD)size, NULL);
}

/* Where the host keeps address space for this, in pieces of CUSHION_PIECE. Only the judge looks: the
 * CLR fails by chance where this is needed. */
static char *find_cushion(void)
{
    MEMORY_BASIC_INFORMATION info;
    int pieces = 0; /* one behind the other; something else of this size stands alone */
    for (char *at = NULL; pieces < 4 && VirtualQuery(at, &info, sizeof(info)) != 0;
         at = (char *)info.BaseAddress + info.RegionSize) {
        bool piece = info.State == MEM_RESERVE && info.RegionSize == CUSHION_PIECE &&
                     info.AllocationBase == info.BaseAddress &&
                     info.AllocationProtect == PAGE_NOACCESS;
        pieces = piece ? pieces + 1 : 0;
    }
    return pieces > 0 ? info.BaseAddress : NULL;
}

/* The preferred base is taken, by what the host can do without: it gives that back, and the one retry
 * has a view there. The next one that wants to be there is one too many: the host has nothing left,
 * for it takes room back only when a view goes. */
static void map_with_the_hosts_help(struct clr *clr)
{
    HANDLE section = file_of(5 * PAGE);
    char *base = find_cushion();
    judge(clr, base != NULL, CANNOT_PLAY, "the host keeps no address space");
    void *view = map_file(clr, section, base, 0);
    judge(clr, view == base, PITFALL(30), "the retry has no view where the host has made room");
    judge(clr, map_file(clr, section, base, 0) == NULL, CANNOT_PLAY, "two views in one place");
    unmap_file(clr, view);
    CloseHandle(section);
}

/* An assembly whose base is free; one whose base is taken, so that the mapping fails and is
 * relocated; and both together, unmapped in the other order. If a second has passed since the host
 * made room, it has that room again, and may give it back once more, in vain. */
static void map_assemblies(struct clr *clr)
{
    /* The one that finds its base taken is the smaller one: Wine calls it a success when a view would
     * end behind the end of the address space, and maps nothing. */
    HANDLE first = file_of(3 * MIB), second = file_of(5 * PAGE);
    UINT64 before = recorded_bytes(clr);
    char *mapped = map_file(clr, first, NULL, 0);
    if (!judge(clr, mapped != NULL, CANNOT_PLAY, "no view (%lu)", GetLastError())) {
        return;
    }
    void *occupied = map_file(clr, second, mapped, 0);
    DWORD error = GetLastError();
    judge(clr, occupied == NULL, CANNOT_PLAY, "two views in one place: %p, and then %p",
          (void *)mapped, occupied);
    judge(clr, error != MARKER && error != 0, PITFALL(30),
          "the error of the mapping is lost, and is %lu now", error);
    char *relocated = map_file(clr, second, NULL, 0);
    judge(clr, recorded_bytes(clr) - before == 5 * PAGE + 3 * MIB, PITFALL(29),
          "%llu bytes of views were recorded", recorded_bytes(clr) - before);
    unmap_file(clr, relocated);
    unmap_file(clr, mapped);
    judge(clr, recorded_bytes(clr) == before, PITFALL(29), "views are recorded that are gone");
    CloseHandle(second);
    CloseHandle(first);
}

/* Views from before SetHostControl are released, too, without ever having been reported. */
static void release_unknown_view(struct clr *clr)
{
    HANDLE section = file_of(PAGE);
    void *view = MapViewOfFile(section, FILE_MAP_ALL_ACCESS, 0, 0, 0);
    unmap_file(clr, view);
    CloseHandle(section);
}

const struct step mapping_steps[] = {
    {"2.6", "a mapping fails, the host makes room, one retry", map_with_the_hosts_help},
    {"2.6", "assemblies are mapped; a base is taken, so the mapping fails", map_assemblies},
    {"2.6", "a view nobody reported is released", release_unknown_view},
    {NULL, NULL, NULL},
};
