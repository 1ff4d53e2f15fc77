/* SPDX-License-Identifier: MIT
 *
 * How a heap grows: the steps in which a class commits, and what a trim takes back of them.
 */
#include "support/heap_fixture.h"
#include "support/unit.h"

enum { SIZE = 1000, COUNT = 300 };

static void *alloc(size_t size)
{
    void *memory = NULL;
    assert_int_equal(heap_alloc(&heap, size, 0, BUDGET_TASK, &memory), OS_OK);
    return memory;
}

/* COUNT blocks of one class; what their pages are. */
static size_t fill(unsigned char **blocks)
{
    size_t bytes =
        size_class_bytes(size_class_of(BLOCK_FRONT_BYTES + SIZE + BLOCK_TAIL_BYTES)) * COUNT;
    for (int i = 0; i < COUNT; i++) {
        blocks[i] = alloc(SIZE);
        memset(blocks[i], i % 251, SIZE);
    }
    return (bytes + PAGE - 1) / PAGE * PAGE;
}

static void expect_untouched(unsigned char *const *blocks)
{
    for (int i = 0; i < COUNT; i++) {
        assert_int_equal(blocks[i][0], i % 251);
        assert_int_equal(blocks[i][SIZE - 1], i % 251);
    }
}

static int set_up(void **state)
{
    (void)state;
    heap_fixture_start(true);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    return heap_fixture_end() ? 0 : -1;
}

/* ---- steps ---- */

static void each_step_is_twice_the_one_before_up_to_the_largest(void **state)
{
    size_t before = 0, step = 0;
    (void)state;
    while (charged() < 4 * HEAP_STEP_BYTES) {
        alloc(SIZE);
        size_t committed = charged() - before;
        before = charged();
        if (committed != 0) {
            size_t most = step == 0                    ? PAGE
                          : 2 * step < HEAP_STEP_BYTES ? 2 * step
                                                       : HEAP_STEP_BYTES;
            assert_in_range(committed, PAGE, most); /* less at the end of a span */
            step = committed == most ? most : HEAP_STEP_BYTES;
        }
    }
    assert_int_equal(step, HEAP_STEP_BYTES);
}

static void a_heap_of_many_sizes_makes_few_system_calls(void **state)
{
    enum { BLOCKS = 50000 };
    (void)state;
    size_t calls = fake.calls[FAKE_VIRTUAL_ALLOC];
    for (uint32_t i = 0; i < BLOCKS; i++) {
        alloc(16 + (i * 2654435761u >> 8) % 1024);
    }
    assert_true(fake.calls[FAKE_VIRTUAL_ALLOC] - calls < BLOCKS / (sizeof(void *) == 8 ? 140 : 50));
    assert_sound(check_heaps());
}

/* ---- trim ---- */

static void a_trim_takes_the_pages_that_no_block_has_had(void **state)
{
    static unsigned char *blocks[COUNT];
    (void)state;
    size_t pages = fill(blocks), ahead = charged() - pages;
    assert_true(ahead > 2 * PAGE);
    assert_int_equal(heaps_trim(&heaps), ahead);
    assert_int_equal(charged(), pages);
    assert_sound(check_heaps());
    assert_int_equal(heaps_trim(&heaps), 0);
    expect_untouched(blocks);
}

static void a_class_that_was_trimmed_begins_with_a_page(void **state)
{
    static unsigned char *blocks[COUNT];
    (void)state;
    size_t pages = fill(blocks);
    heaps_trim(&heaps);
    while (charged() == pages) {
        memset(alloc(SIZE), 255, SIZE);
    }
    assert_int_equal(charged(), pages + PAGE);
    expect_untouched(blocks);
    for (int i = 0; i < COUNT; i++) {
        assert_int_equal(heap_free(&heap, blocks[i]), OS_OK);
    }
    assert_sound(check_heaps());
}

static void at_the_limit_one_class_gets_what_others_have_committed_ahead(void **state)
{
    static unsigned char *blocks[COUNT];
    (void)state;
    size_t pages = fill(blocks), ahead = charged() - pages;
    set_limit(charged());
    memset(alloc(ahead - PAGE), 255, ahead - PAGE);
    assert_true(charged() <= pages + ahead);
    expect_untouched(blocks);
    assert_sound(check_heaps());
}

static void pages_that_the_system_will_not_take_stay_charged(void **state)
{
    static unsigned char *blocks[COUNT];
    (void)state;
    fill(blocks);
    size_t before = charged();
    fake_os_fail(&fake, FAKE_VIRTUAL_FREE, 1);
    assert_int_equal(heaps_trim(&heaps), 0);
    assert_int_equal(charged(), before);
    assert_sound(check_heaps());
    assert_true(heaps_trim(&heaps) > 0);
}

static void a_trim_leaves_alone_what_lies_where_a_span_was(void **state)
{
    static unsigned char *blocks[COUNT];
    (void)state;
    fill(blocks);
    size_t before = charged(), frees = fake.calls[FAKE_VIRTUAL_FREE];
    fake_os_forget(&fake, (uintptr_t)blocks[COUNT - 1]);
    assert_int_equal(heaps_trim(&heaps), 0);
    assert_int_equal(fake.calls[FAKE_VIRTUAL_FREE], frees);
    assert_int_equal(charged(), before);
}

#define heap_test(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        heap_test(each_step_is_twice_the_one_before_up_to_the_largest),
        heap_test(a_heap_of_many_sizes_makes_few_system_calls),
        heap_test(a_trim_takes_the_pages_that_no_block_has_had),
        heap_test(a_class_that_was_trimmed_begins_with_a_page),
        heap_test(at_the_limit_one_class_gets_what_others_have_committed_ahead),
        heap_test(pages_that_the_system_will_not_take_stay_charged),
        heap_test(a_trim_leaves_alone_what_lies_where_a_span_was),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
