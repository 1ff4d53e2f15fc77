/* SPDX-License-Identifier: MIT
 *
 * Sixteen threads charge and refund one budget. A sampler never sees more in use than the limit
 * allows, the peak agrees, and when everything has been given back nothing is left. In the second
 * half the limit moves all the time, below what is in use as well; then the largest limit is the
 * bound.
 *
 *     test_budget_threads [seconds]     in all, 6 if not given; HOSTMEM_SEED sets the seed
 */
#include "support/sizes.h"
#include "support/stress.h"

#include "core/limits/budget.h"

#define THREADS 16
#define HELD 8
#define LIMIT ((size_t)1 << 20) /* small: refused about every second time */

static struct budget budget;
static atomic_size_t granted, refused;
static bool limit_moves;

static void set_limit(size_t commit)
{
    budget_set_limits(&budget, &(struct budget_limits){
                                   .commit = commit, .emergency = commit / 8, .reserve = LIMIT});
}

static void hammer(void *number)
{
    struct random random = stress_random(number);
    size_t held[HELD] = {0}, yes = 0, no = 0;
    while (!atomic_load_explicit(&stress_stop, memory_order_relaxed)) {
        size_t i = random_below(&random, HELD);
        budget_give_back(&budget, held[i], held[i]);
        held[i] = random_below(&random, 32) * PAGE;
        enum budget_level level = (enum budget_level)random_below(&random, BUDGET_LEVELS);
        if (budget_take(&budget, held[i], held[i], level) == OS_OK) {
            yes++;
        } else {
            held[i] = 0;
            no++;
        }
    }
    for (size_t i = 0; i < HELD; i++) {
        budget_give_back(&budget, held[i], held[i]);
    }
    atomic_fetch_add(&granted, yes);
    atomic_fetch_add(&refused, no);
    atomic_fetch_add(&stress_rounds, yes + no);
}

static void sample(void *number)
{
    struct random random = stress_random(number);
    while (!atomic_load_explicit(&stress_stop, memory_order_relaxed)) {
        REQUIRE(usage_current(&budget.commit.used) <= LIMIT);
        REQUIRE(usage_current(&budget.reserve.used) <= LIMIT);
        REQUIRE(budget_in_use(&budget) <= LIMIT);
        if (limit_moves) {
            set_limit(random_below(&random, LIMIT + 1));
        }
    }
}

static void hammer_or_sample(void *number)
{
    (*(size_t *)number < THREADS ? hammer : sample)(number);
}

static void run(const char *name, bool moves)
{
    budget_init(&budget);
    set_limit(LIMIT);
    limit_moves = moves;
    stress_run(name, THREADS + 1, hammer_or_sample);
    REQUIRE(usage_peak(&budget.commit.used) <= LIMIT);
    REQUIRE(usage_peak(&budget.reserve.used) <= LIMIT);
    REQUIRE(usage_current(&budget.commit.used) == 0);
    REQUIRE(usage_current(&budget.reserve.used) == 0);
    REQUIRE(budget.overdraft_peak == 0 || moves);
    printf("    %zu granted, %zu refused, peak %zu of %zu\n", atomic_load(&granted),
           atomic_load(&refused), usage_peak(&budget.commit.used), LIMIT);
    REQUIRE(atomic_load(&granted) > 0 && atomic_load(&refused) > 0);
}

int main(int argc, char **argv)
{
    stress_start("test_budget_threads", argc, argv, 2);
    run("one limit", false);
    run("a moving limit", true);
    return 0;
}
