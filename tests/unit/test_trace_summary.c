/* SPDX-License-Identifier: MIT
 *
 * The summary of a trace, line by line.
 */
#include "unit/trace_fixture.h"

#include "trace/trace_summary.h"

/* What is written of the file. */
static void summarize(struct file *file, char *text, size_t size)
{
    static const char name[] =
        "test_trace_summary.out"; /* tmpfile of Windows wants to write to the root */
    struct trace trace;
    struct trace_plan plan;
    struct trace_error error;
    assert_true(read_file(file, 0, &trace, &error));
    assert_true(trace_plan_make(&trace, &plan, &error));
    FILE *out = fopen(name, "w+");
    assert_non_null(out);
    assert_true(trace_summary_write(&trace, &plan, out));
    rewind(out);
    text[fread(text, 1, size - 1, out)] = 0;
    fclose(out);
    remove(name);
    trace_plan_free(&plan);
    trace_free(&trace);
}

static void a_summary_counts_every_call(void **state)
{
    struct file file;
    char text[8192];
    (void)state;
    make_good_file(&file);
    file.records[3].level = 2;
    file.records[3].thread = 8;
    seal(&file, 3);
    summarize(&file, text, sizeof(text));
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

static void a_summary_says_what_others_freed(void **state)
{
    struct file file;
    char text[8192];
    (void)state;
    make_good_file(&file);
    summarize(&file, text, sizeof(text));
    assert_null(strstr(text, "others"));
    add(&file, TRACE_VIRTUAL_ALLOC, 0, 20 * PAGE, RESERVE, BASE);
    add(&file, TRACE_VIRTUAL_ALLOC, 0, PAGE, RESERVE, BASE);
    summarize(&file, text, sizeof(text));
    assert_non_null(strstr(text, "reserve limit 0\nregions that others freed: 1, 81920 bytes\n"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_summary_counts_every_call),
        cmocka_unit_test(a_summary_says_what_others_freed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
