/* SPDX-License-Identifier: MIT
 *
 * The files that hostmem-replay reads. The first byte chooses: the input is the file as it is; or
 * records whose checksums are made right, so that what is in them is read at all; or a few calls
 * with addresses that meet again; of these two the file may never have been closed. What is taken for a trace has its records in order, and its plan
 * speaks only of memory that was made before.
 */
#include "input.h"

#include "trace/trace_plan.h"
#include "trace/trace_summary.h"

#define RECORDS 64

static struct {
    struct trace_header header;
    struct trace_record records[RECORDS];
} file;

static void seal(size_t count, bool closed)
{
    memcpy(file.header.magic, TRACE_MAGIC, sizeof(file.header.magic));
    file.header.version = TRACE_VERSION;
    file.header.header_bytes = sizeof(file.header);
    file.header.record_bytes = sizeof(file.records[0]);
    file.header.pointer_bytes = 8;
    file.header.page_bytes = 4096;
    file.header.closed = closed;
    file.header.records = count;
    for (size_t i = 0; i < count; i++) {
        struct trace_record *record = &file.records[i];
        record->method %= TRACE_METHOD_COUNT;
        record->zero = 0;
        record->check = trace_check(record, sizeof(*record));
    }
    file.header.check = trace_check(&file.header, sizeof(file.header));
}

/* Bytes of the input as records. */
static size_t make_any_records(void)
{
    size_t count = input_left / sizeof(file.records[0]);
    count = count < RECORDS ? count : RECORDS;
    memcpy(file.records, input_bytes, count * sizeof(file.records[0]));
    for (size_t i = 0; i < count; i++) {
        file.records[i].sequence = (uint32_t)i;
    }
    return count;
}

/* Calls as a runtime makes them, more or less. */
static size_t make_calls(void)
{
    size_t count = 0;
    for (; count < RECORDS && input_left > 0; count++) {
        uint64_t place = (input_below(16) + 1) << 16, offset = input_below(4) << 12;
        file.records[count] = (struct trace_record){
            .method = (uint8_t)input_below(TRACE_METHOD_COUNT),
            .sequence = (uint32_t)(count ^ input_below(2)),
            .hresult = input_below(8) == 0 ? 0x8007000eu : 0,
            .address = input_below(4) == 0 ? 0 : place + offset,
            .size = input_below(8) << 12,
            .result = place,
            .type = (uint32_t[]){0, 1, 2, 0x1000, 0x2000, 0x3000, 0x4000, 0x8000}[input_below(8)],
            .thread = (uint32_t)input_below(3),
        };
    }
    return count;
}

static void check_plan(const struct trace *trace, const struct trace_plan *plan)
{
    uint32_t regions = 0, blocks = 0;
    for (size_t i = 0; i < trace->count; i++) {
        const struct trace_step *step = &plan->steps[i];
        REQUIRE(i == 0 || trace->records[i - 1].sequence < trace->records[i].sequence);
        REQUIRE(trace->header.closed || trace->records[i].sequence == i);
        REQUIRE(step->place != TRACE_PLACE_REGION || step->number < regions);
        REQUIRE(step->place != TRACE_PLACE_BLOCK || step->number < blocks);
        if (step->made != TRACE_NONE) {
            bool block = trace->records[i].method == TRACE_ALLOC ||
                         trace->records[i].method == TRACE_DEBUG_ALLOC;
            REQUIRE(step->made == (block ? blocks++ : regions++));
        }
    }
    REQUIRE(plan->regions == regions && plan->blocks == blocks);
    REQUIRE(plan->freed_count <= regions);
    for (uint32_t i = 0; i < plan->freed_count; i++) {
        REQUIRE(plan->freed[i].region < regions && plan->freed[i].step < trace->count);
        REQUIRE(i == 0 || plan->freed[i - 1].step <= plan->freed[i].step);
    }
}

static void read_file(const void *bytes, size_t size, bool sealed)
{
    static FILE *nowhere;
    struct trace trace;
    struct trace_plan plan;
    struct trace_error error = {""};
    nowhere = nowhere != NULL ? nowhere : fopen("/dev/null", "w");
    if (!trace_read(bytes, size, &trace, &error)) {
        REQUIRE(error.text[0] != 0 && trace.records == NULL);
        return;
    }
    REQUIRE(trace.count == trace.header.records && (sealed || trace.count <= size / 64));
    if (trace_plan_make(&trace, &plan, &error)) {
        check_plan(&trace, &plan);
        REQUIRE(trace_summary_write(&trace, &plan, nowhere));
        trace_plan_free(&plan);
    } else {
        REQUIRE(error.text[0] != 0);
    }
    trace_free(&trace);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    input_bytes = data;
    input_left = size;
    size_t choice = input_below(5);
    if (choice == 0) {
        read_file(input_bytes, input_left, false);
        return 0;
    }
    memset(&file, 0, sizeof(file));
    size_t count = choice % 2 == 1 ? make_any_records() : make_calls();
    file.header.ticks = file.header.nanoseconds = 1000;
    seal(count, choice < 3);
    read_file(&file, sizeof(file.header) + count * sizeof(file.records[0]), true);
    return 0;
}
