/* SPDX-License-Identifier: MIT
 *
 * What a trace costs its calls: the same calls through a manager and through a recording manager in
 * front of it, in turns, in one process, on the same pages. The ratio is the median of the pairs; the
 * spread is that of the middle half of them. On a busy machine a turn is often interrupted, though it
 * is short: there the fastest turns of both sides say more, and the last column is their ratio. The
 * thread that writes the file runs beside it and counts only in so far as it takes the caller's
 * processor.
 */
#include <hostmem/hostmem.h>

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "trace/trace_manager.h"
#include "trace/trace_writer.h"

#define PAIRS 401
#define REGION_BYTES ((SIZE_T)64 << 20)
#define PAGE_BYTES ((SIZE_T)4096)

struct side {
    IHostMemoryManager *manager;
    IHostMalloc *heap;
    char *region; /* its first half is committed */
};

static double frequency;

static void require(HRESULT hr)
{
    if (hr != S_OK) {
        fprintf(stderr, "0x%08lx\n", (unsigned long)hr);
        exit(1);
    }
}

static void *allocate(const struct side *side, void *address, SIZE_T size, DWORD type)
{
    void *memory;
    require(IHostMemoryManager_VirtualAlloc(side->manager, address, size, type, PAGE_READWRITE,
                                            eTaskCritical, &memory));
    return memory;
}

static void release(const struct side *side, void *address, SIZE_T size, DWORD type)
{
    require(IHostMemoryManager_VirtualFree(side->manager, address, size, type));
}

/* ---- Rows ---- */

static void reserve(const struct side *side)
{
    release(side, allocate(side, NULL, 1 << 20, MEM_RESERVE), 0, MEM_RELEASE);
}

static void reserve_commit(const struct side *side)
{
    release(side, allocate(side, NULL, 1 << 20, MEM_RESERVE | MEM_COMMIT), 0, MEM_RELEASE);
}

static void commit(const struct side *side)
{
    char *at = side->region + REGION_BYTES * 3 / 4;
    allocate(side, at, 16 * PAGE_BYTES, MEM_COMMIT);
    release(side, at, 16 * PAGE_BYTES, MEM_DECOMMIT);
}

static void commit_again(const struct side *side)
{
    allocate(side, side->region + REGION_BYTES / 4, 16 * PAGE_BYTES, MEM_COMMIT);
}

static void query(const struct side *side)
{
    MEMORY_BASIC_INFORMATION information;
    SIZE_T written;
    require(IHostMemoryManager_VirtualQuery(side->manager, side->region, &information,
                                            sizeof(information), &written));
}

static void protect(const struct side *side)
{
    DWORD old;
    require(IHostMemoryManager_VirtualProtect(side->manager, side->region, PAGE_BYTES,
                                              PAGE_READWRITE, &old));
}

static void block(const struct side *side)
{
    void *memory;
    require(IHostMalloc_Alloc(side->heap, 64, eTaskCritical, &memory));
    require(IHostMalloc_Free(side->heap, memory));
}

static const struct {
    const char *name;
    void (*run)(const struct side *side);
    unsigned rounds;
} rows[] = {
    {"reserve+release", reserve, 20},
    {"reserve+commit+release", reserve_commit, 20},
    {"commit+decommit of 16 pages", commit, 20},
    {"re-commit of 16 pages", commit_again, 100},
    {"VirtualQuery", query, 200},
    {"VirtualProtect", protect, 60},
    {"Alloc+Free of 64 bytes", block, 500},
};

/* ---- Measuring ---- */

/* Nanoseconds for one round. */
static double measure(unsigned row, const struct side *side)
{
    LARGE_INTEGER begin, end;
    QueryPerformanceCounter(&begin);
    for (unsigned i = 0; i < rows[row].rounds; i++) {
        rows[row].run(side);
    }
    QueryPerformanceCounter(&end);
    return (double)(end.QuadPart - begin.QuadPart) * 1e9 / frequency / rows[row].rounds;
}

static int compare(const void *a, const void *b)
{
    double difference = *(const double *)a - *(const double *)b;
    return (difference > 0) - (difference < 0);
}

static void measure_row(unsigned row, const struct side *plain, const struct side *traced)
{
    static double ratios[PAIRS], without[PAIRS], more[PAIRS];
    double fastest = 1e18;
    measure(row, plain);
    measure(row, traced);
    for (int i = 0; i < PAIRS; i++) {
        double with = 0;
        if (i % 2 != 0) {
            with = measure(row, traced);
        }
        without[i] = measure(row, plain);
        if (i % 2 == 0) {
            with = measure(row, traced);
        }
        fastest = with < fastest ? with : fastest;
        ratios[i] = with / without[i];
        more[i] = with - without[i];
    }
    qsort(ratios, PAIRS, sizeof(ratios[0]), compare);
    qsort(without, PAIRS, sizeof(without[0]), compare);
    qsort(more, PAIRS, sizeof(more[0]), compare);
    printf("%-28s %8.0f ns  %+6.0f ns  %.3f (%.3f to %.3f)  %.3f\n", rows[row].name,
           without[PAIRS / 2], more[PAIRS / 2], ratios[PAIRS / 2], ratios[PAIRS / 4],
           ratios[PAIRS * 3 / 4], fastest / without[0]);
}

static struct side make_side(IHostMemoryManager *manager)
{
    struct side side = {.manager = manager};
    require(IHostMemoryManager_CreateMalloc(manager, MALLOC_THREADSAFE, &side.heap));
    return side;
}

int main(void)
{
    const struct trace_header about = {0};
    WCHAR folder[MAX_PATH + 1], file[MAX_PATH + 1];
    IHostMemoryManager *manager, *recording;
    LARGE_INTEGER ticks;
    QueryPerformanceFrequency(&ticks);
    frequency = (double)ticks.QuadPart;
    GetTempPathW(MAX_PATH, folder);
    GetTempFileNameW(folder, L"hm", 0, file);
    DWORD error = trace_writer_open(file, &about);
    if (error != ERROR_SUCCESS) {
        fprintf(stderr, "%ls: error %lu\n", file, error);
        return 1;
    }
    require(HostMemCreateManager(NULL, &manager));
    require(trace_manager_create(manager, &recording));
    struct side plain = make_side(manager), traced = make_side(recording);
    /* The same pages: what the system takes depends on what lies beside them. */
    plain.region = traced.region = allocate(&plain, NULL, REGION_BYTES, MEM_RESERVE);
    allocate(&plain, plain.region, REGION_BYTES / 2, MEM_COMMIT);
    printf("%-28s %11s  %9s  ratio (middle half)    fastest, %d pairs\n",
           "with a trace, against none", "without", "more", PAIRS);
    for (unsigned row = 0; row < sizeof(rows) / sizeof(rows[0]); row++) {
        measure_row(row, &plain, &traced);
    }
    UINT64 missing = trace_writer_close();
    DeleteFileW(file);
    printf("calls that the trace lacks: %" PRIu64 "\n", missing);
    return missing != 0;
}
