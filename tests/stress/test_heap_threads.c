/* SPDX-License-Identifier: MIT
 *
 * Twelve threads on one heap of eight shares, on the real system. In each run what a thread owns it
 * knows exactly, and in the end nothing is left: no block, no byte, no charge.
 *
 *     exchange       every thread frees what others allocated, and reads what they wrote
 *     producers      half of the threads allocate, the others free
 *     double free    of all threads that free one block one succeeds
 *     at a limit     refused about every second time, and never above; another thread trims
 *     two heaps      while blocks of one are freed in the other, heaps come and go
 *
 *     test_heap_threads [seconds]     in all, 6 if not given; HOSTMEM_SEED sets the seed
 */
#include "support/sizes.h"
#include "support/stress.h"

#include "core/heap/heap.h"

#include <stdio.h>
#include <string.h>

#define THREADS 12
#define PLACES 256
#define LIMIT (2 * MIB)

static struct table_memory table_memory;
static struct budget budget;
static struct site_table sites;
static struct heaps heaps;
static struct heap heap;
static void *_Atomic places[PLACES];
static atomic_size_t refused;

static void report(const char *damage)
{
    stress_fail(__FILE__, __LINE__, damage);
}

static void set_limit(size_t commit)
{
    budget_set_limits(&budget,
                      &(struct budget_limits){.commit = commit, .reserve = BUDGET_UNLIMITED});
}

static size_t some_size(struct random *random)
{
    size_t most = random_one_in(random, 50) ? 200 * KIB : random_one_in(random, 4) ? 4000 : 200;
    return sizeof(size_t) + random_below(random, most);
}

/* A block whose first and last bytes say how large it is. NULL: refused. */
static unsigned char *new_block(struct random *random)
{
    void *memory;
    size_t size = some_size(random);
    uint32_t site = random_one_in(random, 8) ? site_table_get(&sites, "site.c", size % 7) : 0;
    if (heap_alloc(&heap, size, site, BUDGET_TASK, &memory) != OS_OK) {
        atomic_fetch_add_explicit(&refused, 1, memory_order_relaxed);
        return NULL;
    }
    memcpy(memory, &size, sizeof(size));
    ((unsigned char *)memory)[size - 1] ^= 0xff;
    return memory;
}

static void end_block(unsigned char *memory)
{
    size_t size, asked;
    REQUIRE(heap_block_size(&heap, memory, &asked) == OS_OK);
    memcpy(&size, memory, sizeof(size));
    REQUIRE(size == asked || asked == sizeof(size));
    REQUIRE(heap_free(&heap, memory) == OS_OK);
}

static void *take_place(struct random *random, void *memory)
{
    return atomic_exchange(&places[random_below(random, PLACES)], memory);
}

static void exchange(void *number)
{
    struct random random = stress_random(number);
    size_t done = 0;
    for (; !atomic_load_explicit(&stress_stop, memory_order_relaxed); done++) {
        void *old = take_place(&random, new_block(&random));
        if (old != NULL) {
            end_block(old);
        }
    }
    atomic_fetch_add(&stress_rounds, done);
}

static void produce_or_consume(void *number)
{
    struct random random = stress_random(number);
    bool produces = *(size_t *)number % 2 == 0;
    size_t done = 0;
    for (; !atomic_load_explicit(&stress_stop, memory_order_relaxed); done++) {
        void *old = take_place(&random, produces ? new_block(&random) : NULL);
        if (old != NULL) {
            end_block(old);
        }
    }
    atomic_fetch_add(&stress_rounds, done);
}

static void exchange_or_trim(void *number)
{
    if (*(size_t *)number < THREADS) {
        exchange(number);
        return;
    }
    while (!atomic_load_explicit(&stress_stop, memory_order_relaxed)) {
        heaps_trim(&heaps);
        REQUIRE(usage_current(&budget.commit.used) <= LIMIT);
    }
}

/* ---- double free ---- */

static _Atomic(void *) contested; /* one block that all try to free */
static atomic_size_t made, freed;

static void free_contested(void)
{
    void *memory = atomic_load(&contested);
    /* Whoever comes late may find the next block at the same address: that counts as well. */
    if (memory != NULL && heap_free(&heap, memory) == OS_OK) {
        atomic_fetch_add(&freed, 1);
    }
}

static void free_the_same(void *number)
{
    struct random random = stress_random(number);
    size_t done = 0;
    for (; !atomic_load_explicit(&stress_stop, memory_order_relaxed); done++) {
        if (*(size_t *)number == 0) {
            void *memory;
            REQUIRE(heap_alloc(&heap, random_below(&random, 3000), 0, BUDGET_TASK, &memory) ==
                    OS_OK);
            atomic_store(&contested, memory);
            atomic_fetch_add(&made, 1);
            while (atomic_load(&freed) < atomic_load(&made)) {
                free_contested();
            }
            REQUIRE(atomic_load(&freed) == atomic_load(&made));
        }
        free_contested();
    }
    atomic_fetch_add(&stress_rounds, done);
}

/* ---- heaps that come and go ---- */

static void come_and_go(void *number)
{
    struct random random = stress_random(number);
    static struct heap own[THREADS];
    struct heap *mine = &own[*(size_t *)number];
    size_t done = 0;
    for (; !atomic_load_explicit(&stress_stop, memory_order_relaxed); done++) {
        void *memory, *other;
        memset(mine, 0, sizeof(*mine));
        REQUIRE(heap_create(mine, &heaps, true, false) == OS_OK);
        for (int i = 0; i < 50; i++) {
            REQUIRE(heap_alloc(mine, some_size(&random), 0, BUDGET_TASK, &memory) == OS_OK);
            other = take_place(&random, memory);
            /* Another heap's, dead or alive: never one of this. */
            REQUIRE(other == NULL || other == memory || heap_free(mine, other) != HM_BROKEN);
        }
        REQUIRE(heap_destroy(mine) == OS_OK);
    }
    atomic_fetch_add(&stress_rounds, done);
}

/* ---- */

static void run(const char *name, size_t threads, void (*body)(void *number))
{
    table_memory = (struct table_memory){.os = os_system()};
    budget_init(&budget);
    site_table_init(&sites, &table_memory);
    heaps_init(&heaps, &budget, &table_memory, &sites, report);
    memset(&heap, 0, sizeof(heap));
    REQUIRE(heap_create(&heap, &heaps, true, false) == OS_OK);
    if (body == exchange_or_trim) {
        set_limit(LIMIT);
    }
    stress_run(name, threads, body);
    for (size_t i = 0; i < PLACES; i++) {
        void *memory = atomic_exchange(&places[i], NULL);
        if (memory != NULL && body != come_and_go) {
            end_block(memory);
        }
    }
    REQUIRE(atomic_load(&freed) == atomic_load(&made));
    struct heap_counts counts;
    heaps_count(&heaps, &counts);
    REQUIRE(counts.blocks == 0 && counts.bytes == 0);
    for (uint32_t i = 1; site_table_at(&sites, i) != NULL; i++) {
        REQUIRE(site_table_at(&sites, i)->blocks == 0 && site_table_at(&sites, i)->bytes == 0);
    }
#ifdef NDEBUG
    heaps_trim(&heaps);
    REQUIRE(usage_current(&budget.committed[BUDGET_HEAP]) == 0);
#endif
    REQUIRE(heap_destroy(&heap) == OS_OK);
    REQUIRE(usage_current(&budget.committed[BUDGET_HEAP]) == 0 && budget_in_use(&budget) == 0);
    site_table_destroy(&sites);
    REQUIRE(usage_current(&table_memory.committed) == 0);
}

int main(int argc, char **argv)
{
    stress_start("test_heap_threads", argc, argv, 5);
    run("exchange", THREADS, exchange);
    run("producers", THREADS, produce_or_consume);
    run("double free", THREADS, free_the_same);
    atomic_store(&refused, 0);
    run("at a limit", THREADS + 1, exchange_or_trim);
    REQUIRE(atomic_load(&refused) > 0);
    run("two heaps", THREADS, come_and_go);
    return 0;
}
