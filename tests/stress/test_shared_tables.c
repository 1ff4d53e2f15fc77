/* SPDX-License-Identifier: MIT
 *
 * The small tables that all threads share: sites of heap blocks, views of files, the cushion. What
 * a thread has put in it finds again, and at the end the counts are those of what is left.
 *
 *     test_shared_tables [seconds]      HOSTMEM_SEED sets the seed
 */
#include "support/sizes.h"
#include "support/stress.h"

#include "core/limits/cushion.h"
#include "core/heap/site_table.h"
#include "core/pages/view_list.h"

#include <string.h>

#define THREADS 4

static struct table_memory table_memory;

/* ---- sites ---- */

#define FILES 4
#define LINES 512

static struct site_table sites;

static void count_blocks(void *number)
{
    static const char *const files[FILES] = {"a.cpp", "b.cpp", "c.h", "a.cpp "};
    struct random random = stress_random(number);
    size_t done = 0;
    for (; !atomic_load(&stress_stop); done++) {
        const char *file = files[random_below(&random, FILES)];
        uint64_t line = random_below(&random, LINES);
        struct alloc_site *site = site_table_at(&sites, site_table_get(&sites, file, line));
        REQUIRE(site != NULL && site->line == line && strcmp(site->file, file) == 0);
        atomic_fetch_add_explicit(&site->blocks, 1, memory_order_relaxed);
        if (done % 1024 == 0) {
            uint32_t met = 0;
            const struct alloc_site *at;
            while ((at = site_table_at(&sites, met + 1)) != NULL) {
                REQUIRE(at->line < LINES);
                met++;
            }
            REQUIRE(met <= FILES * LINES);
        }
    }
    atomic_fetch_add(&stress_rounds, done);
}

static void test_sites(void)
{
    size_t blocks = 0;
    uint32_t met = 0;
    site_table_init(&sites, &table_memory);
    stress_run("sites", THREADS, count_blocks);
    while (site_table_at(&sites, met + 1) != NULL) {
        blocks += site_table_at(&sites, ++met)->blocks;
    }
    REQUIRE(blocks == atomic_load(&stress_rounds)); /* no site was made twice, none was lost */
    REQUIRE(met <= FILES * LINES);
    site_table_destroy(&sites);
}

/* ---- views ---- */

#define VIEWS 128 /* per thread; the threads' views alternate */

static struct view_list views;
static atomic_size_t view_count, view_bytes;

static void report_views(void *number)
{
    struct random random = stress_random(number);
    size_t thread = *(size_t *)number, done = 0, sizes[VIEWS] = {0}, count, bytes;
    for (; !atomic_load(&stress_stop); done++) {
        size_t view = random_below(&random, VIEWS);
        uintptr_t base = (1 + view * THREADS + thread) * 16 * SLOT;
        if (random_one_in(&random, 2)) {
            sizes[view] = (1 + random_below(&random, 16)) * SLOT;
            view_list_add(&views, base, sizes[view]);
        } else {
            sizes[view] = 0;
            view_list_remove(&views, base);
        }
        view_list_total(&views, &count, &bytes);
        REQUIRE(count <= THREADS * VIEWS && bytes >= count * SLOT && bytes <= count * 16 * SLOT);
    }
    for (size_t view = 0; view < VIEWS; view++) {
        atomic_fetch_add(&view_count, sizes[view] != 0);
        atomic_fetch_add(&view_bytes, sizes[view]);
    }
    atomic_fetch_add(&stress_rounds, done);
}

static void test_views(void)
{
    size_t count, bytes;
    REQUIRE(view_list_create(&views, &table_memory) == OS_OK);
    stress_run("views", THREADS, report_views);
    view_list_total(&views, &count, &bytes);
    REQUIRE(count == atomic_load(&view_count) && bytes == atomic_load(&view_bytes));
    view_list_destroy(&views);
}

/* ---- the cushion ---- */

#define CUSHION_BYTES (64 * SLOT)

static struct cushion cushion;

static void give_up_and_restore(void *number)
{
    struct random random = stress_random(number);
    uint64_t now = 1;
    size_t done = 0;
    for (; !atomic_load(&stress_stop); done++) {
        now += random_below(&random, CUSHION_REST_MS);
        if (random_one_in(&random, 2)) {
            cushion_give_up(&cushion, random_below(&random, CUSHION_BYTES), now);
        } else {
            cushion_restore(&cushion, now);
        }
        REQUIRE(cushion_bytes(&cushion) <= CUSHION_BYTES);
    }
    atomic_fetch_add(&stress_rounds, done);
}

static void test_cushion(void)
{
    const struct os *os = table_memory.os;
    REQUIRE(cushion_create(&cushion, os, CUSHION_BYTES) == OS_OK);
    stress_run("cushion", THREADS, give_up_and_restore);
    cushion_give_up(&cushion, 0, 0);
    cushion_restore(&cushion, UINT64_MAX - CUSHION_REST_MS);
    REQUIRE(cushion_bytes(&cushion) == CUSHION_BYTES);
    for (size_t i = 0; i < cushion.part_count; i++) { /* each is a reservation of its own */
        REQUIRE(os->virtual_free(os, atomic_load(&cushion.parts[i]), 0, OS_MEM_RELEASE) == OS_OK);
    }
}

int main(int argc, char **argv)
{
    stress_start("test_shared_tables", argc, argv, 3);
    table_memory = (struct table_memory){.os = os_system()};
    test_sites();
    test_views();
    test_cushion();
    REQUIRE(usage_current(&table_memory.committed) == 0);
    return 0;
}
