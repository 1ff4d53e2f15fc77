/* SPDX-License-Identifier: MIT
 *
 * See bench.h.
 */
#include "bench.h"

#include <stdio.h>
#include <stdlib.h>

#ifdef _WIN32
#include <windows.h>
#else
#include <time.h>
#endif

#define LEAST_NS 5e5

static FILE *json;
static int json_rows;

double bench_now(void)
{
#ifdef _WIN32
    LARGE_INTEGER ticks, frequency;
    QueryPerformanceCounter(&ticks);
    QueryPerformanceFrequency(&frequency);
    return (double)ticks.QuadPart * 1e9 / (double)frequency.QuadPart;
#else
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec * 1e9 + (double)now.tv_nsec;
#endif
}

static int compare(const void *a, const void *b)
{
    double difference = *(const double *)a - *(const double *)b;
    return (difference > 0) - (difference < 0);
}

double bench_median(double *values, size_t count)
{
    qsort(values, count, sizeof(*values), compare);
    return values[count / 2];
}

struct bench_result bench_summary(double *raw, double *managed, size_t pairs)
{
    double ratios[BENCH_MANY_PAIRS];
    for (size_t i = 0; i < pairs; i++) {
        ratios[i] = managed[i] / raw[i];
    }
    struct bench_result result = {
        .raw_ns = bench_median(raw, pairs),
        .managed_ns = bench_median(managed, pairs),
        .ratio = bench_median(ratios, pairs),
    };
    result.low = ratios[pairs / 4];
    result.high = ratios[pairs * 3 / 4];
    return result;
}

size_t bench_rounds(bench_side *run, void *context)
{
    size_t rounds = 4;
    while (run(context, 0, rounds) < LEAST_NS) {
        rounds *= 2;
    }
    return rounds;
}

struct bench_result bench_pairs(bench_side *run, void *context, size_t rounds, size_t pairs)
{
    double times[2][BENCH_MANY_PAIRS];
    run(context, 1, rounds);
    for (size_t i = 0; i < pairs; i++) {
        int first = i % 2;
        times[first][i] = run(context, first, rounds) / (double)rounds;
        times[!first][i] = run(context, !first, rounds) / (double)rounds;
    }
    return bench_summary(times[0], times[1], pairs);
}

void bench_require(bool condition, const char *what)
{
    if (!condition) {
        fprintf(stderr, "%s failed\n", what);
        exit(1);
    }
}

void bench_open(const char *title, const char *json_file)
{
    if (json_file != NULL) {
        json = fopen(json_file, "w");
        if (json == NULL) {
            fprintf(stderr, "cannot write %s\n", json_file);
            exit(2);
        }
        fprintf(json, "[");
    }
    printf("%s\n%-26s %9s %7s %5s %11s %11s  %s\n", title, "row", "regions", "threads", "limit",
           "raw ns", "managed ns", "ratio (middle half)");
}

void bench_print(const char *row, size_t regions, size_t threads, int limit,
                 const struct bench_result *result)
{
    printf("%-26s %9zu %7zu %5s %11.1f %11.1f  %.3f (%.3f to %.3f)\n", row, regions, threads,
           limit ? "yes" : "no", result->raw_ns, result->managed_ns, result->ratio, result->low,
           result->high);
    fflush(stdout);
    if (json != NULL) {
        fprintf(json,
                "%s\n  {\"row\": \"%s\", \"regions\": %zu, \"threads\": %zu, \"limit\": %s, "
                "\"rawNs\": %.1f, \"managedNs\": %.1f, \"ratio\": %.4f, \"low\": %.4f, "
                "\"high\": %.4f}",
                json_rows++ == 0 ? "" : ",", row, regions, threads, limit ? "true" : "false",
                result->raw_ns, result->managed_ns, result->ratio, result->low, result->high);
    }
}

void bench_print_value(const char *row, size_t regions, double value, const char *unit)
{
    printf("%-40s %9zu regions %14.1f %s\n", row, regions, value, unit);
    fflush(stdout);
    if (json != NULL) {
        fprintf(json,
                "%s\n  {\"row\": \"%s\", \"regions\": %zu, \"value\": %.1f, \"unit\": \"%s\"}",
                json_rows++ == 0 ? "" : ",", row, regions, value, unit);
    }
}

void bench_close(void)
{
    if (json != NULL) {
        fprintf(json, "\n]\n");
        fclose(json);
    }
}
