/* SPDX-License-Identifier: MIT
 *
 * What a heap costs over its life, IHostMalloc against a private Win32 heap: growing to a peak, freeing
 * it all, blocks that grow, and blocks that one thread allocates and another frees. Each pair has two
 * new heaps; bench_calls has the pairs of Alloc and Free in heaps that are as they are.
 *
 *     bench_heap [--json FILE]
 */
#include "bench.h"

#include <hostmem/hostmem.h>

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BLOCKS 200000
#define MIXED_BLOCKS 50000
#define REALLOCS 50 /* of a block from 16 bytes to 256 KiB */
#define HANDED_OVER 20000
#define RING 1024

static IHostMemoryManager *manager;
static IHostMalloc *host_heap;
static HANDLE raw_heap;
static void *blocks[BLOCKS];

static void *raw_alloc(SIZE_T size)
{
    return HeapAlloc(raw_heap, 0, size);
}

static void raw_free(void *block)
{
    HeapFree(raw_heap, 0, block);
}

static void *managed_alloc(SIZE_T size)
{
    void *block;
    IHostMalloc_Alloc(host_heap, size, eTaskCritical, &block);
    return block;
}

static void managed_free(void *block)
{
    IHostMalloc_Free(host_heap, block);
}

static const struct side {
    void *(*alloc)(SIZE_T size);
    void (*free)(void *block);
} sides[2] = {{raw_alloc, raw_free}, {managed_alloc, managed_free}};

static void open_heap(int side)
{
    if (side == 0) {
        raw_heap = HeapCreate(0, 0, 0);
        bench_require(raw_heap != NULL, "HeapCreate");
    } else {
        bench_require(IHostMemoryManager_CreateMalloc(manager, MALLOC_THREADSAFE, &host_heap) ==
                          S_OK,
                      "CreateMalloc");
    }
}

static void close_heap(int side)
{
    if (side == 0) {
        HeapDestroy(raw_heap);
    } else {
        IHostMalloc_Release(host_heap);
    }
}

/* ---- what is measured: ns of one operation ---- */

static size_t size_of(size_t block, SIZE_T size)
{
    return size != 0 ? size : 16 + ((unsigned)block * 2654435761u >> 8) % 1024;
}

static double grow(const struct side *side, size_t count, SIZE_T size)
{
    double start = bench_now();
    for (size_t i = 0; i < count; i++) {
        blocks[i] = side->alloc(size_of(i, size));
        bench_require(blocks[i] != NULL, "grow");
        *(char *)blocks[i] = 1;
    }
    return (bench_now() - start) / (double)count;
}

static double free_all(const struct side *side, size_t count)
{
    double start = bench_now();
    for (size_t i = 0; i < count; i++) {
        side->free(blocks[i]);
    }
    return (bench_now() - start) / (double)count;
}

static double reallocate(const struct side *side)
{
    size_t steps = 0;
    double start = bench_now();
    for (int i = 0; i < REALLOCS; i++) {
        SIZE_T size = 16;
        char *block = side->alloc(size);
        for (; size < 256 * 1024; steps++) {
            char *grown = side->alloc(size + size / 2);
            bench_require(block != NULL && grown != NULL, "realloc");
            memcpy(grown, block, size);
            side->free(block);
            block = grown;
            size += size / 2;
        }
        side->free(block);
    }
    return (bench_now() - start) / (double)steps;
}

static void *volatile ring[RING];
static const struct side *ring_side;

static DWORD WINAPI consume(LPVOID context)
{
    (void)context;
    for (size_t i = 0; i < HANDED_OVER; i++) {
        void *volatile *place = &ring[i % RING];
        while (*place == NULL) {
            YieldProcessor();
        }
        void *block = *place;
        *place = NULL;
        ring_side->free(block);
    }
    return 0;
}

static double hand_over(const struct side *side)
{
    ring_side = side;
    HANDLE thread = CreateThread(NULL, 0, consume, NULL, 0, NULL);
    bench_require(thread != NULL, "CreateThread");
    double start = bench_now();
    for (size_t i = 0; i < HANDED_OVER; i++) {
        void *block = side->alloc(size_of(i, 0));
        bench_require(block != NULL, "hand over");
        while (ring[i % RING] != NULL) {
            YieldProcessor();
        }
        ring[i % RING] = block;
    }
    WaitForSingleObject(thread, INFINITE);
    double end = bench_now();
    CloseHandle(thread);
    return (end - start) / HANDED_OVER;
}

/* ---- */

enum { GROW, FREE, GROW_AGAIN, GROW_MIXED, FREE_MIXED, REALLOC, HAND_OVER, ROWS };

static const char *const names[ROWS] = {
    "grow to 200,000 x 64", "free them",         "grow to them again",       "grow to 50,000 mixed",
    "free them, mixed",     "alloc, copy, free", "one allocates, one frees",
};

static void measure(int side, double *times)
{
    open_heap(side);
    times[GROW] = grow(&sides[side], BLOCKS, 64);
    times[FREE] = free_all(&sides[side], BLOCKS);
    times[GROW_AGAIN] = grow(&sides[side], BLOCKS, 64);
    free_all(&sides[side], BLOCKS);
    close_heap(side);
    open_heap(side);
    times[GROW_MIXED] = grow(&sides[side], MIXED_BLOCKS, 0);
    times[FREE_MIXED] = free_all(&sides[side], MIXED_BLOCKS);
    close_heap(side);
    open_heap(side);
    times[REALLOC] = reallocate(&sides[side]);
    times[HAND_OVER] = hand_over(&sides[side]);
    close_heap(side);
}

int main(int argc, char **argv)
{
    static double times[2][ROWS][BENCH_PAIRS];
    bench_require(HostMemCreateManager(NULL, &manager) == S_OK, "manager");
    bench_open("A heap over its life",
               argc == 3 && strcmp(argv[1], "--json") == 0 ? argv[2] : NULL);
    for (size_t i = 0; i < BENCH_PAIRS; i++) {
        for (int turn = 0; turn < 2; turn++) {
            int side = turn ^ (int)(i % 2);
            double row[ROWS];
            measure(side, row);
            for (size_t r = 0; r < ROWS; r++) {
                times[side][r][i] = row[r];
            }
        }
    }
    for (size_t r = 0; r < ROWS; r++) {
        struct bench_result result = bench_summary(times[0][r], times[1][r], BENCH_PAIRS);
        bench_print(names[r], 0, r == HAND_OVER ? 2 : 1, 0, &result);
    }
    bench_close();
    IHostMemoryManager_Release(manager);
    return 0;
}
