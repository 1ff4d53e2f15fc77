/* SPDX-License-Identifier: MIT
 *
 * The reader of trace files: a file as it should be, cut off and changed at every byte, and left
 * behind by a process that was terminated.
 */
#include "unit/trace_fixture.h"

#include <stdio.h>

static void expect_unreadable(const struct file *file, ptrdiff_t more, const char *why)
{
    struct trace trace;
    struct trace_error error;
    assert_false(read_file(file, more, &trace, &error));
    assert_string_equal(error.text, why);
    assert_null(trace.records);
}

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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(records_of_many_threads_come_out_in_their_total_order),
        cmocka_unit_test(a_file_cut_off_at_any_byte_is_refused),
        cmocka_unit_test(a_trace_that_was_never_closed_is_read_as_far_as_it_is_whole),
        cmocka_unit_test(its_time_is_that_of_its_last_call),
        cmocka_unit_test(a_change_of_any_byte_is_noticed),
        cmocka_unit_test(what_does_not_belong_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
