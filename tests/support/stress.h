/* SPDX-License-Identifier: MIT
 *
 * A number of threads that do the same thing until the time is up, and stop the program with the
 * seed when something is not as it must be: cmocka's assertions belong to the main thread.
 */
#ifndef HOSTMEM_TESTS_STRESS_H
#define HOSTMEM_TESTS_STRESS_H

#include "support/random.h"

#include <stdatomic.h>
#include <stdbool.h>

extern uint64_t stress_seed;
extern atomic_bool stress_stop;
extern atomic_size_t stress_rounds; /* bodies add theirs before they return */

#define REQUIRE(condition)                                                                         \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            stress_fail(__FILE__, __LINE__, #condition);                                           \
        }                                                                                          \
    } while (0)

_Noreturn void stress_fail(const char *file, int line, const char *condition);

/* `fault` is what a check found: NULL, or what is wrong. */
void stress_require_sound(const char *fault);

/* The time for all runs together from the command line, in seconds, 6 if not given; and the seed. */
void stress_start(const char *test, int argc, char **argv, unsigned runs);

/* `body` in `count` threads, each with its number, until stress_stop; prints the rounds. */
void stress_run(const char *name, size_t count, void (*body)(void *number));

/* Each thread's own numbers. */
struct random stress_random(const void *number);

#endif
