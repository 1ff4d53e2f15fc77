/* SPDX-License-Identifier: MIT
 *
 * What is in a trace, as tables: the methods, how long their calls took, the sizes asked for, the
 * critical levels, the threads, and how the calls are spread over the run.
 */
#ifndef TRACE_TRACE_SUMMARY_H
#define TRACE_TRACE_SUMMARY_H

#include <stdio.h>

#include "trace/trace_reader.h"

/* False: there is not enough memory. */
bool trace_summary_write(const struct trace *trace, FILE *out);

#endif
