/* SPDX-License-Identifier: MIT
 *
 * What is in a trace, as tables: the methods, how long their calls took, the sizes asked for, the
 * critical levels, the threads, how the calls are spread over the run, and how many regions others freed.
 */
#ifndef TRACE_TRACE_SUMMARY_H
#define TRACE_TRACE_SUMMARY_H

#include <stdio.h>

#include "trace/trace_plan.h"

/* `plan` is the trace's. False: there is not enough memory. */
bool trace_summary_write(const struct trace *trace, const struct trace_plan *plan, FILE *out);

#endif
