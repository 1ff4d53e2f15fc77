/* SPDX-License-Identifier: MIT
 *
 * Trace files made by hand: a small runtime's life as it should be, to be changed and sealed again.
 * What is read stays in a buffer of exactly its size, so that the sanitizers see a byte read too many.
 */
#ifndef HOSTMEM_TESTS_TRACE_FIXTURE_H
#define HOSTMEM_TESTS_TRACE_FIXTURE_H

#include "support/unit.h"

#include <stdlib.h>
#include <string.h>

#include "trace/trace_reader.h"

#define COMMIT 0x1000u
#define RESERVE 0x2000u
#define DECOMMIT 0x4000u
#define RELEASE 0x8000u

#define BASE ((uint64_t)0x100000)
#define MOST 16

struct file {
    struct trace_header header;
    struct trace_record records[MOST];
    unsigned count;
};

static inline void seal_header(struct file *file)
{
    file->header.records = file->count;
    file->header.check = trace_check(&file->header, sizeof(file->header));
}

static inline void seal(struct file *file, unsigned index)
{
    file->records[index].check = trace_check(&file->records[index], sizeof(file->records[index]));
}

static inline void begin(struct file *file)
{
    *file = (struct file){.header = {.version = TRACE_VERSION,
                                     .header_bytes = sizeof(struct trace_header),
                                     .record_bytes = sizeof(struct trace_record),
                                     .pointer_bytes = 8,
                                     .page_bytes = 4096,
                                     .closed = 1,
                                     .ticks = 2000,
                                     .nanoseconds = 1000}};
    memcpy(file->header.magic, TRACE_MAGIC, sizeof(file->header.magic));
    seal_header(file);
}

/* A call that succeeded, the next one in the order. */
static inline struct trace_record *add(struct file *file, enum trace_method method,
                                       uint64_t address, uint64_t size, uint32_t type,
                                       uint64_t result)
{
    unsigned index = file->count++;
    assert_true(index < MOST);
    file->records[index] = (struct trace_record){.method = (uint8_t)method,
                                                 .sequence = index,
                                                 .thread = 7,
                                                 .begin = 100 * index,
                                                 .duration = 10,
                                                 .address = address,
                                                 .size = size,
                                                 .type = type,
                                                 .result = result};
    seal(file, index);
    seal_header(file);
    return &file->records[index];
}

static inline void fails(struct file *file, struct trace_record *record, uint32_t hresult)
{
    record->hresult = hresult;
    record->result = 0;
    seal(file, (unsigned)(record - file->records));
}

/* A heap with a block, a region with two commits, and everything given back. */
static inline void make_good_file(struct file *file)
{
    begin(file);
    add(file, TRACE_CREATE_MALLOC, 0, 0, 1, 1);
    add(file, TRACE_VIRTUAL_ALLOC, 0, 20 * PAGE, RESERVE, BASE);
    add(file, TRACE_VIRTUAL_ALLOC, BASE + 2 * PAGE, PAGE, COMMIT, BASE + 2 * PAGE);
    add(file, TRACE_ALLOC, 0, 24, 1, 0x5000);
    add(file, TRACE_VIRTUAL_QUERY, BASE + 100, 48, 0x22000, 48);
    add(file, TRACE_VIRTUAL_FREE, BASE + 2 * PAGE, PAGE, DECOMMIT, 0);
    add(file, TRACE_FREE, 0x5000, 0, 1, 0);
    add(file, TRACE_VIRTUAL_PROTECT, 0x77770000, PAGE, 0, 4);
    add(file, TRACE_VIRTUAL_FREE, BASE, 0, RELEASE, 0);
    add(file, TRACE_RELEASE_MALLOC, 0, 0, 1, 0);
}

/* The bytes of the file and `more` behind it, less if that is negative. To be freed. */
static inline unsigned char *bytes_of(const struct file *file, ptrdiff_t more, size_t *size)
{
    size_t whole = sizeof(file->header) + file->count * sizeof(file->records[0]);
    *size = (size_t)((ptrdiff_t)whole + more);
    unsigned char *bytes = calloc(*size + (*size == 0), 1);
    assert_non_null(bytes);
    size_t head = *size < sizeof(file->header) ? *size : sizeof(file->header);
    memcpy(bytes, &file->header, head);
    size_t rest = *size < whole ? *size - head : whole - head;
    memcpy(bytes + head, file->records, rest);
    return bytes;
}

static inline bool read_file(const struct file *file, ptrdiff_t more, struct trace *trace,
                             struct trace_error *error)
{
    size_t size;
    unsigned char *bytes = bytes_of(file, more, &size);
    memset(trace, 0xa5, sizeof(*trace));
    memset(error, 0, sizeof(*error));
    bool good = trace_read(bytes, size, trace, error);
    free(bytes);
    return good;
}

#endif
