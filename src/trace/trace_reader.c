/* SPDX-License-Identifier: MIT */
#include "trace/trace_reader.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

__attribute__((format(printf, 2, 3))) static bool fail(struct trace_error *error,
                                                       const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(error->text, sizeof(error->text), format, arguments);
    va_end(arguments);
    return false;
}

static bool is_power_of_two(uint32_t value)
{
    return value != 0 && (value & (value - 1)) == 0;
}

static bool read_header(const void *bytes, size_t size, struct trace_header *header,
                        struct trace_error *error)
{
    if (size < sizeof(header->magic) || memcmp(bytes, TRACE_MAGIC, sizeof(header->magic)) != 0) {
        return fail(error, "is no trace of hostmem-run");
    }
    if (size < sizeof(*header)) {
        return fail(error, "is cut off inside its header");
    }
    memcpy(header, bytes, sizeof(*header));
    if (header->version != TRACE_VERSION) {
        return fail(error, "has version %" PRIu32 " of the format, and only %u can be read",
                    header->version, TRACE_VERSION);
    }
    if (header->check != trace_check(header, sizeof(*header)) ||
        header->header_bytes != sizeof(*header) ||
        header->record_bytes != sizeof(struct trace_record) ||
        (header->pointer_bytes != 4 && header->pointer_bytes != 8) ||
        !is_power_of_two(header->page_bytes) || header->closed > 1) {
        return fail(error, "has a damaged header");
    }
    uint64_t got = (size - sizeof(*header)) / sizeof(struct trace_record);
    if (!header->closed) { /* what there is; the last one may not be whole */
        header->records = got < TRACE_SEQUENCE_END ? got : TRACE_SEQUENCE_END;
        header->missing = TRACE_SEQUENCE_END - header->records;
        return true;
    }
    if (header->records > TRACE_SEQUENCE_END || header->missing > TRACE_SEQUENCE_END) {
        return fail(error, "has a damaged header");
    }
    if (got < header->records) {
        return fail(error, "is cut off after %" PRIu64 " of %" PRIu64 " records", got,
                    header->records);
    }
    if (size != sizeof(*header) + header->records * sizeof(struct trace_record)) {
        return fail(error, "has something behind its last record");
    }
    return true;
}

/* Sorted by sequence, in four rounds of a byte each: as fast for any order that a file may have. */
static void sort(struct trace_record *records, struct trace_record *other, size_t count)
{
    for (unsigned shift = 0; shift < 32; shift += 8) {
        size_t places[256] = {0}, place = 0;
        for (size_t i = 0; i < count; i++) {
            places[records[i].sequence >> shift & 0xff]++;
        }
        for (size_t key = 0; key < 256; key++) {
            size_t next = place + places[key];
            places[key] = place;
            place = next;
        }
        for (size_t i = 0; i < count; i++) {
            other[places[records[i].sequence >> shift & 0xff]++] = records[i];
        }
        struct trace_record *swap = records;
        records = other;
        other = swap;
    }
}

static bool check_records(const struct trace *trace, struct trace_error *error)
{
    uint64_t issued = trace->header.records + trace->header.missing;
    for (size_t i = 0; i < trace->count; i++) {
        const struct trace_record *record = &trace->records[i];
        if (record->check != trace_check(record, sizeof(*record)) ||
            record->method >= TRACE_METHOD_COUNT || record->zero != 0 ||
            record->sequence >= issued) {
            return fail(error, "has a damaged record at byte %" PRIu64,
                        (uint64_t)(sizeof(trace->header) + i * sizeof(*record)));
        }
    }
    return true;
}

static bool check_order(const struct trace *trace, struct trace_error *error)
{
    for (size_t i = 1; i < trace->count; i++) {
        if (trace->records[i - 1].sequence == trace->records[i].sequence) {
            return fail(error, "has two records with the number %" PRIu32,
                        trace->records[i].sequence);
        }
    }
    return true;
}

/* The time of the header is that of some moment before the end. */
static void lengthen(struct trace_header *header, const struct trace_record *last)
{
    uint64_t end = last->begin + last->duration;
    if (end > header->ticks) {
        double longer = header->ticks == 0
                            ? 0
                            : (double)header->nanoseconds / (double)header->ticks * (double)end;
        header->nanoseconds = longer < 0x1p63 ? (uint64_t)longer : 0;
        header->ticks = end;
    }
}

/* Of a process that was terminated, each thread's records were written up to another moment. What
 * is whole is all that comes before the first one that is not there. */
static void cut_to_whole(struct trace *trace)
{
    size_t count = 0;
    while (count < trace->count && trace->records[count].sequence == count) {
        lengthen(&trace->header, &trace->records[count]);
        count++;
    }
    trace->count = count;
    trace->header.records = count;
    trace->header.missing = 0;
}

bool trace_read(const void *bytes, size_t size, struct trace *trace, struct trace_error *error)
{
    *trace = (struct trace){0};
    if (!read_header(bytes, size, &trace->header, error)) {
        return false;
    }
    trace->count = (size_t)trace->header.records;
    trace->records = malloc((trace->count + 1) * sizeof(*trace->records));
    struct trace_record *other = malloc((trace->count + 1) * sizeof(*other));
    bool good = trace->records != NULL && other != NULL;
    if (!good) {
        fail(error, "is too large for the memory there is");
    } else {
        memcpy(trace->records, (const char *)bytes + sizeof(trace->header),
               trace->count * sizeof(*trace->records));
        good = check_records(trace, error);
    }
    if (good) {
        sort(trace->records, other, trace->count);
        good = check_order(trace, error);
    }
    if (good && !trace->header.closed) {
        cut_to_whole(trace);
    }
    free(other);
    if (!good) {
        trace_free(trace);
    }
    return good;
}

void trace_free(struct trace *trace)
{
    free(trace->records);
    *trace = (struct trace){0};
}

const char *trace_method_name(unsigned method)
{
    static const char *const names[TRACE_METHOD_COUNT] = {
        [TRACE_CREATE_MALLOC] = "CreateMalloc",
        [TRACE_VIRTUAL_ALLOC] = "VirtualAlloc",
        [TRACE_VIRTUAL_FREE] = "VirtualFree",
        [TRACE_VIRTUAL_QUERY] = "VirtualQuery",
        [TRACE_VIRTUAL_PROTECT] = "VirtualProtect",
        [TRACE_GET_MEMORY_LOAD] = "GetMemoryLoad",
        [TRACE_REGISTER_CALLBACK] = "RegisterMemoryNotificationCallback",
        [TRACE_NEEDS_ADDRESS_SPACE] = "NeedsVirtualAddressSpace",
        [TRACE_ACQUIRED_ADDRESS_SPACE] = "AcquiredVirtualAddressSpace",
        [TRACE_RELEASED_ADDRESS_SPACE] = "ReleasedVirtualAddressSpace",
        [TRACE_ALLOC] = "Alloc",
        [TRACE_DEBUG_ALLOC] = "DebugAlloc",
        [TRACE_FREE] = "Free",
        [TRACE_RELEASE_MALLOC] = "ReleaseMalloc",
    };
    return method < TRACE_METHOD_COUNT ? names[method] : "?";
}

double trace_nanoseconds(const struct trace *trace, uint64_t ticks)
{
    return trace->header.ticks == 0
               ? 0
               : (double)ticks * (double)trace->header.nanoseconds / (double)trace->header.ticks;
}
