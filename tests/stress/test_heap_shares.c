/* SPDX-License-Identifier: MIT
 *
 * Twelve threads allocate and free blocks as a heap does, on eight shares and their caches, and four
 * more charge pages to the same budget. What is charged never exceeds the limit, a cached block has
 * one owner, the peaks are no less than what was seen and no more than the limit, and nothing is left
 * in the end. In the second half the limit moves all the time.
 *
 *     test_heap_shares [seconds]     in all, 6 if not given; HOSTMEM_SEED sets the seed
 */
#include "support/sizes.h"
#include "support/stress.h"

#include "core/heap/block_cache.h"
#include "core/limits/budget.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define HEAP_THREADS 12
#define THREADS 16
#define HELD 32
#define LIMIT (2 * MIB) /* half of it without credit */

struct block {
    atomic_bool live;
    size_t bytes; /* not atomic: the share must order it */
};

static struct budget budget;
static struct block_cache caches[HEAP_SHARES];
static atomic_size_t recycled, refused;
static bool limit_moves;

static void set_limit(size_t commit)
{
    budget_set_limits(&budget, &(struct budget_limits){.commit = commit,
                                                       .emergency = commit / 16,
                                                       .reserve = BUDGET_UNLIMITED});
}

static struct block *use(struct block *block, size_t bytes)
{
    REQUIRE(block != NULL && !atomic_exchange(&block->live, true));
    block->bytes = bytes;
    return block;
}

static struct block *take_block(unsigned thread, size_t bytes, enum budget_level level)
{
    struct heap_share *share = heap_share_take(budget.shares, thread);
    struct block *block = NULL;
    bool paid = false;
    if (share != NULL) {
        paid = budget_pay(&budget, share, bytes, level);
        block = paid ? block_cache_take(&caches[share - budget.shares], bytes) : NULL;
        if (block != NULL) {
            heap_share_count_alloc(share);
        }
        heap_share_leave(share);
    }
    if (block != NULL) {
        REQUIRE(block->bytes == bytes);
        atomic_fetch_add(&recycled, 1);
        return use(block, bytes);
    }
    if (!paid) {
        if (budget_take(&budget, 0, bytes, level) != OS_OK) {
            atomic_fetch_add(&refused, 1);
            return NULL;
        }
        budget_heap_add(&budget, bytes);
    }
    return use(calloc(1, sizeof(*block)), bytes);
}

static void give_block(unsigned thread, struct block *block)
{
    size_t bytes = block->bytes, count = 0;
    void *going[CACHE_GOING];
    REQUIRE(atomic_exchange(&block->live, false));
    struct heap_share *share = heap_share_take(budget.shares, thread);
    bool kept = share != NULL && budget_keep(&budget, share, bytes);
    if (kept) {
        count = block_cache_put(&caches[share - budget.shares], block, bytes, going);
        heap_share_count_free(share);
    }
    if (share != NULL) {
        heap_share_leave(share);
    }
    for (size_t i = 0; i < count; i++) {
        free(going[i]);
    }
    if (!kept) {
        free(block);
        budget_heap_subtract(&budget, bytes);
        budget_give_back(&budget, 0, bytes);
    }
}

static void heap_thread(struct random *random, unsigned thread)
{
    struct block *held[HELD] = {NULL};
    size_t rounds = 0;
    while (!atomic_load_explicit(&stress_stop, memory_order_relaxed)) {
        struct block **at = &held[random_below(random, HELD)];
        enum budget_level level = (enum budget_level)random_below(random, BUDGET_LEVELS);
        size_t units = 1 + random_below(random, random_one_in(random, 50) ? 6000 : 40);
        if (*at != NULL) {
            give_block(thread, *at);
        }
        *at = take_block(thread, 16 * units, level);
        rounds++;
    }
    for (size_t i = 0; i < HELD; i++) {
        if (held[i] != NULL) {
            give_block(thread, held[i]);
        }
    }
    atomic_fetch_add(&stress_rounds, rounds);
}

static void page_thread(struct random *random)
{
    size_t held = 0, seen = 0, rounds = 0;
    while (!atomic_load_explicit(&stress_stop, memory_order_relaxed)) {
        budget_give_back(&budget, 0, held);
        held = random_below(random, 128) * PAGE;
        held = budget_take(&budget, 0, held, BUDGET_TASK) == OS_OK ? held : 0;
        size_t now = usage_current(&budget.commit.used);
        REQUIRE(now <= LIMIT && budget_in_use(&budget) <= LIMIT);
        REQUIRE(budget_heap_in_use(&budget) <= LIMIT);
        seen = held > seen ? held : seen;
        if (limit_moves) {
            set_limit(random_below(random, LIMIT + 1));
        }
        rounds++;
    }
    REQUIRE(usage_peak(&budget.commit.used) >= seen);
    budget_give_back(&budget, 0, held);
    atomic_fetch_add(&stress_rounds, rounds);
}

static void body(void *number)
{
    struct random random = stress_random(number);
    size_t thread = *(size_t *)number;
    if (thread < HEAP_THREADS) {
        heap_thread(&random, (unsigned)thread);
    } else {
        page_thread(&random);
    }
}

static void run(const char *name, bool moves)
{
    budget_init(&budget);
    memset(caches, 0, sizeof(caches));
    set_limit(LIMIT);
    limit_moves = moves;
    stress_run(name, THREADS, body);
    REQUIRE(budget_in_use(&budget) == 0 && budget_heap_in_use(&budget) == 0);
    budget_reclaim(&budget);
    REQUIRE(usage_current(&budget.commit.used) == 0 && usage_current(&budget.heap) == 0);
    REQUIRE(usage_peak(&budget.commit.used) <= LIMIT);
    REQUIRE(usage_peak(&budget.heap) <= usage_peak(&budget.commit.used));
    for (size_t i = 0; i < HEAP_SHARES; i++) {
        for (size_t set = 0; set < CACHE_SETS; set++) {
            while (caches[i].sets[set].count > 0) {
                free(block_cache_take(&caches[i], caches[i].sets[set].entries[0].bytes));
            }
        }
        REQUIRE(caches[i].bytes == 0);
    }
    printf("    %zu recycled, %zu refused, peak %zu of %zu\n", atomic_load(&recycled),
           atomic_load(&refused), usage_peak(&budget.commit.used), LIMIT);
    REQUIRE(atomic_load(&recycled) > 0 && atomic_load(&refused) > 0);
}

int main(int argc, char **argv)
{
    stress_start("test_heap_shares", argc, argv, 2);
    run("one limit", false);
    run("a moving limit", true);
    return 0;
}
