/* SPDX-License-Identifier: MIT
 *
 * See stress.h.
 */
#include "support/stress.h"
#include "support/thread.h"

#define MAX_THREADS 32

uint64_t stress_seed;
atomic_bool stress_stop;
atomic_size_t stress_rounds;
static uint64_t milliseconds; /* per run */

_Noreturn void stress_fail(const char *file, int line, const char *condition)
{
    fprintf(stderr, "%s:%d: HOSTMEM_SEED=%" PRIu64 ": %s\n", file, line, stress_seed, condition);
    abort();
}

void stress_require_sound(const char *fault)
{
    if (fault != NULL) {
        stress_fail(__FILE__, __LINE__, fault);
    }
}

void stress_start(const char *test, int argc, char **argv, unsigned runs)
{
    stress_seed = random_seed(test);
    milliseconds = (argc > 1 ? strtoull(argv[1], NULL, 10) : 6) * 1000 / runs;
}

void stress_run(const char *name, size_t count, void (*body)(void *number))
{
    static size_t numbers[MAX_THREADS];
    struct thread threads[MAX_THREADS];
    REQUIRE(count <= MAX_THREADS);
    atomic_store(&stress_stop, false);
    atomic_store(&stress_rounds, 0);
    for (size_t i = 0; i < count; i++) {
        numbers[i] = i;
        thread_start(&threads[i], body, &numbers[i]);
    }
    uint64_t end = thread_milliseconds() + milliseconds;
    while (thread_milliseconds() < end) {
        thread_sleep(10);
    }
    atomic_store(&stress_stop, true);
    for (size_t i = 0; i < count; i++) {
        thread_join(&threads[i]);
    }
    printf("%s: %zu rounds\n", name, atomic_load(&stress_rounds));
}

struct random stress_random(const void *number)
{
    return (struct random){stress_seed + (*(const size_t *)number + 1) * UINT64_C(0x1000003)};
}
