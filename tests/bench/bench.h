/* SPDX-License-Identifier: MIT
 *
 * A row of the benchmark: the same operation on two sides, raw and managed, in turns, in one
 * process. What is reported is the median of the ratios of the pairs, and the spread of the middle
 * half of them; a machine that is slow for a while is slow for both sides of a pair.
 */
#ifndef HOSTMEM_TESTS_BENCH_H
#define HOSTMEM_TESTS_BENCH_H

#include <stdbool.h>
#include <stddef.h>

struct bench_result {
    double raw_ns; /* medians, of one operation */
    double managed_ns;
    double ratio;
    double low; /* quartiles of the ratio */
    double high;
};

#define BENCH_PAIRS 31
#define BENCH_MANY_PAIRS 301 /* where a pair is a millisecond */

/* Of what was measured in turns; sorts both. */
struct bench_result bench_summary(double *raw, double *managed, size_t pairs);

/* Runs one side `rounds` times, and says how long that took in ns. `side` is 0 for raw. */
typedef double bench_side(void *context, int side, size_t rounds);

/* So many rounds that the raw side takes at least half a millisecond. `run` is to measure one thread: how
 * long several take to start says nothing about their rounds. */
size_t bench_rounds(bench_side *run, void *context);

/* `pairs` is one of the numbers above. */
struct bench_result bench_pairs(bench_side *run, void *context, size_t rounds, size_t pairs);

/* The table, and the file for --json or NULL. The dimensions are printed as they are given. */
void bench_open(const char *title, const char *json_file);
void bench_print(const char *row, size_t regions, size_t threads, int limit,
                 const struct bench_result *result);
/* A number of its own: nanoseconds, bytes. */
void bench_print_value(const char *row, size_t regions, double value, const char *unit);
void bench_close(void);

/* Ends the program, which cannot measure without `what`. */
void bench_require(bool condition, const char *what);

double bench_now(void);                            /* ns */
double bench_median(double *values, size_t count); /* sorts them */

#endif
