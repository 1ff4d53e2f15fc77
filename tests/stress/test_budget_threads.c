/* SPDX-License-Identifier: MIT
 *
 * Sixteen threads charge and refund one budget. A sampler never sees more in use than the limit
 * allows, the peak agrees, and when everything has been given back nothing is left. In the second
 * half the limit moves all the time, below what is in use as well; then the largest limit is the
 * bound.
 *
 *     test_budget_threads [seconds]     in all, 10 if not given; HOSTMEM_SEED sets the seed
 */
#include "support/random.h"
#include "support/thread.h"

#include "core/budget.h"

#include <stdatomic.h>

#define THREADS 16
#define HELD 8
#define PAGE ((size_t)4096)
#define LIMIT ((size_t)1 << 20) /* small: refused about every second time */

static struct budget budget;
static uint64_t seed;
static atomic_bool stop;
static atomic_size_t granted, refused;
static bool limit_moves;

#define REQUIRE(condition)                                                                         \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fprintf(stderr, "%s:%d: HOSTMEM_SEED=%" PRIu64 ": %s\n", __FILE__, __LINE__, seed,     \
                    #condition);                                                                   \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

static void set_limit(size_t commit)
{
    budget_set_limits(&budget, &(struct budget_limits){
                                   .commit = commit, .emergency = commit / 8, .reserve = LIMIT});
}

static void hammer(void *number)
{
    struct random random = {seed + (*(size_t *)number + 1) * UINT64_C(0x1000003)};
    size_t held[HELD] = {0}, yes = 0, no = 0;
    while (!atomic_load_explicit(&stop, memory_order_relaxed)) {
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
}

static void sample(void *unused)
{
    struct random random = {seed};
    (void)unused;
    while (!atomic_load_explicit(&stop, memory_order_relaxed)) {
        REQUIRE(usage_current(&budget.commit.used) <= LIMIT);
        REQUIRE(usage_current(&budget.reserve.used) <= LIMIT);
        REQUIRE(budget_available(&budget, BUDGET_PROCESS) <= LIMIT);
        if (limit_moves) {
            set_limit(random_below(&random, LIMIT + 1));
        }
    }
}

static void run(const char *name, bool moves, uint64_t milliseconds)
{
    static size_t numbers[THREADS];
    struct thread threads[THREADS], sampler;
    budget_init(&budget);
    set_limit(LIMIT);
    limit_moves = moves;
    atomic_store(&stop, false);
    for (size_t i = 0; i < THREADS; i++) {
        numbers[i] = i;
        thread_start(&threads[i], hammer, &numbers[i]);
    }
    thread_start(&sampler, sample, NULL);
    uint64_t end = thread_milliseconds() + milliseconds;
    while (thread_milliseconds() < end) {
#ifdef _WIN32
        Sleep(10);
#else
        nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
#endif
    }
    atomic_store(&stop, true);
    for (size_t i = 0; i < THREADS; i++) {
        thread_join(&threads[i]);
    }
    thread_join(&sampler);
    REQUIRE(usage_peak(&budget.commit.used) <= LIMIT);
    REQUIRE(usage_peak(&budget.reserve.used) <= LIMIT);
    REQUIRE(usage_current(&budget.commit.used) == 0);
    REQUIRE(usage_current(&budget.reserve.used) == 0);
    REQUIRE(budget.overdraft_peak == 0 || moves);
    printf("%s: %zu granted, %zu refused, peak %zu of %zu\n", name, atomic_load(&granted),
           atomic_load(&refused), usage_peak(&budget.commit.used), LIMIT);
    REQUIRE(atomic_load(&granted) > 0 && atomic_load(&refused) > 0);
}

int main(int argc, char **argv)
{
    seed = random_seed("test_budget_threads");
    uint64_t milliseconds = (argc > 1 ? strtoull(argv[1], NULL, 10) : 10) * 1000 / 2;
    run("one limit", false, milliseconds);
    run("a moving limit", true, milliseconds);
    return 0;
}
