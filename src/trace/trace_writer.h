/* SPDX-License-Identifier: MIT
 *
 * Writes the calls of many threads to one trace file, without making them wait for the disk or for
 * each other.
 *
 * Each thread fills a ring of 4,096 records (256 KiB) that nobody else writes to; a thread of ours
 * empties the rings into the file, ten times a second and whenever one is half full. A full ring
 * makes its thread wait until there is room, so nothing is lost to speed. What is lost all the same
 * (no memory for a ring, the disk is full, a thread is ended in the middle of a call) is counted,
 * because every call takes a number, and the header says how many numbers have no record.
 *
 * What a call costs: one locked increment for its number, one locked store that says it is inside, two
 * reads of the processor's clock and a cache line copied. It takes no lock, allocates nothing after a
 * thread's first call, calls nothing that could come back to the manager, and leaves LastError as it
 * is.
 *
 * The end of a trace is a moment that all threads agree on, so that the manager's own figures can be
 * taken there and are of the same calls: no call begins while it lasts, and none is inside.
 *
 * There is one trace in a process.
 */
#ifndef TRACE_TRACE_WRITER_H
#define TRACE_TRACE_WRITER_H

#include <windows.h>

#include <stdbool.h>
#include <x86intrin.h>

#include "trace/trace_format.h"

/* Creates the file. `about` has the limits and flags of the manager; the rest is filled in here.
 * Returns ERROR_SUCCESS or why not. */
DWORD trace_writer_open(const WCHAR *path, const struct trace_header *about);

/* A call begins. True: it is recorded, and trace_writer_add ends it. False: it is not, and this has
 * waited for the end of the trace to be over, for two seconds at most. */
bool trace_writer_enter(void);

/* The next number, to be taken where the format says. */
UINT32 trace_writer_number(void);

/* The clock of the records. */
static inline UINT64 trace_writer_ticks(void)
{
    return __rdtsc();
}

/* Record a call that has entered. `begin` is the clock's own value still; the thread is filled in
 * here, the checksum when the record is written. */
void trace_writer_add(struct trace_record *record);

/* The end of the trace begins: it waits until no call is inside, and then none gets in until
 * trace_writer_close. A thread that does not come out within a second is not waited for any longer;
 * one that has ended is not waited for at all, and the calling thread is let in unrecorded. */
void trace_writer_stop(void);

/* Write what is left, close the file; calls go on, unrecorded. Returns how many calls are missing in
 * it. May be called while the process ends, when all other threads are gone. */
UINT64 trace_writer_close(void);

#endif
