/* SPDX-License-Identifier: MIT
 *
 * A heap: blocks of every size, and what is refused.
 */
#include "unit/heap_calls.h"

/* ---- blocks ---- */

static void blocks_of_every_size_are_aligned_apart_and_keep_what_is_written(void **state)
{
    enum { COUNT = 700 };
    static unsigned char *blocks[COUNT];
    static size_t sizes[COUNT];
    (void)state;
    for (size_t i = 0; i < COUNT; i++) {
        size_t size = POISON;
        sizes[i] = i < 600 ? i : i * i;
        blocks[i] = alloc(sizes[i]);
        assert_int_equal((uintptr_t)blocks[i] % BLOCK_ALIGNMENT, 0);
        assert_int_equal(heap_block_size(&heap, blocks[i], &size), OS_OK);
        assert_int_equal(size, sizes[i]);
        memset(blocks[i], (int)(i % 251), sizes[i]);
    }
    assert_sound(check_heaps());
    for (size_t i = 0; i < COUNT; i++) {
        for (size_t at = 0; at < sizes[i]; at++) {
            assert_int_equal(blocks[i][at], i % 251);
        }
        expect_freed(blocks[i]);
    }
    assert_sound(check_heaps());
    assert_int_equal(counts().blocks, 0);
    assert_int_equal(counts().bytes, 0);
    assert_int_equal(counts().allocs, COUNT);
    assert_int_equal(counts().frees, COUNT);
}

static void sizes_that_nobody_has_are_out_of_memory(void **state)
{
    void *memory = (void *)POISON;
    (void)state;
    for (size_t less = 0; less < 200; less++) {
        assert_int_equal(heap_alloc(&heap, SIZE_MAX - less, 0, BUDGET_TASK, &memory),
                         OS_NOT_ENOUGH_MEMORY);
        assert_int_equal(heap_alloc(&heap, SIZE_MAX / 2 + 100 - less, 0, BUDGET_TASK, &memory),
                         OS_NOT_ENOUGH_MEMORY);
    }
    assert_int_equal((uintptr_t)memory, POISON);
    assert_int_equal(charged(), 0);
}

/* ---- what is refused ---- */

static void a_block_is_freed_once(void **state)
{
    (void)state;
    for (size_t size = 0; size < 3 * MIB; size = size * 3 + 1) {
        char *block = alloc(size), *neighbour = alloc(size);
        memset(neighbour, 0x5a, size);
        expect_freed(block);
        expect_foreign(block);
        expect_foreign(block);
        for (size_t at = 0; at < size; at++) {
            assert_int_equal(neighbour[at], 0x5a);
        }
        expect_freed(neighbour);
        assert_sound(check_heaps());
    }
}

static void no_address_inside_or_around_a_block_is_one(void **state)
{
    (void)state;
    char *small = alloc(500), *large = alloc(MIB), *last = alloc(0);
    for (ptrdiff_t at = -600; at < 600; at++) {
        if (at != 0) {
            expect_foreign(small + at);
            expect_foreign(large + at);
        }
        if (at != 0 && last + at != small) {
            expect_foreign(last + at);
        }
    }
    for (size_t at = 1; at < MIB + 2 * SLOT; at += 97) {
        expect_foreign(large + at);
    }
    expect_freed(small);
    expect_freed(large);
    expect_freed(last);
}

static void wild_pointers_are_refused_without_being_touched(void **state)
{
    (void)state;
    uintptr_t foreign = fake_os_add_foreign(&fake, 0, MIB);
    static const uintptr_t wild[] = {0,
                                     1,
                                     16,
                                     0xffff,
                                     0x10000,
                                     UINTPTR_MAX / 2,
                                     UINTPTR_MAX / 2 + 1,
                                     UINTPTR_MAX & ~(uintptr_t)15,
                                     UINTPTR_MAX};
    for (size_t i = 0; i < sizeof(wild) / sizeof(wild[0]); i++) {
        expect_foreign((void *)wild[i]);
    }
    for (size_t at = 0; at < MIB; at += 1000) {
        expect_foreign((void *)(foreign + at));
    }
    expect_foreign(&heap);
    fake_os_forget(&fake, foreign);
}

static void a_block_of_another_heap_is_refused(void **state)
{
    static struct heap other;
    void *memory = NULL, *large = NULL;
    (void)state;
    memset(&other, 0, sizeof(other));
    assert_int_equal(heap_create(&other, &heaps, true, false), OS_OK);
    assert_int_equal(heap_alloc(&other, 100, 0, BUDGET_TASK, &memory), OS_OK);
    assert_int_equal(heap_alloc(&other, MIB, 0, BUDGET_TASK, &large), OS_OK);
    expect_foreign(memory);
    expect_foreign(large);
    assert_sound(check_heaps());
    assert_int_equal(heap_destroy(&other), OS_OK);
    expect_foreign(memory);
    expect_foreign(large);
}

/* A record that is used again has no block of before. */
static void no_block_survives_its_span(void **state)
{
    (void)state;
    for (int round = 0; round < 600; round++) {
        void *block = alloc(MIB), *small = alloc(20000);
        expect_freed(block);
        expect_freed(small);
        heaps_trim(&heaps);
        expect_foreign(block);
        void *other = alloc(2 * MIB);
        if (other != block) {
            expect_foreign(block);
        }
        expect_freed(other);
    }
    assert_sound(check_heaps());
}

static void a_heap_for_one_thread_refuses_a_second(void **state)
{
    void *memory;
    (void)state;
    static struct heap single;
    memset(&single, 0, sizeof(single));
    assert_int_equal(heap_create(&single, &heaps, false, false), OS_OK);
    assert_int_equal(heap_alloc(&single, 10, 0, BUDGET_TASK, &memory), OS_OK);
    atomic_store(&single.entered, true); /* as if a thread were inside */
    assert_int_equal(heap_alloc(&single, 10, 0, BUDGET_TASK, &(void *){NULL}), HM_NOT_OWNER);
    assert_int_equal(heap_free(&single, memory), HM_NOT_OWNER);
    atomic_store(&single.entered, false);
    assert_int_equal(heap_free(&single, memory), OS_OK);
    assert_int_equal(heap_destroy(&single), OS_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(blocks_of_every_size_are_aligned_apart_and_keep_what_is_written),
        TEST(sizes_that_nobody_has_are_out_of_memory),
        TEST(a_block_is_freed_once),
        TEST(no_address_inside_or_around_a_block_is_one),
        TEST(wild_pointers_are_refused_without_being_touched),
        TEST(a_block_of_another_heap_is_refused),
        TEST(no_block_survives_its_span),
        TEST(a_heap_for_one_thread_refuses_a_second),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
