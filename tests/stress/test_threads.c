/* SPDX-License-Identifier: MIT
 *
 * Four threads on one virtual memory of the real system, and on one region table over addresses that
 * nobody has. What a thread owns it knows exactly, and everything it is told
 * about that must be true at every moment; in the end everything has been given back.
 *
 *     test_threads [seconds]      for all tests together, 6 if not given; HOSTMEM_SEED sets the seed
 */
#include "support/sizes.h"
#include "support/stress.h"

#include "core/pages/virtual_memory.h"

#include <string.h>

#define THREADS 4

/* ---- one virtual memory ---- */

#define PAGES_AT_MOST 512 /* enough for a bitmap of its own */
#define OWNED 8
#define MAILBOXES 4

/* A region as its owner knows it. */
struct holding {
    uintptr_t base;
    size_t page_count;
    bool committed[PAGES_AT_MOST];
};

static struct budget budget;
static struct virtual_memory memory;
static _Atomic(struct holding *) mailboxes[MAILBOXES];
static _Atomic uintptr_t hints[THREADS]; /* some region of each thread, perhaps released by now */

static struct holding *holding_new(struct random *random)
{
    struct holding *holding = calloc(1, sizeof(*holding));
    bool commit = random_one_in(random, 4);
    size_t size = 1 + random_below(random, PAGES_AT_MOST * PAGE);
    REQUIRE(holding != NULL);
    REQUIRE(virtual_memory_alloc(&memory, 0, size, OS_MEM_RESERVE | (commit ? OS_MEM_COMMIT : 0),
                                 OS_PAGE_READWRITE, BUDGET_TASK, &holding->base) == OS_OK);
    holding->page_count = (size + PAGE - 1) / PAGE;
    memset(holding->committed, commit, holding->page_count);
    return holding;
}

static void holding_verify(const struct holding *holding, struct random *random)
{
    struct region_snapshot region;
    struct region_guard guard;
    size_t size = holding->page_count * PAGE, pages = 0;
    REQUIRE(
        region_table_find(&memory.regions, holding->base + random_below(random, size), &region));
    REQUIRE(region.base == holding->base && region.size == size);
    REQUIRE(region_table_next(&memory.regions, holding->base, &region));
    REQUIRE(region.base == holding->base && region.size == size);
    REQUIRE(region_table_lock(&memory.regions, holding->base, &guard));
    for (size_t i = 0; i < holding->page_count; i++) {
        pages += holding->committed[i];
    }
    REQUIRE(guard.base == holding->base && guard.pages->committed == pages);
    size_t page = random_below(random, holding->page_count);
    REQUIRE(page_set_count(guard.pages, guard.page_count, page, page + 1) ==
            holding->committed[page]);
    stress_require_sound(page_set_check(guard.pages, guard.page_count));
    region_table_unlock(&memory.regions, &guard);
    if (holding->committed[page]) { /* the memory itself: last written by whoever committed it */
        *(volatile uintptr_t *)(holding->base + page * PAGE) = holding->base;
    }
}

static void holding_change(struct holding *holding, struct random *random)
{
    size_t first = random_below(random, holding->page_count);
    size_t left = holding->page_count - first;
    size_t count = 1 + random_below(random, left < 6 ? left : 6);
    uintptr_t address = holding->base + first * PAGE, result;
    bool commit = !random_one_in(random, 3);
    if (commit) {
        REQUIRE(virtual_memory_alloc(&memory, address, count * PAGE, OS_MEM_COMMIT,
                                     OS_PAGE_READWRITE, BUDGET_TASK, &result) == OS_OK);
        REQUIRE(result == address);
    } else {
        REQUIRE(virtual_memory_free(&memory, address, count * PAGE, OS_MEM_DECOMMIT) == OS_OK);
    }
    memset(&holding->committed[first], commit, count);
}

static void holding_release(struct holding *holding)
{
    REQUIRE(virtual_memory_free(&memory, holding->base, 0, OS_MEM_RELEASE) == OS_OK);
    free(holding);
}

/* Look at what others own: anything may have happened to it, but each answer fits together. */
static void look_at_others(struct random *random)
{
    struct region_snapshot region;
    struct region_guard guard;
    uintptr_t address = atomic_load(&hints[random_below(random, THREADS)]);
    address += random_below(random, PAGES_AT_MOST * PAGE);
    if (region_table_find(&memory.regions, address, &region)) {
        REQUIRE(address - region.base < region.size && region.base % SLOT == 0);
        REQUIRE(region.size <= PAGES_AT_MOST * PAGE && region.size % PAGE == 0);
        REQUIRE((region.type & OS_MEM_RESERVE) != 0 && region.protect == OS_PAGE_READWRITE);
    }
    if (region_table_lock(&memory.regions, address, &guard)) {
        REQUIRE(address - guard.base < guard.size && guard.page_count == guard.size / PAGE);
        stress_require_sound(page_set_check(guard.pages, guard.page_count));
        region_table_unlock(&memory.regions, &guard);
    }
    if (random_one_in(random, 64)) {
        struct region_info info;
        for (uintptr_t at = 0; virtual_memory_next(&memory, at, &info);) {
            REQUIRE(info.region.base >= at && info.committed <= info.region.size);
            at = info.region.base + info.region.size;
        }
    }
}

static void own_and_hand_on(void *number)
{
    struct random random = stress_random(number);
    struct holding *owned[OWNED] = {0};
    size_t done = 0;
    for (; !atomic_load(&stress_stop); done++) {
        struct holding **place = &owned[random_below(&random, OWNED)];
        if (*place == NULL) {
            *place = holding_new(&random);
            atomic_store(&hints[*(size_t *)number], (*place)->base);
        }
        switch (random_below(&random, 8)) {
        case 0:
            holding_release(*place);
            *place = NULL;
            break;
        case 1: /* hand it to whoever comes next, take what lies there */
            *place = atomic_exchange(&mailboxes[random_below(&random, MAILBOXES)], *place);
            break;
        case 2:
            holding_verify(*place, &random);
            break;
        case 3:
            look_at_others(&random);
            break;
        default:
            holding_change(*place, &random);
            break;
        }
    }
    for (size_t i = 0; i < OWNED; i++) {
        if (owned[i] != NULL) {
            holding_verify(owned[i], &random);
            holding_release(owned[i]);
        }
    }
    atomic_fetch_add(&stress_rounds, done);
}

/* The ids that a table with no live region can still hand out, all of which must come from its free
 * list. */
static void require_no_id_lost(struct region_table *table)
{
    const uint32_t used = table->used_count;
    for (uint32_t i = 1; i < used; i++) {
        REQUIRE(region_table_acquire(table) != 0);
    }
    REQUIRE(table->used_count == used);
    REQUIRE(region_table_acquire(table) == used);
}

static void test_virtual_memory(void)
{
    budget_init(&budget);
    REQUIRE(virtual_memory_create(&memory, os_system(), &budget) == OS_OK);
    stress_run("virtual memory", THREADS, own_and_hand_on);
    for (size_t i = 0; i < MAILBOXES; i++) {
        struct holding *left = atomic_exchange(&mailboxes[i], NULL);
        if (left != NULL) {
            holding_release(left);
        }
    }
    stress_require_sound(virtual_memory_check(&memory));
    REQUIRE(usage_current(&budget.reserved) == 0 &&
            usage_current(&budget.committed[BUDGET_PAGES]) == 0);
    REQUIRE(usage_current(&memory.regions.live) == 0);
    require_no_id_lost(&memory.regions);
    virtual_memory_destroy(&memory);
    REQUIRE(usage_current(&memory.table_memory.committed) == 0);
}

/* ---- one region table, addresses that nobody has ---- */

#define FIRST ((uintptr_t)0x10000000)
#define PLACES 64 /* per thread, three slots each */
#define STAY 16   /* every 16th place has a region that is never withdrawn */

static struct table_memory table_memory;
static struct region_table table;

static uintptr_t place_address(size_t thread, size_t place)
{
    return FIRST + (place * THREADS + thread) * 3 * SLOT;
}

static void publish(uintptr_t base, size_t size)
{
    const struct region_snapshot region = {.base = base, .size = size, .type = (uint32_t)size};
    uint32_t id = region_table_acquire(&table);
    REQUIRE(id != 0 && region_table_publish(&table, id, &region, false) == OS_OK);
}

static void withdraw(uintptr_t base, bool refused)
{
    struct region_guard guard;
    REQUIRE(region_table_lock(&table, base, &guard));
    REQUIRE(guard.base == base);
    region_table_withdraw(&table, &guard);
    if (refused) {
        region_table_restore(&table, &guard);
        region_table_unlock(&table, &guard);
    } else {
        region_table_discard(&table, &guard);
    }
}

/* Whoever walks over all regions meets each one that stays. */
static void walk(void)
{
    struct region_snapshot region;
    size_t staying = 0;
    for (uintptr_t at = 0; region_table_next(&table, at, &region);) {
        REQUIRE(region.base >= at && region.type == (uint32_t)region.size);
        at = region.base + region.size;
        staying += region.size == 2 * SLOT;
    }
    REQUIRE(staying == THREADS * PLACES / STAY);
}

static void publish_and_look(void *number)
{
    struct random random = stress_random(number);
    size_t thread = *(size_t *)number, done = 0;
    size_t sizes[PLACES] = {0};
    struct region_snapshot region;
    for (; !atomic_load(&stress_stop); done++) {
        size_t place = random_below(&random, PLACES);
        uintptr_t base = place_address(thread, place);
        if (place % STAY != 0) {
            if (sizes[place] == 0) {
                sizes[place] = PAGE * (1 + random_below(&random, 31));
                publish(base, sizes[place]);
            }
            REQUIRE(region_table_find(&table, base + sizes[place] - 1, &region));
            REQUIRE(region.base == base && region.size == sizes[place]);
            REQUIRE(!region_table_find(&table, base + sizes[place], &region));
            bool refused = random_one_in(&random, 4);
            if (refused || random_one_in(&random, 2)) {
                withdraw(base, refused);
                sizes[place] = refused ? sizes[place] : 0;
            }
        }
        uintptr_t address = FIRST + random_below(&random, THREADS * PLACES * 3 * SLOT);
        if (region_table_find(&table, address, &region)) {
            REQUIRE(address - region.base < region.size);
            REQUIRE(region.type == (uint32_t)region.size &&
                    (region.base - FIRST) % (3 * SLOT) == 0);
        }
        if (done % 32 == 0) {
            walk();
        }
    }
    for (size_t place = 0; place < PLACES; place++) {
        if (sizes[place] != 0) {
            withdraw(place_address(thread, place), false);
        }
    }
    atomic_fetch_add(&stress_rounds, done);
}

static void test_region_table(void)
{
    table_memory = (struct table_memory){.os = os_system()};
    REQUIRE(region_table_create(&table, &table_memory) == OS_OK);
    for (size_t i = 0; i < THREADS * PLACES; i++) {
        if (i / THREADS % STAY == 0) {
            publish(place_address(i % THREADS, i / THREADS), 2 * SLOT);
        }
    }
    stress_run("region table", THREADS, publish_and_look);
    walk();
    stress_require_sound(region_table_check(&table, 2 * SLOT * THREADS * PLACES / STAY, 0));
    for (size_t i = 0; i < THREADS * PLACES; i++) {
        if (i / THREADS % STAY == 0) {
            withdraw(place_address(i % THREADS, i / THREADS), false);
        }
    }
    stress_require_sound(region_table_check(&table, 0, 0));
    require_no_id_lost(&table);
    region_table_destroy(&table);
    REQUIRE(usage_current(&table_memory.committed) == 0);
}

/* ---- one id that jumps over a region that stays ---- */

#define LOW FIRST
#define MIDDLE (FIRST + 8 * SLOT)
#define HIGH (FIRST + 16 * SLOT)

/* Thread 0 moves one region to and fro, always with the same id, for no other one is free; the rest
 * walk, and must meet the region in the middle, whatever the id that they have just read means by
 * the time they look at its descriptor. */
static void jump_or_walk(void *number)
{
    struct region_snapshot region;
    size_t done = 0;
    for (; !atomic_load(&stress_stop); done++) {
        if (*(size_t *)number == 0) {
            publish(LOW, SLOT);
            withdraw(LOW, false);
            publish(HIGH, 2 * SLOT);
            withdraw(HIGH, false);
        } else {
            if (region_table_find(&table, LOW, &region)) {
                REQUIRE(region.base == LOW && region.size == SLOT && region.type == SLOT);
            }
            if (region_table_find(&table, HIGH, &region)) {
                REQUIRE(region.base == HIGH && region.type == 2 * SLOT);
                REQUIRE(region.size == 2 * SLOT);
            }
            REQUIRE(region_table_next(&table, 0, &region));
            if (region.base == LOW) {
                REQUIRE(region_table_next(&table, LOW + SLOT, &region));
            }
            REQUIRE(region.base == MIDDLE);
        }
    }
    atomic_fetch_add(&stress_rounds, done);
}

static void test_jumping_id(void)
{
    table_memory = (struct table_memory){.os = os_system()};
    REQUIRE(region_table_create(&table, &table_memory) == OS_OK);
    publish(MIDDLE, SLOT);
    stress_run("jumping id", THREADS, jump_or_walk);
    stress_require_sound(region_table_check(&table, SLOT, 0));
    REQUIRE(table.used_count == 3);
    region_table_destroy(&table);
}

int main(int argc, char **argv)
{
    stress_start("test_threads", argc, argv, 3);
    test_virtual_memory();
    test_region_table();
    test_jumping_id();
    return 0;
}
