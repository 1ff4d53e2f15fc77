/* SPDX-License-Identifier: MIT
 *
 * See heap_operations.h.
 */
#include "support/heap_operations.h"
#include "support/heap_fixture.h"

#define HELD 200
#define DEAD 64
#define HEAPS 2

struct held {
    unsigned char *memory;
    size_t size;
    unsigned char fill;
    unsigned heap;
    uint32_t site;
};

static heap_chooser *choose;
static struct fake_plan plan;
static bool failures;
static size_t limit;
static struct heap second;
static struct heap *const all[HEAPS] = {&heap, &second};
static bool is_open[HEAPS];
static struct held held[HELD];
static size_t held_count;
static void *dead[DEAD]; /* freed once; perhaps somebody's again */
static bool taken[HEAPS][HEAP_SHARES];

static void give_up(const char *fault)
{
    if (fault != NULL) {
        fprintf(stderr, "heap_operations: %s\n", fault);
        abort();
    }
}

void heap_operations_check(void)
{
    size_t bytes = 0;
    give_up(check_heaps());
    for (size_t i = 0; i < held_count; i++) {
        size_t all_bytes = sizeof(struct block_header) + held[i].size;
        bytes += (all_bytes + BLOCK_ALIGNMENT - 1) & ~(BLOCK_ALIGNMENT - 1);
    }
    struct heap_counts now = counts();
    HEAP_REQUIRE(now.blocks == held_count);
    HEAP_REQUIRE(now.bytes == bytes);
    HEAP_REQUIRE(reported[0] == '\0');
}

static size_t choose_size(void)
{
    switch (choose(8)) {
    case 0:
        return choose(choose(4) == 0 ? 2 * MIB : 300 * KIB);
    case 1:
        return choose(100 * KIB);
    case 2:
    case 3:
        return choose(5000);
    default:
        return choose(200);
    }
}

static bool is_apart(const unsigned char *memory, size_t size)
{
    for (size_t i = 0; i < held_count; i++) {
        if (memory < held[i].memory + held[i].size + BLOCK_TAIL_BYTES + BLOCK_FRONT_BYTES &&
            held[i].memory < memory + size + BLOCK_TAIL_BYTES + BLOCK_FRONT_BYTES) {
            return false;
        }
    }
    return true;
}

static void allocate(void)
{
    struct held *block = &held[held_count];
    void *memory = (void *)POISON;
    *block = (struct held){.size = choose_size(), .heap = (unsigned)choose(HEAPS)};
    if (held_count == HELD - 1 || !is_open[block->heap]) {
        return;
    }
    block->site = choose(8) == 0 ? site_table_get(&sites, "site.c", choose(5)) : 0;
    os_error error = heap_alloc(all[block->heap], block->size, block->site, BUDGET_TASK, &memory);
    if (error != OS_OK) {
        size_t needs =
            (block->size + BLOCK_FRONT_BYTES + BLOCK_TAIL_BYTES + PAGE - 1) & ~(PAGE - 1);
        HEAP_REQUIRE(memory == (void *)POISON);
        HEAP_REQUIRE(failures || (error == HM_OVER_COMMIT && charged() + needs > limit));
        return;
    }
    block->memory = memory;
    block->fill = (unsigned char)(held_count * 7 + 1);
    HEAP_REQUIRE((uintptr_t)memory % BLOCK_ALIGNMENT == 0);
    HEAP_REQUIRE(is_apart(memory, block->size));
    memset(memory, block->fill, block->size);
    held_count++;
}

static void look_at(const struct held *block)
{
    size_t size = POISON;
    for (size_t i = 0; i < block->size; i++) {
        HEAP_REQUIRE(block->memory[i] == block->fill);
    }
    HEAP_REQUIRE(heap_block_size(all[block->heap], block->memory, &size) == OS_OK);
    HEAP_REQUIRE(size == block->size);
}

static void drop(size_t at)
{
    dead[choose(DEAD)] = held[at].memory;
    held[at] = held[--held_count];
}

static void free_one(void)
{
    if (held_count == 0) {
        return;
    }
    size_t at = choose(held_count);
    const struct held block = held[at];
    look_at(&block);
    HEAP_REQUIRE(heap_free(all[block.heap], block.memory) == OS_OK);
    HEAP_REQUIRE(heap_free(all[block.heap], block.memory) == HM_FOREIGN);
    drop(at);
}

static void expect_foreign(unsigned in, void *memory)
{
    size_t size = POISON;
    if (is_open[in]) {
        HEAP_REQUIRE(heap_free(all[in], memory) == HM_FOREIGN);
        HEAP_REQUIRE(heap_block_size(all[in], memory, &size) == HM_FOREIGN && size == POISON);
    }
}

static bool is_live(const void *memory)
{
    for (size_t i = 0; i < held_count; i++) {
        if (held[i].memory == memory) {
            return true;
        }
    }
    return false;
}

static void free_what_is_none(void)
{
    unsigned in = (unsigned)choose(HEAPS);
    uintptr_t wild = choose(2) == 0 ? choose(SIZE_MAX) : (uintptr_t)dead[choose(DEAD)];
    if (held_count > 0) {
        const struct held *block = &held[choose(held_count)];
        uintptr_t inside = (uintptr_t)block->memory + choose(3 * SLOT) - SLOT;
        expect_foreign(!block->heap, block->memory);
        wild = choose(2) == 0 ? inside : wild;
    }
    if (!is_live((void *)wild)) {
        expect_foreign(in, (void *)wild);
    }
}

/* As a thread that is suspended inside would. */
static void take_or_leave_a_share(void)
{
    size_t in = choose(HEAPS), i = choose(HEAP_SHARES);
    if (!is_open[in]) {
        return;
    }
    if (taken[in][i]) {
        heap_share_leave(&all[in]->shares[i]);
    } else {
        HEAP_REQUIRE(heap_share_try(&all[in]->shares[i]));
    }
    taken[in][i] = !taken[in][i];
}

static void trim(void)
{
    size_t before = charged();
    size_t given = heaps_trim(&heaps);
    HEAP_REQUIRE(before - given == charged());
}

static void change_limit(void)
{
    limit = choose(3) == 0 ? 0 : choose(8 * MIB) + PAGE;
    set_limit(limit);
}

static void end_heap(unsigned in)
{
    for (size_t i = 0; i < HEAP_SHARES; i++) {
        if (taken[in][i]) {
            heap_share_leave(&all[in]->shares[i]);
            taken[in][i] = false;
        }
    }
    HEAP_REQUIRE(heap_destroy(all[in]) == OS_OK);
    is_open[in] = false;
    for (size_t i = held_count; i > 0; i--) {
        if (held[i - 1].heap == in) {
            held[i - 1] = held[--held_count];
        }
    }
}

static void start_or_end_a_heap(void)
{
    unsigned in = (unsigned)choose(HEAPS);
    if (choose(10) != 0) {
        return;
    }
    if (is_open[in]) {
        end_heap(in);
        return;
    }
    memset(all[in], 0, sizeof(*all[in]));
    os_error error = heap_create(all[in], &heaps, choose(2) == 0, false);
    HEAP_REQUIRE(error == OS_OK || (failures && error == OS_NOT_ENOUGH_MEMORY));
    is_open[in] = error == OS_OK;
}

static void change_plan(void)
{
    static const size_t rates[] = {0, 0, 2, 10, 100};
    static const enum fake_kind kinds[] = {FAKE_VIRTUAL_ALLOC, FAKE_TABLE_RESERVE,
                                           FAKE_TABLE_COMMIT};
    for (size_t i = 0; failures && i < 3; i++) {
        plan.one_in[kinds[i]] = rates[choose(5)];
    }
}

void heap_operate(void)
{
    static void (*const rare[])(void) = {take_or_leave_a_share, trim, change_limit,
                                         start_or_end_a_heap, change_plan};
    size_t what = choose(40);
    if (what < 18) {
        allocate();
    } else if (what < 33) {
        free_one();
    } else if (what < 35) {
        free_what_is_none();
    } else {
        rare[what - 35]();
    }
}

void heap_operations_open(heap_chooser *chooser, bool with_failures)
{
    choose = chooser;
    failures = with_failures;
    limit = 0;
    held_count = 0;
    memset(dead, 0, sizeof(dead));
    heap_fixture_start(true);
    memset(&second, 0, sizeof(second));
    HEAP_REQUIRE(heap_create(&second, &heaps, false, true) == OS_OK);
    is_open[0] = is_open[1] = true;
    plan = (struct fake_plan){.random = {choose(65536)}};
    fake_os_follow(&fake, with_failures ? &plan : NULL);
}

void heap_operations_close(void)
{
    heap_operations_check();
    fake_os_follow(&fake, NULL);
    for (unsigned in = 0; in < HEAPS; in++) {
        if (is_open[in]) {
            end_heap(in);
        }
    }
    for (uint32_t number = 1; site_table_at(&sites, number) != NULL; number++) {
        HEAP_REQUIRE(site_table_at(&sites, number)->blocks == 0);
        HEAP_REQUIRE(site_table_at(&sites, number)->bytes == 0);
    }
    HEAP_REQUIRE(held_count == 0 && charged() == 0 && fake.region_count == 0);
    site_table_destroy(&sites);
    HEAP_REQUIRE(usage_current(&table_memory.committed) == 0 && fake_os_destroy(&fake) == 0);
}
