/* SPDX-License-Identifier: MIT
 *
 * What a call costs through the manager, against the same call to Win32, for each operation of the
 * CLR: with 16 to 1 Mi live regions, with a limit and without, with 1 to 16 threads. The live regions
 * are the system's as well, so both sides find it equally full; and both work on the same pages, for
 * what the system takes depends on what lies beside them, by up to a tenth.
 *
 *     bench_calls [--json FILE] [ROW]      a row, or all
 */
#include "bench.h"

#include <hostmem/hostmem.h>

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PAGE ((SIZE_T)4096)
#define SLOT ((SIZE_T)65536)
#define OWN_BYTES (64 * SLOT)
#define MAX_THREADS 16
#define BLOCKS 256
#define WORST_CALLS 2000
#define THREAD_ROUNDS 8

/* ---- two sides ---- */

static IHostMemoryManager *manager;
static IHostMalloc *host_heap;
static HANDLE raw_heap;

struct side {
    void *(*alloc)(void *address, SIZE_T size, DWORD type);
    bool (*free)(void *address, SIZE_T size, DWORD type);
    void (*query)(void *address);
    void (*protect)(void *address, DWORD protect);
    void *(*heap_alloc)(SIZE_T size);
    void (*heap_free)(void *block);
};

static void *raw_alloc(void *address, SIZE_T size, DWORD type)
{
    return VirtualAlloc(address, size, type, PAGE_READWRITE);
}

static bool raw_free(void *address, SIZE_T size, DWORD type)
{
    return VirtualFree(address, size, type);
}

static void raw_query(void *address)
{
    MEMORY_BASIC_INFORMATION info;
    bench_require(VirtualQuery(address, &info, sizeof(info)) != 0, "VirtualQuery");
}

static void raw_protect(void *address, DWORD protect)
{
    DWORD old;
    bench_require(VirtualProtect(address, PAGE, protect, &old), "VirtualProtect");
}

static void *raw_heap_alloc(SIZE_T size)
{
    return HeapAlloc(raw_heap, 0, size);
}

static void raw_heap_free(void *block)
{
    HeapFree(raw_heap, 0, block);
}

static void *managed_alloc(void *address, SIZE_T size, DWORD type)
{
    void *memory;
    IHostMemoryManager_VirtualAlloc(manager, address, size, type, PAGE_READWRITE, eTaskCritical,
                                    &memory);
    return memory;
}

static bool managed_free(void *address, SIZE_T size, DWORD type)
{
    return IHostMemoryManager_VirtualFree(manager, address, size, type) == S_OK;
}

static void managed_query(void *address)
{
    MEMORY_BASIC_INFORMATION info;
    SIZE_T written;
    bench_require(
        IHostMemoryManager_VirtualQuery(manager, address, &info, sizeof(info), &written) == S_OK,
        "VirtualQuery");
}

static void managed_protect(void *address, DWORD protect)
{
    DWORD old;
    bench_require(IHostMemoryManager_VirtualProtect(manager, address, PAGE, protect, &old) == S_OK,
                  "VirtualProtect");
}

static void *managed_heap_alloc(SIZE_T size)
{
    void *block;
    IHostMalloc_Alloc(host_heap, size, eTaskCritical, &block);
    return block;
}

static void managed_heap_free(void *block)
{
    IHostMalloc_Free(host_heap, block);
}

static const struct side sides[2] = {
    {raw_alloc, raw_free, raw_query, raw_protect, raw_heap_alloc, raw_heap_free},
    {managed_alloc, managed_free, managed_query, managed_protect, managed_heap_alloc,
     managed_heap_free},
};

/* ---- operations ---- */

/* What a thread has of its own, on each side. */
struct worker {
    char *region; /* the manager's; both sides leave its pages as they find them */
    void *blocks[2][BLOCKS];
    SIZE_T size;
    unsigned random;
    /* of the measurement */
    const struct row *row;
    int side;
    size_t rounds;
    double start;
    double end;
};

typedef void operation(struct worker *worker, const struct side *side, char *region, size_t rounds);

struct row {
    const char *name;
    operation *run;
    SIZE_T size;
};

static char *foreign; /* reserved by this program, behind the manager's back */

static void reserve_release(struct worker *worker, const struct side *side, char *region,
                            size_t rounds)
{
    (void)region;
    for (size_t i = 0; i < rounds; i++) {
        void *memory = side->alloc(NULL, SLOT, (DWORD)worker->size);
        bench_require(memory != NULL && side->free(memory, 0, MEM_RELEASE), "reserve, release");
    }
}

static void commit_decommit(struct worker *worker, const struct side *side, char *region,
                            size_t rounds)
{
    for (size_t i = 0; i < rounds; i++) {
        char *at = region + (1 + i % 63) * SLOT;
        bench_require(side->alloc(at, worker->size, MEM_COMMIT) == at &&
                          side->free(at, worker->size, MEM_DECOMMIT),
                      "commit, decommit");
    }
}

static void commit_again(struct worker *worker, const struct side *side, char *region,
                         size_t rounds)
{
    for (size_t i = 0; i < rounds; i++) {
        bench_require(side->alloc(region, worker->size, MEM_COMMIT) == region, "commit again");
    }
}

static void query(struct worker *worker, const struct side *side, char *region, size_t rounds)
{
    (void)worker;
    for (size_t i = 0; i < rounds; i++) {
        side->query(region + i % 16 * PAGE);
    }
}

static void protect(struct worker *worker, const struct side *side, char *region, size_t rounds)
{
    (void)worker;
    for (size_t i = 0; i < rounds; i++) {
        side->protect(region, i % 2 == 0 ? PAGE_READONLY : PAGE_READWRITE);
    }
}

static void foreign_free(struct worker *worker, const struct side *side, char *region,
                         size_t rounds)
{
    (void)worker;
    (void)region;
    for (size_t i = 0; i < rounds; i++) {
        bench_require(!side->free(foreign + SLOT, 0, MEM_RELEASE), "refusal");
    }
}

static void heap_pair(struct worker *worker, const struct side *side, char *region, size_t rounds)
{
    (void)region;
    for (size_t i = 0; i < rounds; i++) {
        void *block = side->heap_alloc(worker->size);
        bench_require(block != NULL, "heap");
        side->heap_free(block);
    }
}

/* A quarter of a thousand live blocks of 16 to 1,039 bytes; one goes, another comes. */
static void heap_churn(struct worker *worker, const struct side *side, char *region, size_t rounds)
{
    void **blocks = worker->blocks[side == &sides[1]];
    (void)region;
    for (size_t i = 0; i < rounds; i++) {
        worker->random = worker->random * 1664525u + 1013904223u;
        void **block = &blocks[worker->random >> 24];
        if (*block != NULL) {
            side->heap_free(*block);
        }
        *block = side->heap_alloc(16 + (worker->random >> 8) % 1024);
        bench_require(*block != NULL, "heap");
    }
}

static const struct row rows[] = {
    {"reserve+release", reserve_release, MEM_RESERVE},
    {"reserve+commit+release", reserve_release, MEM_RESERVE | MEM_COMMIT},
    {"commit+decommit 4K", commit_decommit, 4096},
    {"commit+decommit 64K", commit_decommit, 65536},
    {"re-commit 64K", commit_again, 65536},
    {"VirtualQuery", query, 0},
    {"VirtualProtect", protect, 0},
    {"foreign VirtualFree", foreign_free, 0},
    {"Alloc+Free 16", heap_pair, 16},
    {"Alloc+Free 64", heap_pair, 64},
    {"Alloc+Free 256", heap_pair, 256},
    {"Alloc+Free 4096", heap_pair, 4096},
    {"Alloc+Free 65536", heap_pair, 65536},
    {"Alloc+Free churn", heap_churn, 0},
};

/* ---- measuring ---- */

static struct worker workers[MAX_THREADS];
static HANDLE begin;

static void run_worker(struct worker *worker)
{
    worker->row->run(worker, &sides[worker->side], worker->region, worker->rounds);
}

static DWORD WINAPI worker_main(LPVOID context)
{
    struct worker *worker = context;
    WaitForSingleObject(begin, INFINITE);
    worker->start = bench_now();
    run_worker(worker);
    worker->end = bench_now();
    return 0;
}

struct measurement {
    const struct row *row;
    size_t threads;
};

static void prepare(const struct measurement *measurement, int side, size_t rounds)
{
    for (size_t i = 0; i < measurement->threads; i++) {
        struct worker *worker = &workers[i];
        worker->row = measurement->row;
        worker->size = measurement->row->size;
        worker->side = side;
        worker->rounds = rounds;
    }
}

static double run_one(void *context, int side, size_t rounds)
{
    prepare(context, side, rounds);
    double start = bench_now();
    run_worker(&workers[0]);
    return bench_now() - start;
}

/* The time from when the first thread began to when the last one ended. Together they do
 * THREAD_ROUNDS times as much, because it takes the system a while to start them all. */
static double run_threads(void *context, int side, size_t rounds)
{
    const struct measurement *measurement = context;
    HANDLE threads[MAX_THREADS];
    double start = 0, end = 0;
    prepare(measurement, side, 1 + rounds * THREAD_ROUNDS / measurement->threads);
    ResetEvent(begin);
    for (size_t i = 0; i < measurement->threads; i++) {
        threads[i] = CreateThread(NULL, 0, worker_main, &workers[i], 0, NULL);
        bench_require(threads[i] != NULL, "CreateThread");
    }
    SetEvent(begin);
    for (size_t i = 0; i < measurement->threads; i++) {
        WaitForSingleObject(threads[i], INFINITE);
        CloseHandle(threads[i]);
        start = i == 0 || workers[i].start < start ? workers[i].start : start;
        end = workers[i].end > end ? workers[i].end : end;
    }
    return (end - start) / THREAD_ROUNDS;
}

/* The longest of many single operations. */
static double worst(struct measurement *measurement, int side)
{
    double longest = 0;
    prepare(measurement, side, 1);
    for (int i = 0; i < WORST_CALLS; i++) {
        double start = bench_now();
        run_worker(&workers[0]);
        double time = bench_now() - start;
        longest = time > longest ? time : longest;
    }
    return longest;
}

static void set_limit(UINT64 bytes)
{
    const HOSTMEM_LIMITS limits = {.Size = sizeof(limits), .CommitLimit = bytes};
    IHostMemoryLimits *setter;
    bench_require(IHostMemoryManager_QueryInterface(manager, &IID_IHostMemoryLimits,
                                                    (void **)&setter) == S_OK &&
                      IHostMemoryLimits_SetLimits(setter, &limits) == S_OK,
                  "SetLimits");
    IHostMemoryLimits_Release(setter);
}

static void measure(const struct row *row, size_t regions, size_t threads, bool limit)
{
    struct measurement measurement = {row, threads};
    set_limit(limit ? (UINT64)1 << 31 : 0);
    size_t rounds = bench_rounds(run_one, &measurement);
    struct bench_result result = threads == 1
                                     ? bench_pairs(run_one, &measurement, rounds, BENCH_MANY_PAIRS)
                                     : bench_pairs(run_threads, &measurement, rounds, BENCH_PAIRS);
    bench_print(row->name, regions, threads, limit, &result);
}

/* ---- live regions ---- */

static void set_up(void)
{
    HMODULE module = GetModuleHandleW(L"kernel32");
    bench_require(module != NULL && HostMemCreateManager(NULL, &manager) == S_OK, "manager");
    bench_require(IHostMemoryManager_CreateMalloc(manager, MALLOC_THREADSAFE, &host_heap) == S_OK,
                  "CreateMalloc");
    raw_heap = HeapCreate(0, 0, 0);
    begin = CreateEventW(NULL, TRUE, FALSE, NULL);
    foreign = raw_alloc(NULL, 2 * SLOT, MEM_RESERVE);
    bench_require(raw_heap != NULL && begin != NULL && foreign != NULL, "set up");
    for (size_t i = 0; i < MAX_THREADS; i++) {
        char *region = managed_alloc(NULL, OWN_BYTES, MEM_RESERVE);
        bench_require(region != NULL && managed_alloc(region, SLOT, MEM_COMMIT) == region,
                      "a region");
        workers[i].region = region;
        workers[i].random = (unsigned)i;
    }
}

/* Reserve until there are `count` regions of the manager's. False: the system has no more. */
static bool reserve_regions(size_t count)
{
    static size_t live = MAX_THREADS;
    while (live < count && managed_alloc(NULL, SLOT, MEM_RESERVE) != NULL) {
        live++;
    }
    if (live < count) {
        printf(
            "%zu regions: the system has no more than %zu; for the tables alone see bench_core\n",
            count, live);
    }
    return live >= count;
}

int main(int argc, char **argv)
{
    static const size_t region_counts[] = {MAX_THREADS, 1000, 65536, 1048576};
    static const size_t thread_counts[] = {2, 4, 8, 16};
    const char *json = NULL, *only = NULL;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--json") == 0 && i + 1 < argc) {
            json = argv[++i];
        } else {
            only = argv[i];
        }
    }
    set_up();
    bench_open("Calls through the manager against Win32", json);
    for (size_t i = 0; i < ARRAYSIZE(region_counts); i++) {
        size_t live = region_counts[i];
        if (!reserve_regions(live)) {
            break;
        }
        for (size_t r = 0; r < ARRAYSIZE(rows); r++) {
            if (only != NULL && strcmp(only, rows[r].name) != 0) {
                continue;
            }
            measure(&rows[r], live, 1, false);
            measure(&rows[r], live, 1, true);
            for (size_t t = 0; i == 0 && t < ARRAYSIZE(thread_counts); t++) {
                measure(&rows[r], live, thread_counts[t], false);
            }
            if (i == 0) {
                struct measurement measurement = {&rows[r], 1};
                bench_print_value("    longest of 2,000, raw", live, worst(&measurement, 0), "ns");
                bench_print_value("    longest of 2,000, managed", live, worst(&measurement, 1),
                                  "ns");
            }
        }
    }
    bench_close();
    return 0;
}
