/* SPDX-License-Identifier: MIT
 *
 * What the portable core itself costs, natively: lookups, publishing, page sets, and the memory it
 * takes for itself. There is no raw side; the numbers are ns per operation, the median of 31 runs.
 *
 *     bench_core [--json FILE]
 */
#include "bench.h"

#include "core/pages/virtual_memory.h"
#include "support/random.h"

#include <string.h>

#define RUNS BENCH_PAIRS
#define PAGE ((size_t)4096)
#define SLOT ((uintptr_t)65536)
#define FIRST ((uintptr_t)1 << 32)
#define LOOKUPS ((size_t)1 << 16)

static struct table_memory memory;
static struct region_table table;
static uintptr_t addresses[LOOKUPS];
static size_t sum; /* keeps the compiler from dropping what it could do without */

static void require(bool condition)
{
    if (!condition) {
        fprintf(stderr, "out of memory\n");
        exit(1);
    }
}

/* The median time of body(), which does `operations`. */
static double median(void (*body)(void), size_t operations)
{
    double times[RUNS];
    body();
    for (int i = 0; i < RUNS; i++) {
        double start = bench_now();
        body();
        times[i] = (bench_now() - start) / (double)operations;
    }
    return bench_median(times, RUNS);
}

/* ---- lookups ---- */

static void publish(uintptr_t base, size_t size)
{
    const struct region_snapshot region = {.base = base, .size = size};
    uint32_t id = region_table_acquire(&table);
    require(id != 0 && region_table_publish(&table, id, &region, false) == OS_OK);
}

static void withdraw(uintptr_t base)
{
    struct region_guard guard;
    require(region_table_lock(&table, base, &guard));
    region_table_withdraw(&table, &guard);
    region_table_discard(&table, &guard);
}

static void find_independent(void)
{
    struct region_snapshot region;
    for (size_t i = 0; i < LOOKUPS; i++) {
        sum += region_table_find(&table, addresses[i], &region) ? region.base : 0;
    }
}

/* Where to look next depends on what was found. */
static void find_dependent(void)
{
    struct region_snapshot region = {0};
    size_t next = 0;
    for (size_t i = 0; i < LOOKUPS; i++) {
        region_table_find(&table, addresses[next], &region);
        next = (i * 40503 + (region.base & 1)) % LOOKUPS;
    }
    sum += next;
}

static void measure_lookups(size_t count)
{
    struct random random = {1};
    static size_t live;
    for (; live < count; live++) {
        publish(FIRST + live * SLOT, SLOT);
    }
    for (size_t i = 0; i < LOOKUPS; i++) {
        addresses[i] = FIRST + random_below(&random, live) * SLOT + random_below(&random, SLOT);
    }
    bench_print_value("find, independent", live, median(find_independent, LOOKUPS), "ns");
    bench_print_value("find, dependent", live, median(find_dependent, LOOKUPS), "ns");
    bench_print_value("tables per region, all of them", live,
                      (double)usage_current(&memory.committed) / (double)live, "bytes");
}

/* ---- whole requests, on a system that says yes at once ---- */

static struct budget budget;
static struct virtual_memory requests;
static uintptr_t reserved;

static os_error grant(const struct os *os, uintptr_t address, size_t size, uint32_t type,
                      uint32_t protect, uintptr_t *result)
{
    (void)os, (void)size, (void)type, (void)protect;
    *result = address != 0 ? address : FIRST;
    return OS_OK;
}

static os_error take_back(const struct os *os, uintptr_t address, size_t size, uint32_t type)
{
    (void)os, (void)address, (void)size, (void)type;
    return OS_OK;
}

static void alloc(uintptr_t address, size_t size, uint32_t type)
{
    require(virtual_memory_alloc(&requests, address, size, type, OS_PAGE_READWRITE, BUDGET_TASK,
                                 &reserved) == OS_OK);
}

static void free_memory(uintptr_t address, size_t size, uint32_t type)
{
    require(virtual_memory_free(&requests, address, size, type) == OS_OK);
}

static void reserve_and_release(void)
{
    for (size_t i = 0; i < 1000; i++) {
        alloc(0, SLOT, OS_MEM_RESERVE);
        free_memory(FIRST, 0, OS_MEM_RELEASE);
    }
}

static void commit_and_decommit(void)
{
    for (size_t i = 0; i < 1000; i++) {
        alloc(FIRST + SLOT, SLOT, OS_MEM_COMMIT);
        free_memory(FIRST + SLOT, SLOT, OS_MEM_DECOMMIT);
    }
}

static void commit_again(void)
{
    for (size_t i = 0; i < 1000; i++) {
        alloc(FIRST, SLOT, OS_MEM_COMMIT);
    }
}

static void measure_requests(void)
{
    static struct os os;
    os = *os_system();
    os.virtual_alloc = grant;
    os.virtual_free = take_back;
    budget_init(&budget);
    require(virtual_memory_create(&requests, &os, &budget) == OS_OK);
    bench_print_value("request: reserve+release", 0, median(reserve_and_release, 1000), "ns");
    alloc(0, (size_t)1 << 30, OS_MEM_RESERVE);
    bench_print_value("request: commit+decommit 64 KiB", 1, median(commit_and_decommit, 1000),
                      "ns");
    alloc(FIRST, SLOT, OS_MEM_COMMIT);
    bench_print_value("request: re-commit 64 KiB", 1, median(commit_again, 1000), "ns");
    free_memory(FIRST, 0, OS_MEM_RELEASE);
    virtual_memory_destroy(&requests);
}

/* ---- publish and withdraw ---- */

static size_t region_bytes;

static void publish_and_withdraw(void)
{
    publish(FIRST, region_bytes);
    withdraw(FIRST);
}

static void measure_publish(const char *row, size_t bytes)
{
    region_bytes = bytes;
    bench_print_value(row, 1, median(publish_and_withdraw, 1), "ns");
}

/* ---- page sets ---- */

#define SET_PAGES ((size_t)1 << 18) /* a region of 1 GiB */
#define MARKS ((size_t)1 << 12)

static struct page_set set;

static void change(struct page_set *of, size_t pages, size_t page, bool mark)
{
    struct page_change change;
    if (mark) {
        require(page_set_prepare_mark(of, pages, page, page + 1, &table.pool, &change));
    } else {
        page_set_prepare_clear(of, pages, page, page + 1, &change);
    }
    page_set_apply(of, pages, &change, &table.pool);
}

static void mark(size_t page)
{
    change(&set, SET_PAGES, page, true);
}

static void clear(size_t page)
{
    change(&set, SET_PAGES, page, false);
}

static void grow_and_shrink(void)
{
    for (size_t i = 0; i < MARKS; i++) {
        mark(i);
    }
    for (size_t i = MARKS; i-- > 0;) {
        clear(i);
    }
}

static void random_pages(void)
{
    for (size_t i = 0; i < MARKS; i++) {
        mark(i * 40503 % SET_PAGES);
    }
    for (size_t i = 0; i < MARKS; i++) {
        clear(i * 40503 % SET_PAGES);
    }
}

static void every_second(void)
{
    for (size_t i = 0; i < MARKS; i++) {
        mark(2 * i);
    }
    for (size_t i = 0; i < MARKS; i++) {
        clear(2 * i);
    }
}

/* ---- tables ---- */

static struct virtual_memory
    scene; /* tables of its own, all counted, those of an empty one included */

static double table_kib(void)
{
    return (double)usage_current(&scene.table_memory.committed) / 1024;
}

/* A region with single committed pages all over it. */
static void measure_scattered(const char *row, size_t bytes, size_t count)
{
    uintptr_t base = 0;
    require(virtual_memory_alloc(&scene, 0, bytes, OS_MEM_RESERVE, OS_PAGE_READWRITE, BUDGET_TASK,
                                 &base) == OS_OK);
    for (size_t i = 0; i < count; i++) {
        uintptr_t result;
        require(virtual_memory_alloc(&scene, base + i * (bytes / count / PAGE * PAGE), PAGE,
                                     OS_MEM_COMMIT, OS_PAGE_READWRITE, BUDGET_TASK,
                                     &result) == OS_OK);
    }
    bench_print_value(row, 1, table_kib(), "KiB");
    require(virtual_memory_free(&scene, base, 0, OS_MEM_RELEASE) == OS_OK);
}

/* One page in each of 1,000 GiB, and all of them released. */
static void measure_apart(void)
{
    const uintptr_t gib = (uintptr_t)1 << 30;
    uintptr_t result;
    for (uintptr_t i = 0; i < 1000; i++) {
        require(virtual_memory_alloc(&scene, FIRST + i * gib, PAGE, OS_MEM_RESERVE,
                                     OS_PAGE_READWRITE, BUDGET_TASK, &result) == OS_OK);
    }
    bench_print_value("tables, regions a GiB apart", 1000, table_kib(), "KiB");
    for (uintptr_t i = 0; i < 1000; i++) {
        require(virtual_memory_free(&scene, FIRST + i * gib, 0, OS_MEM_RELEASE) == OS_OK);
    }
    bench_print_value("tables, kept after their release", 1000, table_kib(), "KiB");
}

static void measure_tables(void)
{
    static struct os os;
    const size_t gib = (size_t)1 << 30;
    os = *os_system();
    os.virtual_alloc = grant;
    os.virtual_free = take_back;
    budget_init(&budget);
    require(virtual_memory_create(&scene, &os, &budget) == OS_OK);
    bench_print_value("tables, empty", 0, table_kib(), "KiB");
    measure_scattered("tables, 256 GiB with 4 single pages", 256 * gib, 4);
    measure_scattered("tables, 256 GiB with 1,000 single pages", 256 * gib, 1000);
    measure_scattered("tables, 256 GiB with 1 Mi single pages", 256 * gib, (size_t)1 << 20);
    measure_scattered("tables, 8 TiB with 4 single pages", 8192 * gib, 4);
    measure_scattered("tables, 8 TiB with 1,000 single pages", 8192 * gib, 1000);
    measure_apart();
    virtual_memory_destroy(&scene);
}

int main(int argc, char **argv)
{
    bench_open("The core", argc == 3 && strcmp(argv[1], "--json") == 0 ? argv[2] : NULL);
    memory.os = os_system();
    require(region_table_create(&table, &memory) == OS_OK);
    measure_requests();
    measure_publish("publish+withdraw 64 KiB", 64 << 10);
    measure_publish("publish+withdraw 1 MiB", 1 << 20);
    measure_publish("publish+withdraw 1 GiB", (size_t)1 << 30);
    measure_publish("publish+withdraw 256 GiB", (size_t)256 << 30);
    measure_lookups(1000);
    measure_lookups(65536);
    measure_lookups((size_t)1 << 20);
    page_set_init(&set, SET_PAGES, false, &table.pool);
    bench_print_value("page set, growing, mark+clear", 1, median(grow_and_shrink, MARKS), "ns");
    bench_print_value("page set, random pages, mark+clear", 1, median(random_pages, MARKS), "ns");
    bench_print_value("page set, every second, mark+clear", 1, median(every_second, MARKS), "ns");
    page_set_dispose(&set, SET_PAGES, &table.pool);
    measure_tables();
    region_table_destroy(&table);
    bench_close();
    return sum == 1; /* never */
}
