/* SPDX-License-Identifier: MIT
 *
 * What a limit costs in the commit path: the same commits through a manager without a limit and one
 * with a limit that is never reached, in turns, in one process. The ratio is the median of the
 * pairs; the spread is that of the middle half of them.
 */
#include <hostmem/hostmem.h>

#include <stdio.h>
#include <stdlib.h>

#define PAIRS 101
#define ROUNDS 300
#define REGION_BYTES ((SIZE_T)64 << 20)
#define PAGE_BYTES ((SIZE_T)4096)

static double frequency;

static void require(HRESULT hr)
{
    if (hr != S_OK) {
        fprintf(stderr, "0x%08lx\n", (unsigned long)hr);
        exit(1);
    }
}

static IHostMemoryManager *create(UINT64 limit, void **region)
{
    const HOSTMEM_OPTIONS options = {.Size = sizeof(options), .CommitLimit = limit};
    IHostMemoryManager *manager;
    require(HostMemCreateManager(&options, &manager));
    require(IHostMemoryManager_VirtualAlloc(manager, NULL, REGION_BYTES, MEM_RESERVE,
                                            PAGE_READWRITE, eTaskCritical, region));
    return manager;
}

/* Nanoseconds for one commit and one decommit of 16 pages. */
static double measure(IHostMemoryManager *manager, char *region)
{
    LARGE_INTEGER begin, end;
    void *memory;
    QueryPerformanceCounter(&begin);
    for (SIZE_T i = 0; i < ROUNDS; i++) {
        char *at = region + i % 64 * 32 * PAGE_BYTES;
        require(IHostMemoryManager_VirtualAlloc(manager, at, 16 * PAGE_BYTES, MEM_COMMIT,
                                                PAGE_READWRITE, eTaskCritical, &memory));
        require(IHostMemoryManager_VirtualFree(manager, at, 16 * PAGE_BYTES, MEM_DECOMMIT));
    }
    QueryPerformanceCounter(&end);
    return (double)(end.QuadPart - begin.QuadPart) * 1e9 / frequency / ROUNDS;
}

static int compare(const void *a, const void *b)
{
    double difference = *(const double *)a - *(const double *)b;
    return (difference > 0) - (difference < 0);
}

int main(void)
{
    static double ratios[PAIRS], without[PAIRS];
    LARGE_INTEGER ticks;
    void *free_region, *limited_region;
    QueryPerformanceFrequency(&ticks);
    frequency = (double)ticks.QuadPart;
    IHostMemoryManager *free_manager = create(0, &free_region);
    IHostMemoryManager *limited_manager = create(1u << 30, &limited_region);
    measure(free_manager, free_region);
    measure(limited_manager, limited_region);
    for (int i = 0; i < PAIRS; i++) {
        double limited;
        if (i % 2 == 0) {
            without[i] = measure(free_manager, free_region);
            limited = measure(limited_manager, limited_region);
        } else {
            limited = measure(limited_manager, limited_region);
            without[i] = measure(free_manager, free_region);
        }
        ratios[i] = limited / without[i];
    }
    qsort(ratios, PAIRS, sizeof(ratios[0]), compare);
    qsort(without, PAIRS, sizeof(without[0]), compare);
    printf("commit+decommit, a limit against none: %.3f (%.3f to %.3f), %d pairs, %.0f ns\n",
           ratios[PAIRS / 2], ratios[PAIRS / 4], ratios[PAIRS * 3 / 4], PAIRS, without[PAIRS / 2]);
    return 0;
}
