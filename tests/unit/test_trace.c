/* SPDX-License-Identifier: MIT
 *
 * The reader of trace files and the plan of a replay, with files made here: a small runtime's life
 * as it should be, the same cut off and changed at every byte, and records that make no sense. What
 * is read stays in a buffer of exactly its size, so that the sanitizers see a byte read too many.
 */
#include "support/unit.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/random.h"
#include "trace/trace_plan.h"
#include "trace/trace_summary.h"

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

static void seal_header(struct file *file)
{
    file->header.records = file->count;
    file->header.check = trace_check(&file->header, sizeof(file->header));
}

static void seal(struct file *file, unsigned index)
{
    file->records[index].check = trace_check(&file->records[index], sizeof(file->records[index]));
}

static void begin(struct file *file)
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
static struct trace_record *add(struct file *file, enum trace_method method, uint64_t address,
                                uint64_t size, uint32_t type, uint64_t result)
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

static void fails(struct file *file, struct trace_record *record, uint32_t hresult)
{
    record->hresult = hresult;
    record->result = 0;
    seal(file, (unsigned)(record - file->records));
}

/* A heap with a block, a region with two commits, and everything given back. */
static void make_good_file(struct file *file)
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
static unsigned char *bytes_of(const struct file *file, ptrdiff_t more, size_t *size)
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

static bool read_file(const struct file *file, ptrdiff_t more, struct trace *trace,
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

static void expect_unreadable(const struct file *file, ptrdiff_t more, const char *why)
{
    struct trace trace;
    struct trace_error error;
    assert_false(read_file(file, more, &trace, &error));
    assert_string_equal(error.text, why);
    assert_null(trace.records);
}

/* A plan of a file that can be read. */
static void plan_file(const struct file *file, struct trace *trace, struct trace_plan *plan)
{
    struct trace_error error;
    if (!read_file(file, 0, trace, &error) || !trace_plan_make(trace, plan, &error)) {
        fail_msg("%s", error.text);
    }
}

static void expect_senseless(const struct file *file, const char *why)
{
    struct trace trace;
    struct trace_plan plan;
    struct trace_error error;
    assert_true(read_file(file, 0, &trace, &error));
    assert_false(trace_plan_make(&trace, &plan, &error));
    if (strstr(error.text, why) == NULL) {
        fail_msg("expected \"%s\", got \"%s\"", why, error.text);
    }
    assert_null(plan.steps);
    trace_free(&trace);
}

/* ---- Reading ---- */

static void records_of_many_threads_come_out_in_their_total_order(void **state)
{
    struct file file;
    struct trace trace;
    struct trace_error error;
    (void)state;
    begin(&file);
    for (unsigned i = 0; i < MOST; i++) {
        add(&file, TRACE_GET_MEMORY_LOAD, 0, 0, i, 0);
    }
    file.header.missing = 0x20000; /* both halves of the numbers count */
    seal_header(&file);
    for (unsigned i = 0; i < MOST; i++) {
        file.records[i].sequence = (i * 7 % MOST) << (i % 2 == 0 ? 12 : 0);
        seal(&file, i);
    }
    assert_true(read_file(&file, 0, &trace, &error));
    assert_int_equal(trace.count, MOST);
    for (size_t i = 1; i < MOST; i++) {
        assert_true(trace.records[i - 1].sequence < trace.records[i].sequence);
    }
    for (size_t i = 0; i < MOST; i++) { /* whole records moved, not their numbers alone */
        unsigned was = trace.records[i].type;
        assert_memory_equal(&trace.records[i], &file.records[was], sizeof(file.records[0]));
    }
    trace_free(&trace);
}

static void an_empty_trace_is_one(void **state)
{
    struct file file;
    struct trace trace;
    struct trace_plan plan;
    (void)state;
    begin(&file);
    plan_file(&file, &trace, &plan);
    assert_int_equal(trace.count, 0);
    trace_plan_free(&plan);
    trace_free(&trace);
}

static void a_file_cut_off_at_any_byte_is_refused(void **state)
{
    struct file file;
    (void)state;
    make_good_file(&file);
    ptrdiff_t records = (ptrdiff_t)(file.count * sizeof(file.records[0]));
    for (ptrdiff_t cut = 1; cut <= records; cut++) {
        char why[100];
        snprintf(why, sizeof(why), "is cut off after %d of 10 records",
                 (int)((records - cut) / (ptrdiff_t)sizeof(file.records[0])));
        expect_unreadable(&file, -cut, why);
    }
    for (ptrdiff_t left = 0; left < (ptrdiff_t)sizeof(file.header); left++) {
        expect_unreadable(&file, left - records - (ptrdiff_t)sizeof(file.header),
                          left < 8 ? "is no trace of hostmem-run" : "is cut off inside its header");
    }
}

/* As the process left it that was terminated: the header knows of no record. */
static void make_unclosed(struct file *file, uint64_t ticks, uint64_t nanoseconds)
{
    file->header.closed = 0;
    file->header.ticks = ticks;
    file->header.nanoseconds = nanoseconds;
    file->header.records = 0;
    file->header.check = trace_check(&file->header, sizeof(file->header));
}

static void expect_whole(const struct file *file, ptrdiff_t more, size_t count)
{
    struct trace trace;
    struct trace_error error;
    if (!read_file(file, more, &trace, &error)) {
        fail_msg("%s", error.text);
    }
    assert_int_equal(trace.header.closed, 0);
    assert_int_equal(trace.count, count);
    assert_int_equal(trace.header.records, count);
    assert_int_equal(trace.header.missing, 0);
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(trace.records[i].sequence, i);
    }
    trace_free(&trace);
}

static void a_trace_that_was_never_closed_is_read_as_far_as_it_is_whole(void **state)
{
    struct file good, file;
    (void)state;
    make_good_file(&good);
    make_unclosed(&good, 0, 0);
    expect_whole(&good, 0, 10);
    expect_whole(&good, -1, 9); /* the last record was being written */
    expect_whole(&good, -64, 9);
    expect_whole(&good, -640, 0);

    file = good;
    file.records[4].sequence = 4000; /* number 4 was not written, later ones were */
    seal(&file, 4);
    expect_whole(&file, 0, 4);

    file = good;
    file.records[4].sequence = 3;
    seal(&file, 4);
    expect_unreadable(&file, 0, "has two records with the number 3");
    file = good;
    file.records[9].size ^= 1;
    expect_unreadable(&file, 0, "has a damaged record at byte 704");
}

static void its_time_is_that_of_its_last_call(void **state)
{
    struct file file;
    struct trace trace;
    struct trace_error error;
    (void)state;
    make_good_file(&file);
    make_unclosed(&file, 500, 250); /* the last call began at 900 and took 10 */
    assert_true(read_file(&file, 0, &trace, &error));
    assert_int_equal(trace.header.ticks, 910);
    assert_int_equal(trace.header.nanoseconds, 455);
    trace_free(&trace);
    make_unclosed(&file, 0, 0); /* nobody knows what a tick is */
    assert_true(read_file(&file, 0, &trace, &error));
    assert_int_equal(trace.header.ticks, 910);
    assert_true(trace_nanoseconds(&trace, 910) == 0);
    trace_free(&trace);
    file.records[9].begin = UINT64_MAX - 10;
    seal(&file, 9);
    make_unclosed(&file, 1, UINT64_MAX);
    assert_true(read_file(&file, 0, &trace, &error));
    assert_int_equal(trace.header.nanoseconds, 0); /* of no use */
    trace_free(&trace);
}

static void a_change_of_any_byte_is_noticed(void **state)
{
    struct file file;
    size_t size;
    (void)state;
    make_good_file(&file);
    unsigned char *bytes = bytes_of(&file, 0, &size);
    for (size_t at = 0; at < size; at++) {
        for (unsigned bits = 0; bits < 9; bits++) { /* each alone, and all at once */
            unsigned change = bits < 8 ? 1u << bits : 0xff;
            struct trace trace;
            struct trace_error error = {""};
            bytes[at] ^= (unsigned char)change;
            assert_false(trace_read(bytes, size, &trace, &error));
            assert_true(error.text[0] != 0);
            bytes[at] ^= (unsigned char)change;
        }
    }
    free(bytes);
}

static void what_does_not_belong_is_refused(void **state)
{
    struct file good, file;
    (void)state;
    make_good_file(&good);
    expect_unreadable(&good, 1, "has something behind its last record");
    expect_unreadable(&good, 64, "has something behind its last record");

    file = good;
    file.header.version = 2;
    expect_unreadable(&file, 0, "has version 2 of the format, and only 1 can be read");

    file = good;
    file.records[3].sequence = 2;
    seal(&file, 3);
    expect_unreadable(&file, 0, "has two records with the number 2");

    file = good;
    file.records[3].sequence = 10; /* of ten, none missing */
    seal(&file, 3);
    expect_unreadable(&file, 0, "has a damaged record at byte 320");

    file = good;
    file.records[0].method = TRACE_METHOD_COUNT;
    seal(&file, 0);
    expect_unreadable(&file, 0, "has a damaged record at byte 128");

    file = good;
    file.header.records = UINT64_MAX / 64; /* the size of all of them is no number any more */
    file.header.check = trace_check(&file.header, sizeof(file.header));
    expect_unreadable(&file, 0, "has a damaged header");
}

/* ---- Planning ---- */

static void addresses_become_numbers_and_offsets(void **state)
{
    struct file file;
    struct trace trace;
    struct trace_plan plan;
    (void)state;
    make_good_file(&file);
    plan_file(&file, &trace, &plan);
    assert_int_equal(plan.regions, 1);
    assert_int_equal(plan.blocks, 1);
    assert_int_equal(plan.heaps, 1);
    assert_int_equal(plan.steps[1].made, 0);
    assert_int_equal(plan.steps[1].place, TRACE_PLACE_NULL);
    assert_int_equal(plan.steps[2].made, TRACE_NONE);
    assert_int_equal(plan.steps[2].place, TRACE_PLACE_REGION);
    assert_int_equal(plan.steps[2].offset, 2 * PAGE);
    assert_int_equal(plan.steps[3].made, 0);
    assert_int_equal(plan.steps[4].offset, 100);
    assert_int_equal(plan.steps[6].place, TRACE_PLACE_BLOCK);
    assert_int_equal(plan.steps[7].place, TRACE_PLACE_FOREIGN);
    assert_int_equal(plan.steps[8].place, TRACE_PLACE_REGION);
    trace_plan_free(&plan);
    trace_free(&trace);
}

static void an_address_that_is_given_out_again_is_other_memory(void **state)
{
    struct file file;
    struct trace trace;
    struct trace_plan plan;
    (void)state;
    begin(&file);
    add(&file, TRACE_CREATE_MALLOC, 0, 0, 1, 1);
    add(&file, TRACE_CREATE_MALLOC, 0, 0, 1, 2);
    add(&file, TRACE_VIRTUAL_ALLOC, 0, PAGE, RESERVE | COMMIT, BASE);
    add(&file, TRACE_VIRTUAL_FREE, BASE, 0, RELEASE, 0);
    add(&file, TRACE_VIRTUAL_ALLOC, 0, PAGE, COMMIT,
        BASE); /* reserves too, for it has no address */
    add(&file, TRACE_VIRTUAL_FREE, BASE + PAGE - 1, 1, DECOMMIT, 0);
    add(&file, TRACE_ALLOC, 0, 8, 1, 0x5000);
    add(&file, TRACE_FREE, 0x5000, 0, 1, 0);
    add(&file, TRACE_DEBUG_ALLOC, 0, 8, 2, 0x5000);
    add(&file, TRACE_RELEASE_MALLOC, 0, 0, 2, 0); /* and its block with it */
    add(&file, TRACE_ALLOC, 0, 8, 1, 0x5000);
    add(&file, TRACE_FREE, 0x5000, 0, 1, 0);
    plan_file(&file, &trace, &plan);
    assert_int_equal(plan.regions, 2);
    assert_int_equal(plan.steps[5].number, 1);
    assert_int_equal(plan.blocks, 3);
    assert_int_equal(plan.steps[7].number, 0);
    assert_int_equal(plan.steps[11].number, 2);
    trace_plan_free(&plan);
    trace_free(&trace);
}

/* A wish for an address inside a granule: the region begins with the granule. */
static void a_granted_wish_keeps_its_distance_from_the_base(void **state)
{
    struct file file;
    struct trace trace;
    struct trace_plan plan;
    (void)state;
    begin(&file);
    add(&file, TRACE_VIRTUAL_ALLOC, BASE + PAGE, PAGE, RESERVE, BASE);
    add(&file, TRACE_VIRTUAL_QUERY, BASE + 2 * PAGE - 1, 48, 0, 48);
    add(&file, TRACE_VIRTUAL_QUERY, BASE + 2 * PAGE, 48, 0, 48);
    plan_file(&file, &trace, &plan);
    assert_int_equal(plan.steps[0].place, TRACE_PLACE_NULL);
    assert_int_equal(plan.steps[0].offset, PAGE);
    assert_int_equal(plan.steps[1].place, TRACE_PLACE_REGION);
    assert_int_equal(plan.steps[2].place, TRACE_PLACE_FOREIGN);
    trace_plan_free(&plan);
    trace_free(&trace);
}

static void what_was_refused_changed_nothing(void **state)
{
    struct file file;
    struct trace trace;
    struct trace_plan plan;
    (void)state;
    begin(&file);
    add(&file, TRACE_CREATE_MALLOC, 0, 0, 1, 1);
    fails(&file, add(&file, TRACE_VIRTUAL_ALLOC, 0, PAGE, RESERVE, 0), 0x8007000e);
    add(&file, TRACE_VIRTUAL_ALLOC, 0, PAGE, RESERVE, BASE);
    fails(&file, add(&file, TRACE_VIRTUAL_FREE, BASE, PAGE, RELEASE, 0), 0x80070057);
    fails(&file, add(&file, TRACE_FREE, 0x5000, 0, 1, 0), 0x80131022);
    add(&file, TRACE_VIRTUAL_FREE, BASE, 0, RELEASE, 0);
    plan_file(&file, &trace, &plan);
    assert_int_equal(plan.regions, 1);
    assert_int_equal(plan.steps[1].made, TRACE_NONE);
    assert_int_equal(plan.steps[4].place, TRACE_PLACE_FOREIGN);
    trace_plan_free(&plan);
    trace_free(&trace);
}

static void what_no_memory_manager_does_is_refused(void **state)
{
    static const struct {
        const char *why;
        enum trace_method method;
        uint64_t address, size;
        uint32_t type;
        uint64_t result;
    } calls[] = {
        {"reserves memory that is reserved already", TRACE_VIRTUAL_ALLOC, 0, PAGE, RESERVE, BASE},
        {"reserves memory that is reserved already", TRACE_VIRTUAL_ALLOC, 0, 2 * MIB, RESERVE,
         BASE - SLOT},
        {"reserves memory where none can be", TRACE_VIRTUAL_ALLOC, 0, PAGE, RESERVE, 0},
        {"reserves memory where none can be", TRACE_VIRTUAL_ALLOC, 0, 0, RESERVE, 2 * BASE},
        {"reserves memory where none can be", TRACE_VIRTUAL_ALLOC, 0, UINT64_MAX - 2 * BASE,
         RESERVE, 2 * BASE},
        {"reserves memory at another address", TRACE_VIRTUAL_ALLOC, 0, PAGE, RESERVE, BASE + 1},
        {"reserves memory at another address", TRACE_VIRTUAL_ALLOC, 2 * BASE, PAGE, RESERVE,
         3 * BASE},
        {"releases memory that was not reserved", TRACE_VIRTUAL_FREE, 2 * BASE, 0, RELEASE, 0},
        {"releases memory that was not reserved", TRACE_VIRTUAL_FREE, BASE + PAGE, 0, RELEASE, 0},
        {"allocates a block that is allocated already", TRACE_ALLOC, 0, 1, 1, 0x5000},
        {"allocates a block without an address", TRACE_ALLOC, 0, 1, 1, 0},
        {"frees a block that was not allocated", TRACE_FREE, 0x6000, 0, 1, 0},
        {"uses a heap that is not there", TRACE_ALLOC, 0, 1, 2, 0x6000},
        {"uses a heap that is not there", TRACE_FREE, 0x5000, 0, 0, 0},
        {"uses a heap that is not there", TRACE_RELEASE_MALLOC, 0, 0, UINT32_MAX, 0},
        {"makes a heap with a number that none can have", TRACE_CREATE_MALLOC, 0, 0, 1, 1},
        {"makes a heap with a number that none can have", TRACE_CREATE_MALLOC, 0, 0, 1, 0},
        {"makes a heap with a number that none can have", TRACE_CREATE_MALLOC, 0, 0, 1, 65537},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(calls) / sizeof(calls[0]); i++) {
        struct file file;
        begin(&file);
        add(&file, TRACE_CREATE_MALLOC, 0, 0, 1, 1);
        add(&file, TRACE_VIRTUAL_ALLOC, 0, MIB, RESERVE, BASE);
        add(&file, TRACE_ALLOC, 0, 1, 1, 0x5000);
        add(&file, calls[i].method, calls[i].address, calls[i].size, calls[i].type,
            calls[i].result);
        expect_senseless(&file, calls[i].why);
    }
}

/* Any field of any record replaced by something: whatever it is, it is read or refused, and what a
 * plan says lies inside what it says there is. */
static void records_with_any_content_are_planned_or_refused(void **state)
{
    static const uint64_t edges[] = {0,
                                     1,
                                     PAGE,
                                     BASE,
                                     BASE + PAGE,
                                     2,
                                     UINT32_MAX,
                                     UINT64_MAX,
                                     UINT64_MAX - 1,
                                     (uint64_t)1 << 63,
                                     BASE + 20 * PAGE,
                                     0x5000,
                                     65536,
                                     65537};
    struct random random = {20};
    unsigned planned = 0, refused = 0;
    (void)state;
    for (unsigned round = 0; round < 20000; round++) {
        struct file file;
        struct trace trace;
        struct trace_plan plan;
        struct trace_error error;
        make_good_file(&file);
        for (unsigned changes = 1 + (unsigned)random_below(&random, 3); changes > 0; changes--) {
            unsigned index = (unsigned)random_below(&random, file.count);
            struct trace_record *record = &file.records[index];
            uint64_t value = edges[random_below(&random, sizeof(edges) / sizeof(edges[0]))];
            switch (random_below(&random, 6)) {
            case 0:
                record->address = value;
                break;
            case 1:
                record->size = value;
                break;
            case 2:
                record->result = value;
                break;
            case 3:
                record->type = (uint32_t)value;
                break;
            case 4:
                record->hresult = (uint32_t)value;
                break;
            default:
                record->method = (uint8_t)(value % TRACE_METHOD_COUNT);
                break;
            }
            seal(&file, index);
        }
        assert_true(read_file(&file, 0, &trace, &error));
        if (trace_plan_make(&trace, &plan, &error)) {
            planned++;
            for (size_t i = 0; i < trace.count; i++) {
                const struct trace_step *step = &plan.steps[i];
                assert_true(step->place != TRACE_PLACE_REGION || step->number < plan.regions);
                assert_true(step->place != TRACE_PLACE_BLOCK || step->number < plan.blocks);
                assert_true(step->made == TRACE_NONE || step->made < plan.regions + plan.blocks);
            }
            trace_plan_free(&plan);
        } else {
            refused++;
        }
        trace_free(&trace);
    }
    assert_true(planned > 1000 && refused > 1000);
}

/* ---- The summary ---- */

static void a_summary_counts_every_call(void **state)
{
    struct file file;
    struct trace trace;
    struct trace_error error;
    char text[8192] = "";
    (void)state;
    make_good_file(&file);
    file.records[3].level = 2;
    file.records[3].thread = 8;
    seal(&file, 3);
    assert_true(read_file(&file, 0, &trace, &error));
    static const char name[] = "test_trace.out"; /* tmpfile of Windows wants to write to the root */
    FILE *out = fopen(name, "w+");
    assert_non_null(out);
    assert_true(trace_summary_write(&trace, out));
    rewind(out);
    text[fread(text, 1, sizeof(text) - 1, out)] = 0;
    fclose(out);
    remove(name);
    trace_free(&trace);
    /* 10 ticks are 5 ns. */
    static const char *const lines[] = {
        "10 calls of 2 threads in 0.0 ms, 64-bit, commit limit 0, reserve limit 0\n",
        "  VirtualAlloc                                2       0         5           5         2"
        "         0         0\n",
        "  Alloc                                       1       0         5           5         0"
        "         0         1\n",
        "\nbytes committed\n  from                 4096         1  ####",
        "\nVirtualFree, ns\n  from                    4         2  ####",
        "\n  7                  9           0\n",
        "\n  8                  1           0\n",
        "  from               0.0 ms         2  ####",
    };
    for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
        if (strstr(text, lines[i]) == NULL) {
            fail_msg("no line \"%s\" in:\n%s", lines[i], text);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(records_of_many_threads_come_out_in_their_total_order),
        cmocka_unit_test(an_empty_trace_is_one),
        cmocka_unit_test(a_file_cut_off_at_any_byte_is_refused),
        cmocka_unit_test(a_trace_that_was_never_closed_is_read_as_far_as_it_is_whole),
        cmocka_unit_test(its_time_is_that_of_its_last_call),
        cmocka_unit_test(a_change_of_any_byte_is_noticed),
        cmocka_unit_test(what_does_not_belong_is_refused),
        cmocka_unit_test(addresses_become_numbers_and_offsets),
        cmocka_unit_test(an_address_that_is_given_out_again_is_other_memory),
        cmocka_unit_test(a_granted_wish_keeps_its_distance_from_the_base),
        cmocka_unit_test(what_was_refused_changed_nothing),
        cmocka_unit_test(what_no_memory_manager_does_is_refused),
        cmocka_unit_test(records_with_any_content_are_planned_or_refused),
        cmocka_unit_test(a_summary_counts_every_call),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
