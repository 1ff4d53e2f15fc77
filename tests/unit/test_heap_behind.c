/* SPDX-License-Identifier: MIT
 *
 * Memory of a heap that somebody else in the process has freed with the system's own functions, or that
 * the system will not take back: it is dropped, counted and refunded, or stays charged.
 */
#include "unit/heap_calls.h"

static void free_behind_its_back(const void *memory)
{
    fake_os_forget(&fake, (uintptr_t)memory);
}

static void a_span_that_was_freed_by_others_is_dropped_and_counted(void **state)
{
    (void)state;
    void *large = alloc(MIB), *small = alloc(1000);
    free_behind_its_back(large);
    free_behind_its_back(small);
    assert_int_equal(heap_destroy(&heap), OS_OK);
    assert_int_equal(heaps.source.freed_behind, 2);
    assert_int_equal(charged(), 0);
    start_again();
}

static void a_span_that_vanished_is_not_grown_any_more(void **state)
{
    (void)state;
    void *first = alloc(3000);
    struct span *span = span_table_find(&heaps.source.table, (uintptr_t)first);
    free_behind_its_back(first);
    void *second = alloc(3000); /* perhaps at the same address */
    memset(second, 1, 3000);
    assert_true(span->gone);
    assert_false(span_table_find(&heaps.source.table, (uintptr_t)second)->gone);
    assert_int_equal(heap_destroy(&heap), OS_OK);
    assert_int_equal(heaps.source.freed_behind, 1);
    assert_int_equal(charged(), 0);
    start_again();
}

static void a_span_that_the_system_will_not_take_back_stays_charged_till_the_end(void **state)
{
    (void)state;
    void *large = alloc(4 * MIB);
    fake_os_fail(&fake, FAKE_VIRTUAL_FREE, 1);
    assert_int_equal(heap_free(&heap, large), HM_BROKEN);
    assert_int_equal(charged(), 4 * MIB + PAGE);
    expect_foreign(large);
    assert_int_equal(heaps.source.freed_behind, 0);
}

/* Somebody else has the addresses by now, and from elsewhere: its pages are not the span's. */
static void a_span_whose_place_others_have_is_not_taken_for_theirs(void **state)
{
    uintptr_t theirs;
    (void)state;
    void *large = alloc(MIB);
    struct span *span = span_table_find(&heaps.source.table, (uintptr_t)large);
    uintptr_t base = span->base;
    free_behind_its_back(large);
    fake.real_memory = false;
    assert_int_equal(fake.os.virtual_alloc(&fake.os, base - SLOT, MIB + 3 * SLOT,
                                           OS_MEM_RESERVE | OS_MEM_COMMIT, OS_PAGE_READWRITE,
                                           &theirs),
                     OS_OK);
    assert_true(span_has_gone(&heaps.source, span));
    assert_int_equal(heap_destroy(&heap), OS_OK);
    assert_int_equal(heaps.source.freed_behind, 1);
    assert_int_equal(heaps.source.freed_behind_bytes, MIB + SLOT);
    assert_int_equal(charged(), 0);
    assert_int_equal(fake_os_committed(&fake, theirs, MIB + 3 * SLOT), MIB + 3 * SLOT);
    fake_os_forget(&fake, theirs);
    start_again();
}

static void what_the_system_cannot_say_is_taken_for_there(void **state)
{
    static struct fake_plan says_nothing = {
        .one_in = {[FAKE_VIRTUAL_FREE] = 1, [FAKE_VIRTUAL_QUERY] = 1}};
    (void)state;
    void *large = alloc(4 * MIB);
    fake_os_follow(&fake, &says_nothing);
    assert_int_equal(heap_free(&heap, large), HM_BROKEN);
    fake_os_follow(&fake, NULL);
    assert_int_equal(heaps.source.freed_behind, 0);
    assert_int_equal(charged(), 4 * MIB + PAGE);
}

/* Whatever the heap gives back when: at once, later, or at its end. */
static void memory_that_the_system_will_not_take_back_is_told_of(void **state)
{
    struct heap_share *share = &heap.shares[os_thread_number() % HEAP_SHARES];
    size_t given = 0;
    (void)state;
    expect_freed(alloc(MIB / 4)); /* kept as a large block */
    assert_true(heap_share_try(share));
    fake_os_fail(&fake, FAKE_VIRTUAL_FREE, 1);
    assert_int_equal(heap_share_trim(&heap.owner, share, &given), HM_BROKEN);
    assert_int_equal(given, 0);
    expect_freed(alloc(30 * KIB)); /* kept as an empty span, of the next share */
    heap_share_leave(share);
    share = &heap.shares[(os_thread_number() + 1) % HEAP_SHARES];
    assert_true(heap_share_try(share));
    fake_os_fail(&fake, FAKE_VIRTUAL_FREE, 1);
    assert_int_equal(heap_share_trim(&heap.owner, share, &given), HM_BROKEN);
    assert_int_equal(given, 0);
    heap_share_leave(share);
    assert_true(charged() > MIB / 4 + 30 * KIB);
    fake_os_fail(&fake, FAKE_VIRTUAL_FREE, 2);
    assert_int_equal(heap_destroy(&heap), HM_BROKEN);
    assert_int_equal(fake.region_count, 1);
    assert_int_equal(charged(), fake_os_committed(&fake, fake.regions[0]->base,
                                                  fake.regions[0]->page_count * PAGE));
    budget_removed(&budget, BUDGET_HEAP, 0, charged());
    fake_os_forget(&fake, fake.regions[0]->base);
    start_again();
}

/* Blocks that others have left to a share's holder: when it collects them a span is empty, and there is
 * no room to keep it. */
static void a_share_that_cannot_give_back_what_was_left_to_it_says_so(void **state)
{
    enum { SIZE = 20000, COUNT = 4 * (int)(HEAP_SPAN_BYTES / SIZE) };
    static void *blocks[COUNT];
    void *memory;
    (void)state;
    for (size_t i = 0; i < COUNT; i++) {
        blocks[i] = alloc(SIZE);
    }
    struct span *span = span_table_find(&heaps.source.table, (uintptr_t)blocks[0]);
    struct heap_share *share = &heap.shares[span->share];
    assert_true(heap_share_try(share));
    for (size_t i = 0; i < COUNT; i++) {
        expect_freed(blocks[i]);
    }
    heap_share_leave(share);
    fake_os_fail(&fake, FAKE_VIRTUAL_FREE, 1);
    os_error error = OS_OK;
    for (size_t i = 0; i < COUNT && error == OS_OK; i++) {
        error = heap_alloc(&heap, SIZE, 0, BUDGET_TASK, &memory);
    }
    assert_int_equal(error, HM_BROKEN);
    fake_os_fail(&fake, FAKE_ANY_KIND, 0);
    assert_int_equal(heap_destroy(&heap), OS_OK);
    assert_int_equal(charged(), 0);
    start_again();
}

/* A reservation whose pages cannot be had, and that cannot be given back either. */
static void a_reservation_that_is_of_no_use_is_given_back_or_told_of(void **state)
{
    static struct fake_plan takes_nothing = {.one_in = {[FAKE_VIRTUAL_FREE] = 1}};
    void *memory = (void *)POISON;
    (void)state;
    fake_os_fail(&fake, FAKE_VIRTUAL_ALLOC, 2);
    assert_int_equal(heap_alloc(&heap, 100, 0, BUDGET_TASK, &memory), FAKE_COMMITMENT_LIMIT);
    assert_int_equal(fake.region_count, 0);
    fake_os_follow(&fake, &takes_nothing);
    fake_os_fail(&fake, FAKE_VIRTUAL_ALLOC, 2);
    assert_int_equal(heap_alloc(&heap, 100, 0, BUDGET_TASK, &memory), HM_BROKEN);
    fake_os_follow(&fake, NULL);
    assert_int_equal((uintptr_t)memory, POISON);
    assert_int_equal(charged(), 0);
    assert_int_equal(fake.region_count, 1);
    fake_os_forget(&fake, fake.regions[0]->base);
}

/* As after a write into our memory: the count does not wrap, and whoever gives back is told. */
static void a_count_that_would_fall_below_zero_is_told_of(void **state)
{
    (void)state;
    void *large = alloc(4 * MIB);
    assert_true(usage_subtract(&budget.committed[BUDGET_HEAP], PAGE));
    assert_int_equal(heap_free(&heap, large), HM_BROKEN);
    assert_non_null(budget_broken(&budget));
    assert_int_equal(charged(), 4 * MIB);
    assert_int_equal(fake.region_count, 0);
    assert_true(
        usage_subtract(&budget.committed[BUDGET_HEAP], 4 * MIB)); /* what there is: nothing */
    atomic_store(&budget.broken, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_span_that_was_freed_by_others_is_dropped_and_counted),
        TEST(a_span_that_vanished_is_not_grown_any_more),
        TEST(a_span_that_the_system_will_not_take_back_stays_charged_till_the_end),
        TEST(a_span_whose_place_others_have_is_not_taken_for_theirs),
        TEST(what_the_system_cannot_say_is_taken_for_there),
        TEST(memory_that_the_system_will_not_take_back_is_told_of),
        TEST(a_share_that_cannot_give_back_what_was_left_to_it_says_so),
        TEST(a_reservation_that_is_of_no_use_is_given_back_or_told_of),
        TEST(a_count_that_would_fall_below_zero_is_told_of),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
