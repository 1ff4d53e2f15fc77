/* SPDX-License-Identifier: MIT
 *
 * Four threads that all reserve, release and look at the same few addresses, on one region table
 * over addresses that nobody has. Whose region it is that a thread releases is a matter of luck,
 * and an id is reused as soon as it can be: this is where a lookup may go wrong, or never end. The
 * places are pairs of neighbours in units of the slot map that are far apart, so its nodes are taken,
 * given back and taken for another unit all the time.
 *
 * A word per slot plays the operating system: it has one owner at most.
 *
 *     test_contested [seconds]      HOSTMEM_SEED sets the seed
 */
#include "support/sizes.h"
#include "support/stress.h"

#include "core/pages/region_table.h"

#define THREADS 4
#define FIRST ((uintptr_t)0x10000000)
#define PLACES 6

static struct table_memory table_memory;
static struct region_table table;
static atomic_size_t owned[PLACES]; /* bytes of the reservation there, or 0 */

/* Slots side by side, then 64 MiB further, then 64 GiB (on 32-bit systems 128 MiB). */
static uintptr_t address_of(size_t place)
{
    static const size_t pairs[] = {0, 64 * MIB, sizeof(void *) == 8 ? GIB << 6 : 128 * MIB};
    return FIRST + pairs[place / 2] + place % 2 * SLOT;
}

static void reserve(size_t place, size_t size)
{
    const struct region_snapshot region = {
        .base = address_of(place), .size = size, .type = (uint32_t)size};
    size_t nobody = 0;
    uint32_t id = region_table_acquire(&table);
    REQUIRE(id != 0);
    if (atomic_compare_exchange_strong(&owned[place], &nobody, size)) {
        REQUIRE(region_table_publish(&table, id, &region, false) == OS_OK);
    } else {
        region_table_recycle(&table, id);
    }
}

static void release(size_t place, bool refused)
{
    struct region_guard guard;
    if (!region_table_lock(&table, address_of(place), &guard)) {
        return;
    }
    REQUIRE(guard.base == address_of(place) && guard.size == atomic_load(&owned[place]));
    region_table_withdraw(&table, &guard);
    if (refused) {
        region_table_restore(&table, &guard);
        region_table_unlock(&table, &guard);
    } else {
        REQUIRE(atomic_exchange(&owned[place], 0) == guard.size);
        region_table_discard(&table, &guard);
    }
}

static void look(size_t place)
{
    struct region_snapshot region;
    if (region_table_find(&table, address_of(place), &region)) {
        REQUIRE(region.base == address_of(place) && region.type == (uint32_t)region.size);
    }
}

static void contend(void *number)
{
    struct random random = stress_random(number);
    size_t done = 0;
    for (; !atomic_load(&stress_stop); done++) {
        size_t place = random_below(&random, PLACES);
        switch (random_below(&random, 3)) {
        case 0:
            reserve(place, PAGE * (1 + random_below(&random, 16)));
            break;
        case 1:
            release(place, random_one_in(&random, 4));
            break;
        default:
            look(place);
        }
    }
    atomic_fetch_add(&stress_rounds, done);
}

int main(int argc, char **argv)
{
    size_t reserved = 0;
    stress_start("test_contested", argc, argv, 1);
    table_memory = (struct table_memory){.os = os_system()};
    REQUIRE(region_table_create(&table, &table_memory) == OS_OK);
    stress_run("contested addresses", THREADS, contend);
    for (size_t place = 0; place < PLACES; place++) {
        reserved += atomic_load(&owned[place]);
    }
    stress_require_sound(region_table_check(&table, reserved, 0));
    for (size_t place = 0; place < PLACES; place++) {
        release(place, false);
    }
    stress_require_sound(region_table_check(&table, 0, 0));
    region_table_destroy(&table);
    REQUIRE(usage_current(&table_memory.committed) == 0);
    return 0;
}
