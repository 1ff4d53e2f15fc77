/* SPDX-License-Identifier: MIT
 *
 * Random numbers that can be had again: splitmix64, 64 bits of state. Every test that uses them
 * prints its seed; the environment variable HOSTMEM_SEED sets it.
 */
#ifndef HOSTMEM_TESTS_RANDOM_H
#define HOSTMEM_TESTS_RANDOM_H

#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

struct random {
    uint64_t state;
};

static inline uint64_t random_next(struct random *random)
{
    uint64_t mixed = random->state += UINT64_C(0x9E3779B97F4A7C15);
    mixed = (mixed ^ (mixed >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
    mixed = (mixed ^ (mixed >> 27)) * UINT64_C(0x94D049BB133111EB);
    return mixed ^ (mixed >> 31);
}

/* A number below `bound`, which is not 0. */
static inline size_t random_below(struct random *random, size_t bound)
{
    return (size_t)(random_next(random) % bound);
}

/* True once in `times` on average. */
static inline int random_one_in(struct random *random, size_t times)
{
    return random_below(random, times) == 0;
}

/* A number from the environment, or `otherwise` when the variable is not set. */
static inline uint64_t random_setting(const char *variable, uint64_t otherwise)
{
    const char *text = getenv(variable);
    return text != NULL && *text != '\0' ? strtoull(text, NULL, 0) : otherwise;
}

/* The seed of this run, printed with the name of the test. */
static inline uint64_t random_seed(const char *test)
{
    uint64_t seed = random_setting("HOSTMEM_SEED", (uint64_t)time(NULL));
    fprintf(stderr, "%s: HOSTMEM_SEED=%" PRIu64 "\n", test, seed);
    return seed;
}

#endif
