/* SPDX-License-Identifier: MIT
 *
 * From the bytes of a trace file to its records in their total order. The bytes can be anything: a
 * trace is taken only when every checksum, count and number in it is right, or else there is a
 * sentence that says what is wrong. Of a trace that was never closed, what is whole is taken.
 */
#ifndef TRACE_TRACE_READER_H
#define TRACE_TRACE_READER_H

#include <stdbool.h>
#include <stddef.h>

#include "trace/trace_format.h"

struct trace {
    struct trace_header header; /* closed 0: that much is whole, and nobody knows what is missing */
    struct trace_record *records; /* by sequence, ascending; owned */
    size_t count;
};

/* Room for every sentence of the reader and the plan. */
struct trace_error {
    char text[160];
};

/* False: `error` says why, and there is nothing to free. `bytes` need not be aligned. */
bool trace_read(const void *bytes, size_t size, struct trace *trace, struct trace_error *error);
void trace_free(struct trace *trace);

/* The method's name as the interface has it. */
const char *trace_method_name(unsigned method);

/* Ticks as nanoseconds. */
double trace_nanoseconds(const struct trace *trace, uint64_t ticks);

#endif
