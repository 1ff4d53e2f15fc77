/* SPDX-License-Identifier: MIT
 *
 * Histograms have a bin for each power of two: bin n counts the values v with 2^n <= v < 2^(n+1),
 * and bin 0 the value 0 as well. A line with a count of c has round(40 * c / largest) marks.
 */
#include "trace/trace_summary.h"

#include <inttypes.h>
#include <stdlib.h>

#define BINS 64
#define SLICES 10
#define MARKS 40

struct histogram {
    uint64_t bins[BINS];
};

/* What sizes are shown of. */
enum kind { RESERVED, COMMITTED, DECOMMITTED, ALLOCATED, KIND_COUNT };

static const char *const kind_names[KIND_COUNT] = {"bytes reserved", "bytes committed",
                                                   "bytes decommitted", "bytes of a block"};

struct method_summary {
    uint64_t calls;
    uint64_t failed;
    uint64_t ticks;
    uint32_t longest;
    uint64_t levels[4]; /* the last one: any other */
    struct histogram nanoseconds;
};

struct thread_summary {
    uint32_t number;
    uint64_t calls;
    uint64_t ticks;
};

struct summary {
    const struct trace *trace;
    const struct trace_plan *plan;
    struct method_summary methods[TRACE_METHOD_COUNT];
    struct histogram sizes[KIND_COUNT];
    struct thread_summary *threads; /* in the order in which they come up */
    size_t thread_count;
    uint64_t slices[SLICES]; /* calls in each tenth of the run */
};

/* ---- Counting ---- */

static unsigned bin_of(uint64_t value)
{
    unsigned bin = 0;
    while (value >>= 1) {
        bin++;
    }
    return bin;
}

static void count_size(struct summary *summary, const struct trace_record *record)
{
    if (record->method == TRACE_ALLOC || record->method == TRACE_DEBUG_ALLOC) {
        summary->sizes[ALLOCATED].bins[bin_of(record->size)]++;
    } else if (record->method == TRACE_VIRTUAL_ALLOC && (record->type & 0x2000) != 0) {
        summary->sizes[RESERVED].bins[bin_of(record->size)]++;
    } else if (record->method == TRACE_VIRTUAL_ALLOC && (record->type & 0x1000) != 0) {
        summary->sizes[COMMITTED].bins[bin_of(record->size)]++;
    } else if (record->method == TRACE_VIRTUAL_FREE && (record->type & 0x4000) != 0) {
        summary->sizes[DECOMMITTED].bins[bin_of(record->size)]++;
    }
}

static void count_method(struct summary *summary, const struct trace_record *record)
{
    struct method_summary *method = &summary->methods[record->method];
    method->calls++;
    method->failed += record->hresult != 0;
    method->ticks += record->duration;
    method->longest = record->duration > method->longest ? record->duration : method->longest;
    method->levels[record->level < 3 ? record->level : 3]++;
    method->nanoseconds
        .bins[bin_of((uint64_t)trace_nanoseconds(summary->trace, record->duration))]++;
}

/* The thread of the last call is the most likely one, so `hint` is looked at first. */
static bool count_thread(struct summary *summary, const struct trace_record *record, size_t *hint)
{
    size_t i = *hint;
    if (i >= summary->thread_count || summary->threads[i].number != record->thread) {
        for (i = 0; i < summary->thread_count; i++) {
            if (summary->threads[i].number == record->thread) {
                break;
            }
        }
    }
    if (i == summary->thread_count) {
        if ((i & (i - 1)) == 0) { /* full: it has room for a power of two */
            struct thread_summary *larger =
                realloc(summary->threads, (i == 0 ? 1 : 2 * i) * sizeof(*larger));
            if (larger == NULL) {
                return false;
            }
            summary->threads = larger;
        }
        summary->threads[i] = (struct thread_summary){.number = record->thread};
        summary->thread_count++;
    }
    summary->threads[i].calls++;
    summary->threads[i].ticks += record->duration;
    *hint = i;
    return true;
}

static bool count_all(struct summary *summary)
{
    const struct trace *trace = summary->trace;
    size_t hint = 0;
    uint64_t slice_ticks = trace->header.ticks / SLICES + 1;
    for (size_t i = 0; i < trace->count; i++) {
        const struct trace_record *record = &trace->records[i];
        uint64_t slice = record->begin / slice_ticks;
        summary->slices[slice < SLICES ? slice : SLICES - 1]++;
        count_method(summary, record);
        count_size(summary, record);
        if (!count_thread(summary, record, &hint)) {
            return false;
        }
    }
    return true;
}

/* ---- Writing ---- */

static void write_marks(uint64_t count, uint64_t largest, FILE *out)
{
    double marks = MARKS * (double)count / (double)largest + 0.5;
    fprintf(out, "%10" PRIu64 "  ", count);
    for (unsigned i = 0; i < (unsigned)marks; i++) {
        fputc('#', out);
    }
    fputc('\n', out);
}

static uint64_t largest_of(const uint64_t *counts, size_t count)
{
    uint64_t largest = 1;
    for (size_t i = 0; i < count; i++) {
        largest = counts[i] > largest ? counts[i] : largest;
    }
    return largest;
}

/* From the first bin that has something to the last one. */
static void write_histogram(const char *title, const struct histogram *histogram, FILE *out)
{
    unsigned first = 0, last = BINS;
    while (last > 0 && histogram->bins[last - 1] == 0) {
        last--;
    }
    if (last == 0) {
        return;
    }
    while (histogram->bins[first] == 0) {
        first++;
    }
    uint64_t largest = largest_of(histogram->bins, BINS);
    fprintf(out, "\n%s\n", title);
    for (unsigned bin = first; bin < last; bin++) {
        fprintf(out, "  from %20" PRIu64, bin == 0 ? 0 : (uint64_t)1 << bin);
        write_marks(histogram->bins[bin], largest, out);
    }
}

static void write_methods(const struct summary *summary, FILE *out)
{
    fprintf(out, "\n%-37s%10s%8s%10s%12s%10s%10s%10s\n", "method", "calls", "failed", "mean ns",
            "longest ns", "task", "domain", "process");
    for (unsigned i = 0; i < TRACE_METHOD_COUNT; i++) {
        const struct method_summary *method = &summary->methods[i];
        if (method->calls == 0) {
            continue;
        }
        fprintf(out, "  %-35s%10" PRIu64 "%8" PRIu64 "%10.0f%12.0f", trace_method_name(i),
                method->calls, method->failed,
                trace_nanoseconds(summary->trace, method->ticks) / (double)method->calls,
                trace_nanoseconds(summary->trace, method->longest));
        if (i == TRACE_VIRTUAL_ALLOC || i == TRACE_ALLOC || i == TRACE_DEBUG_ALLOC) {
            fprintf(out, "%10" PRIu64 "%10" PRIu64 "%10" PRIu64, method->levels[0],
                    method->levels[1], method->levels[2]);
        }
        fputc('\n', out);
    }
}

static void write_threads(const struct summary *summary, FILE *out)
{
    fprintf(out, "\n%-12s%10s%12s\n", "thread", "calls", "in them us");
    for (size_t i = 0; i < summary->thread_count; i++) {
        const struct thread_summary *thread = &summary->threads[i];
        fprintf(out, "  %-10" PRIu32 "%10" PRIu64 "%12.0f\n", thread->number, thread->calls,
                trace_nanoseconds(summary->trace, thread->ticks) / 1000);
    }
}

static void write_slices(const struct summary *summary, FILE *out)
{
    uint64_t largest = largest_of(summary->slices, SLICES);
    fprintf(out, "\ncalls over the time of the run\n");
    for (unsigned i = 0; i < SLICES; i++) {
        fprintf(out, "  from %17.1f ms",
                trace_nanoseconds(summary->trace, summary->trace->header.ticks) / 1e6 * i / SLICES);
        write_marks(summary->slices[i], largest, out);
    }
}

static void write_all(const struct summary *summary, FILE *out)
{
    const struct trace_header *header = &summary->trace->header;
    fprintf(out,
            "%zu calls of %zu threads in %.1f ms, %u-bit, commit limit %" PRIu64
            ", reserve limit %" PRIu64 "\n",
            summary->trace->count, summary->thread_count, (double)header->nanoseconds / 1e6,
            8 * (unsigned)header->pointer_bytes, header->commit_limit, header->reserve_limit);
    if (header->missing != 0) {
        fprintf(out, "calls that the trace lacks: %" PRIu64 "\n", header->missing);
    }
    if (summary->plan->freed_count != 0) {
        fprintf(out, "regions that others freed: %" PRIu32 ", %" PRIu64 " bytes\n",
                summary->plan->freed_count, summary->plan->freed_bytes);
    }
    write_methods(summary, out);
    for (unsigned i = 0; i < KIND_COUNT; i++) {
        write_histogram(kind_names[i], &summary->sizes[i], out);
    }
    for (unsigned i = 0; i < TRACE_METHOD_COUNT; i++) {
        char title[64];
        snprintf(title, sizeof(title), "%s, ns", trace_method_name(i));
        write_histogram(title, &summary->methods[i].nanoseconds, out);
    }
    write_threads(summary, out);
    write_slices(summary, out);
}

bool trace_summary_write(const struct trace *trace, const struct trace_plan *plan, FILE *out)
{
    struct summary *summary = calloc(1, sizeof(*summary));
    if (summary == NULL) {
        return false;
    }
    summary->trace = trace;
    summary->plan = plan;
    bool good = count_all(summary);
    if (good) {
        write_all(summary, out);
    }
    free(summary->threads);
    free(summary);
    return good;
}
