/* SPDX-License-Identifier: MIT
 *
 * Twelve threads make sections, map them, commit pages in their own views and in others', and give it
 * all back, a part of it behind the table's back. The system is two arrays of flags, for the values of
 * handles and for places of views: what is free there can be taken at once by another thread. In the
 * end all that was charged has been refunded, and every name that was freed behind has been found.
 *
 *     test_section_threads [seconds]     6 if not given; HOSTMEM_SEED sets the seed
 */
#include "support/sizes.h"
#include "support/stress.h"

#include "core/pages/sections.h"

#include <stdio.h>

enum { THREADS = 12, HANDLES = 40, PLACES = 60, HELD = 4, PAGES = 64 };

#define FIRST_PLACE ((uintptr_t)0x10000000)
#define VIEW_BYTES (PAGES * PAGE)

static struct os system_os;
static struct sections table;
static atomic_bool handle_taken[HANDLES], place_taken[PLACES];
static atomic_llong
    charged; /* bytes; charged before the table knows, refunded when it has forgotten */
static atomic_size_t behind, commits;

static uintptr_t handle_value(size_t i)
{
    return 0x40 + 4 * i;
}

static uintptr_t place_of(size_t i)
{
    return FIRST_PLACE + i * 2 * VIEW_BYTES;
}

/* A view is there as long as its place is taken. */
static os_error query(const struct os *os, uintptr_t address, void *buffer, size_t length,
                      size_t *written)
{
    struct os_memory_info *info = buffer;
    (void)os;
    *info = (struct os_memory_info){.state = OS_MEM_FREE};
    if (atomic_load(&place_taken[(address - FIRST_PLACE) / (2 * VIEW_BYTES)])) {
        info->state = OS_MEM_COMMIT;
        info->type = OS_MEM_MAPPED;
        info->allocation_base = address;
    }
    *written = length;
    return OS_OK;
}

static void refund(uint64_t bytes)
{
    REQUIRE(atomic_fetch_sub(&charged, (long long)bytes) >= (long long)bytes);
}

/* A free one of `count`, or -1. */
static int take(atomic_bool *taken, size_t count, struct random *random)
{
    size_t i = random_below(random, count);
    return atomic_exchange(&taken[i], true) ? -1 : (int)i;
}

static int make_section(struct random *random)
{
    int i = take(handle_taken, HANDLES, random);
    if (i >= 0) {
        bool whole = random_below(random, 3) == 0;
        refund(sections_handle_given(&table, handle_value((size_t)i)));
        atomic_fetch_add(&charged, whole ? (long long)VIEW_BYTES : 0);
        REQUIRE(sections_add(&table, handle_value((size_t)i), VIEW_BYTES, whole));
    }
    return i;
}

static void close_section(size_t i, bool seen)
{
    if (!seen) {
        atomic_fetch_add(&behind, 1);
        atomic_store(&handle_taken[i], false);
        return;
    }
    REQUIRE(sections_lock_handle(&table, handle_value(i)));
    atomic_store(&handle_taken[i], false);
    uint64_t gone = sections_closed(&table, handle_value(i), false);
    sections_unlock(&table);
    refund(gone);
}

static void place_given(size_t i)
{
    struct section_gone gone;
    while (sections_range_given(&table, place_of(i), VIEW_BYTES, &gone)) {
        REQUIRE(gone.view == place_of(i));
        refund(gone.bytes);
    }
}

static int map_section(int handle, struct random *random)
{
    int i = take(place_taken, PLACES, random);
    if (i >= 0) {
        place_given((size_t)i);
        sections_mapped(&table, handle_value((size_t)handle), place_of((size_t)i), VIEW_BYTES, 0);
    }
    return i;
}

static void unmap(size_t i, bool seen)
{
    if (!seen) {
        atomic_fetch_add(&behind, 1);
        atomic_store(&place_taken[i], false);
        return;
    }
    REQUIRE(sections_lock_view(&table, place_of(i)));
    atomic_store(&place_taken[i], false);
    struct section_gone gone = sections_unmapped(&table, place_of(i), true);
    sections_unlock(&table);
    refund(gone.bytes);
}

/* As the binding does it; the view may be anybody's. */
static void commit(size_t i, struct random *random)
{
    size_t first = random_below(random, PAGES);
    uintptr_t address = place_of(i) + first * PAGE;
    size_t size = (1 + random_below(random, PAGES - first)) * PAGE;
    struct section_commit change;
    struct section_gone gone;
    enum section_answer answer;
    uint64_t bytes;
    bool whole;
    do {
        bool ours = sections_commit_size(&table, address, size, &bytes, &whole, &gone);
        refund(gone.bytes);
        if (!ours) {
            return;
        }
        atomic_fetch_add(&charged, (long long)bytes);
        answer = sections_commit_begin(&table, address, size, bytes, &change);
        REQUIRE(answer != SECTION_NO_MEMORY);
        if (answer == SECTION_CHARGE_MORE) {
            refund(bytes);
        }
    } while (answer != SECTION_READY);
    bool done = random_below(random, 8) != 0;
    REQUIRE(change.bytes <= bytes);
    sections_commit_end(&table, &change, done);
    refund(done ? bytes - change.bytes : bytes);
    atomic_fetch_add(&commits, 1);
}

static void hammer(void *number)
{
    struct random random = stress_random(number);
    int section = -1, views[HELD] = {-1, -1, -1, -1};
    size_t rounds = 0;
    while (!atomic_load_explicit(&stress_stop, memory_order_relaxed)) {
        size_t i = random_below(&random, HELD);
        bool seen = random_below(&random, 8) != 0;
        if (section < 0) {
            section = make_section(&random);
        } else if (random_below(&random, 16) == 0) {
            close_section((size_t)section, seen);
            section = -1;
        } else if (views[i] < 0) {
            views[i] = map_section(section, &random);
        } else if (random_below(&random, 8) == 0) {
            unmap((size_t)views[i], seen);
            views[i] = -1;
        } else {
            commit(random_below(&random, 4) == 0 ? random_below(&random, PLACES) : (size_t)views[i],
                   &random);
        }
        rounds++;
    }
    for (size_t i = 0; i < HELD; i++) {
        if (views[i] >= 0) {
            unmap((size_t)views[i], true);
        }
    }
    if (section >= 0) {
        close_section((size_t)section, true);
    }
    atomic_fetch_add(&stress_rounds, rounds);
}

int main(int argc, char **argv)
{
    stress_start("test_section_threads", argc, argv, 1);
    system_os = *os_system();
    system_os.virtual_query = query;
    sections_init(&table, &system_os);
    stress_run("sections", THREADS, hammer);
    stress_require_sound(sections_check(&table));
    for (size_t i = 0; i < HANDLES; i++) { /* what nobody has come upon since */
        refund(sections_handle_given(&table, handle_value(i)));
    }
    for (size_t i = 0; i < PLACES; i++) {
        place_given(i);
    }
    REQUIRE(atomic_load(&charged) == 0);
    REQUIRE(sections_are_none(&table));
    REQUIRE(table.freed_behind == atomic_load(&behind));
    stress_require_sound(sections_check(&table));
    printf("    %zu commits, %zu freed behind, tables of %zu KiB\n", atomic_load(&commits),
           atomic_load(&behind), usage_current(&table.memory.committed) / KIB);
    sections_destroy(&table);
    REQUIRE(usage_current(&table.memory.committed) == 0);
    return 0;
}
