/* SPDX-License-Identifier: MIT
 *
 * What a heap is charged, what it keeps, and what goes back; at a limit too.
 */
#include "unit/heap_calls.h"

/* ---- what is charged ---- */

static void a_first_block_commits_one_page(void **state)
{
    (void)state;
    void *block = alloc(64);
    assert_int_equal(charged(), PAGE);
    assert_int_equal(fake.last[FAKE_VIRTUAL_ALLOC].protect, OS_PAGE_READWRITE);
    expect_freed(block);
    assert_int_equal(charged(), PAGE);
    assert_int_equal(heaps_trim(&heaps), NDEBUG_OR(PAGE, 0));
}

static void what_is_charged_is_little_more_than_the_blocks(void **state)
{
    (void)state;
    for (size_t size = 16; size <= 16 * KIB; size *= 4) {
        size_t blocks = 4 * MIB / size, before = charged();
        for (size_t i = 0; i < blocks; i++) {
            alloc(size);
        }
        size_t all = BLOCK_FRONT_BYTES + size + BLOCK_TAIL_BYTES;
        assert_true(charged() - before >= blocks * all);
        assert_true(charged() - before <= blocks * all * 5 / 4 + HEAP_STEP_BYTES);
        assert_sound(check_heaps());
    }
}

static void freed_memory_goes_back_but_for_what_is_kept(void **state)
{
    enum { COUNT = 4000 };
    static void *blocks[COUNT];
    (void)state;
    for (size_t size = 64; size <= 32 * KIB; size *= 8) {
        for (size_t i = 0; i < COUNT; i++) {
            blocks[i] = alloc(size);
        }
        for (size_t i = 0; i < COUNT; i++) {
            expect_freed(blocks[(i * 1001) % COUNT]);
        }
        assert_sound(check_heaps());
        assert_true(charged() <= 2 * HEAP_KEPT_BYTES + NDEBUG_OR(0, 5 * MIB));
    }
    heaps_trim(&heaps);
    assert_sound(check_heaps());
    assert_true(charged() <= NDEBUG_OR(0, 5 * MIB));
}

static void a_freed_large_block_is_there_for_the_next_of_its_size(void **state)
{
    (void)state;
    void *block = alloc(100 * KIB);
    expect_freed(block);
    size_t calls = fake.calls[FAKE_VIRTUAL_ALLOC];
    assert_ptr_equal(alloc(100 * KIB - 10), block);
    assert_int_equal(fake.calls[FAKE_VIRTUAL_ALLOC], calls);
    expect_freed(block);
    assert_ptr_not_equal(alloc(30 * KIB), block); /* it would waste most of it */
    assert_sound(check_heaps());
}

static void at_the_limit_what_is_kept_is_given_back_first(void **state)
{
    (void)state;
    set_limit(MIB);
    for (size_t size = 1000; size < 500 * KIB; size *= 2) {
        void *blocks[200];
        size_t count = 0;
        while (count < 200 && heap_alloc(&heap, size, 0, BUDGET_TASK, &blocks[count]) == OS_OK) {
            count++;
        }
        assert_true(count > 0);
        assert_true(charged() <= MIB);
        assert_sound(check_heaps());
        while (count > 0) {
            expect_freed(blocks[--count]);
        }
    }
}

static void a_limit_that_is_reached_refuses_and_changes_nothing(void **state)
{
    void *memory = (void *)POISON;
    (void)state;
    set_limit(64 * KIB);
    void *block = alloc(50 * KIB);
    assert_int_equal(heap_alloc(&heap, 50 * KIB, 0, BUDGET_TASK, &memory), HM_OVER_COMMIT);
    assert_int_equal((uintptr_t)memory, POISON);
    assert_sound(check_heaps());
    expect_freed(block);
    assert_int_equal(counts().blocks, 0);
    expect_freed(alloc(60 * KIB));
}

static void the_last_page_of_a_limit_can_be_had(void **state)
{
    void *memory;
    size_t blocks = 0;
    (void)state;
    set_limit(256 * KIB);
    while (heap_alloc(&heap, 1000, 0, BUDGET_TASK, &memory) == OS_OK) {
        blocks++;
    }
    assert_int_equal(charged(), 256 * KIB);
    assert_true(blocks * (1000 + BLOCK_FRONT_BYTES + BLOCK_TAIL_BYTES) > 200 * KIB);
    assert_sound(check_heaps());
}

static void an_executable_heap_asks_for_executable_pages(void **state)
{
    static struct heap executable;
    void *memory;
    (void)state;
    memset(&executable, 0, sizeof(executable));
    assert_int_equal(heap_create(&executable, &heaps, true, true), OS_OK);
    static const size_t sizes[] = {64, MIB};
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(heap_alloc(&executable, sizes[i], 0, BUDGET_TASK, &memory), OS_OK);
        assert_int_equal(fake.last[FAKE_VIRTUAL_ALLOC].protect, OS_PAGE_EXECUTE_READWRITE);
    }
    assert_int_equal(heap_destroy(&executable), OS_OK);
}

/* To the last byte of address space that a first span has, and beyond it. */
static void a_limit_that_rises_by_pages_is_used_to_the_last(void **state)
{
    void *memory;
    (void)state;
    for (size_t limit = PAGE; limit <= HEAP_SPAN_BYTES + 4 * PAGE; limit += PAGE) {
        os_error error = OS_OK;
        set_limit(limit);
        while (error == OS_OK) {
            error = heap_alloc(&heap, 1000, 0, BUDGET_TASK, &memory);
        }
        assert_int_equal(error, HM_OVER_COMMIT);
        assert_int_equal(charged(), limit);
        assert_sound(check_heaps());
    }
}

/* More than any address space has, and less than a size can say. */
static void a_size_beyond_the_address_space_is_out_of_memory(void **state)
{
    void *memory = (void *)POISON;
    const size_t calls = fake_os_calls(&fake), most = fake.os.max_address - HEAP_SPAN_BYTES;
    (void)state;
    assert_int_equal(heap_alloc(&heap, most, 0, BUDGET_TASK, &memory), OS_NOT_ENOUGH_MEMORY);
    assert_int_equal(heap_alloc(&heap, most + 1, 0, BUDGET_TASK, &memory), OS_NOT_ENOUGH_MEMORY);
    assert_int_equal((uintptr_t)memory, POISON);
    assert_int_equal(fake_os_calls(&fake), calls);
}

/* A step of the tables that fails at a time, until none does: the span's record, its blocks, its slots. */
static void without_memory_for_the_tables_nothing_has_changed(void **state)
{
    static const size_t sizes[] = {64, 4 * MIB};
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        os_error error = OS_NOT_ENOUGH_MEMORY;
        for (size_t nth = 1; error != OS_OK; nth++) {
            void *memory = (void *)POISON;
            size_t before = charged();
            fake_os_fail(&fake, FAKE_TABLE_COMMIT, nth);
            error = heap_alloc(&heap, sizes[i], 0, BUDGET_TASK, &memory);
            assert_int_equal(error,
                             fake.failed_kind == FAKE_ANY_KIND ? OS_OK : OS_NOT_ENOUGH_MEMORY);
            assert_sound(check_heaps());
            if (error != OS_OK) {
                assert_int_equal((uintptr_t)memory, POISON);
                assert_int_equal(charged(), before);
                assert_int_equal(budget_in_use(&budget), before);
            }
        }
        fake_os_fail(&fake, FAKE_ANY_KIND, 0);
        assert_true(charged() > 0);
    }
}

/* Nor is the record of a span that was refused lost. */
static void a_refused_span_leaves_its_record_for_the_next(void **state)
{
    static const size_t sizes[] = {64, 4 * MIB};
    size_t used[3];
    void *memory;
    (void)state;
    set_limit(16);
    for (size_t i = 0; i < 3; i++) {
        for (size_t j = 0; j < 2; j++) {
            assert_int_equal(heap_alloc(&heap, sizes[j], 0, BUDGET_TASK, &memory), HM_OVER_COMMIT);
        }
        used[i] = heaps.source.table.used;
    }
    assert_int_equal(used[1], used[0]);
    assert_int_equal(used[2], used[0]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_first_block_commits_one_page),
        TEST(what_is_charged_is_little_more_than_the_blocks),
        TEST(freed_memory_goes_back_but_for_what_is_kept),
        TEST(a_freed_large_block_is_there_for_the_next_of_its_size),
        TEST(at_the_limit_what_is_kept_is_given_back_first),
        TEST(a_limit_that_is_reached_refuses_and_changes_nothing),
        TEST(the_last_page_of_a_limit_can_be_had),
        TEST(an_executable_heap_asks_for_executable_pages),
        TEST(a_limit_that_rises_by_pages_is_used_to_the_last),
        TEST(a_size_beyond_the_address_space_is_out_of_memory),
        TEST(without_memory_for_the_tables_nothing_has_changed),
        TEST(a_refused_span_leaves_its_record_for_the_next),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
