/* SPDX-License-Identifier: MIT
 *
 * Threads that are somewhere else: their shares are taken, and nobody waits for them.
 */
#include "unit/heap_calls.h"

/* Thread 1's share is taken, as if it were suspended there: blocks of it are left to it, and it finds
 * them when it goes on. */
static void a_free_into_a_taken_share_is_collected_by_its_holder(void **state)
{
    enum { COUNT = 3000 };
    static void *blocks[COUNT];
    (void)state;
    for (size_t i = 0; i < COUNT; i++) {
        blocks[i] = alloc(100);
    }
    struct span *span = span_table_find(&heaps.source.table, (uintptr_t)blocks[0]);
    struct heap_share *share = &heap.shares[span->share];
    assert_true(heap_share_try(share));
    for (size_t i = 0; i < COUNT; i++) {
        expect_freed(blocks[i]);
        expect_foreign(blocks[i]);
    }
    assert_int_equal(counts().blocks, 0);
    assert_int_equal(counts().bytes, 0);
    assert_sound(check_heaps());
    void *elsewhere = alloc(100);
    assert_ptr_not_equal(span_table_find(&heaps.source.table, (uintptr_t)elsewhere), span);
    heap_share_leave(share);
    expect_freed(elsewhere);
    heaps_trim(&heaps);
    assert_sound(check_heaps());
    assert_true(charged() <= NDEBUG_OR(0, MIB));
}

static void with_every_share_taken_one_more_is_waited_for(void **state)
{
    (void)state;
    for (size_t i = 0; i < HEAP_SHARES; i++) {
        assert_true(heap_share_try(&heap.shares[i]));
    }
    void *small = alloc(100), *large = alloc(MIB);
    expect_freed(small);
    expect_freed(large);
    expect_freed(alloc(100));
    assert_sound(check_heaps());
    assert_int_equal(counts().blocks, 0);
    for (size_t i = 0; i < HEAP_SHARES; i++) {
        heap_share_leave(&heap.shares[i]);
    }
    heaps_trim(&heaps);
    assert_true(charged() <= NDEBUG_OR(0, MIB));
}

static void what_another_thread_trims_is_not_waited_for(void **state)
{
    (void)state;
    expect_freed(alloc(MIB / 4));
    os_lock_acquire(&heaps.lock);
    assert_int_equal(heaps_trim(&heaps), 0);
    os_lock_release(&heaps.lock);
    assert_true(heaps_trim(&heaps) > MIB / 4);
}

/* The share of those who find all others taken, too: a trim does not wait for it. */
static void a_trim_passes_over_every_share_that_is_taken(void **state)
{
    (void)state;
    for (size_t i = 0; i < HEAP_SHARES; i++) {
        assert_true(heap_share_try(&heap.shares[i]));
    }
    expect_freed(alloc(MIB / 4));
    os_lock_acquire(&heap.last_one);
    assert_int_equal(heaps_trim(&heaps), 0);
    os_lock_release(&heap.last_one);
    for (size_t i = 0; i < HEAP_SHARES; i++) {
        heap_share_leave(&heap.shares[i]);
    }
    heaps_trim(&heaps);
    assert_sound(check_heaps());
    assert_int_equal(charged(), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_free_into_a_taken_share_is_collected_by_its_holder),
        TEST(with_every_share_taken_one_more_is_waited_for),
        TEST(what_another_thread_trims_is_not_waited_for),
        TEST(a_trim_passes_over_every_share_that_is_taken),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
