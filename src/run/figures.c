/* SPDX-License-Identifier: MIT */
#include "figures.h"

static void keep_if_large(struct figures *figures, const HOSTMEM_REGION *region)
{
    unsigned place = figures->largest_count;
    while (place > 0 && figures->largest[place - 1].Size < region->Size) {
        place--;
    }
    if (place == FIGURES_LARGEST) {
        return;
    }
    if (figures->largest_count < FIGURES_LARGEST) {
        figures->largest_count++;
    }
    for (unsigned i = figures->largest_count - 1; i > place; i--) {
        figures->largest[i] = figures->largest[i - 1];
    }
    figures->largest[place] = *region;
}

static void take_regions(IHostMemoryStatistics *source, struct figures *figures)
{
    HOSTMEM_REGION regions[32];
    UINT32 count = sizeof(regions) / sizeof(regions[0]), got = count;
    for (UINT64 from = 0; got == count;) {
        if (IHostMemoryStatistics_GetRegions(source, from, count, regions, &got) != S_OK) {
            return;
        }
        for (UINT32 i = 0; i < got; i++) {
            keep_if_large(figures, &regions[i]);
            figures->write_watch_regions += (regions[i].AllocationType & MEM_WRITE_WATCH) != 0;
            from = regions[i].Base + 1;
        }
    }
}

void figures_take(IHostMemoryStatistics *source, struct figures *figures)
{
    *figures = (struct figures){.ticks = GetTickCount64(),
                                .statistics = {.Size = sizeof(figures->statistics)},
                                .binding = {.Size = sizeof(figures->binding)}};
    /* First: other threads may be at work, and what is measured is below a peak that is read later. */
    IHostMemoryStatistics_MeasureCommit(source, &figures->commit_bytes, &figures->commit_os_bytes);
    IHostMemoryStatistics_GetStatistics(source, &figures->statistics);
    take_regions(source, figures);
    HostMemGetBinding(&figures->binding);
    HostMemGetFunctions(0, FIGURES_FUNCTIONS, figures->functions, &figures->function_count);
}
