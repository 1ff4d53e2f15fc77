/* SPDX-License-Identifier: MIT
 *
 * A heap: blocks of every size, what is refused, what is charged, what is kept and what goes back.
 */
#include "support/heap_fixture.h"
#include "support/unit.h"

/* ---- calls ---- */

static void *alloc(size_t size)
{
    void *memory = NULL;
    assert_int_equal(heap_alloc(&heap, size, 0, BUDGET_TASK, &memory), OS_OK);
    assert_non_null(memory);
    return memory;
}

static void expect_freed(void *memory)
{
    assert_int_equal(heap_free(&heap, memory), OS_OK);
}

static void expect_foreign(const void *memory)
{
    size_t size = POISON;
    assert_int_equal(heap_block_size(&heap, memory, &size), HM_FOREIGN);
    assert_int_equal(heap_free(&heap, (void *)(uintptr_t)memory), HM_FOREIGN);
    assert_int_equal(size, POISON);
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

/* ---- threads that are somewhere else ---- */

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

/* ---- sites ---- */

static void a_site_counts_its_live_blocks(void **state)
{
    static void *blocks[100];
    (void)state;
    uint32_t number = site_table_get(&sites, "list.cpp", 42);
    struct alloc_site *site = site_table_at(&sites, number);
    for (size_t i = 0; i < 100; i++) {
        assert_int_equal(heap_alloc(&heap, i * 999, number, BUDGET_TASK, &blocks[i]), OS_OK);
    }
    assert_int_equal(site->blocks, 100);
    assert_int_equal(site->bytes, counts().bytes);
    for (size_t i = 0; i < 50; i++) {
        expect_freed(blocks[2 * i]);
    }
    assert_int_equal(site->blocks, 50);
    assert_int_equal(site->bytes, counts().bytes);
    assert_true(heap_destroy(&heap) == OS_OK);
    assert_int_equal(site->blocks, 0);
    assert_int_equal(site->bytes, 0);
    memset(&heap, 0, sizeof(heap));
    assert_int_equal(heap_create(&heap, &heaps, true, false), OS_OK);
}

/* ---- memory that somebody else has freed ---- */

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
    memset(&heap, 0, sizeof(heap));
    assert_int_equal(heap_create(&heap, &heaps, true, false), OS_OK);
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
    memset(&heap, 0, sizeof(heap));
    assert_int_equal(heap_create(&heap, &heaps, true, false), OS_OK);
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

static void damage_is_reported_with_its_block(void **state)
{
    char text[256];
    struct block_header *header;
    size_t size = POISON;
    (void)state;
    unsigned char *block = alloc(100);
    struct heap_counts before = counts();
    size_t charged_before = charged();
    header = block_header_of(block);
    memset(header, 0x41, 4); /* four bytes of a string that was too long */
    snprintf(text, sizeof(text), "hostmem: the block at %p was written in front of its beginning\n",
             (void *)block);
    assert_int_equal(heap_block_size(&heap, block, &size), HM_BROKEN);
    assert_int_equal(size, POISON);
    assert_string_equal(reported, text);
    reported[0] = '\0';
    assert_int_equal(heap_free(&heap, block), HM_BROKEN);
    assert_string_equal(reported, text);
    expect_foreign(block); /* once */
    assert_int_equal(charged(), charged_before);
    assert_int_equal(counts().bytes, before.bytes);
    assert_int_equal(counts().blocks, before.blocks);
    assert_null(budget_check(&budget));
    expect_freed(alloc(100));
}

static void a_freed_block_that_was_written_is_not_handed_out(void **state)
{
    enum { COUNT = 2 * HEAP_FREED_KEPT };
    char text[256];
    void *memory = (void *)POISON;
    (void)state;
    unsigned char *block = alloc(100);
    expect_freed(block);
    ((unsigned char *)block_header_of(block))[0] ^= 1;
    snprintf(text, sizeof(text),
             "hostmem: the block at %p was written around after it had been freed\n",
             (void *)block);
    os_error error = OS_OK;
    for (int i = 0; i < COUNT && error == OS_OK; i++) {
        error = heap_alloc(&heap, 100, 0, BUDGET_TASK, &memory);
        error = error == OS_OK ? heap_free(&heap, memory) : error;
    }
    assert_int_equal(error, HM_BROKEN);
    assert_ptr_not_equal(memory, block);
    assert_string_equal(reported, text);
}

/* A site index that was written over leads nowhere. */
static void a_written_site_is_not_believed(void **state)
{
    void *memory;
    (void)state;
    uint32_t number = site_table_get(&sites, "list.cpp", 42);
    assert_int_equal(heap_alloc(&heap, 10, number, BUDGET_TASK, &memory), OS_OK);
    for (size_t at = 0; at < sizeof(struct block_header); at++) {
        unsigned char *byte = (unsigned char *)block_header_of(memory) + at;
        unsigned char was = *byte;
        size_t size;
        *byte = (unsigned char)(was + 1);
        assert_int_equal(heap_block_size(&heap, memory, &size), HM_BROKEN);
        *byte = was;
    }
    reported[0] = '\0';
    expect_freed(memory);
    assert_string_equal(reported, "");
    assert_int_equal(site_table_at(&sites, number)->blocks, 0);
}

#define heap_test(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        heap_test(blocks_of_every_size_are_aligned_apart_and_keep_what_is_written),
        heap_test(sizes_that_nobody_has_are_out_of_memory),
        heap_test(a_block_is_freed_once),
        heap_test(no_address_inside_or_around_a_block_is_one),
        heap_test(wild_pointers_are_refused_without_being_touched),
        heap_test(a_block_of_another_heap_is_refused),
        heap_test(no_block_survives_its_span),
        heap_test(a_heap_for_one_thread_refuses_a_second),
        heap_test(a_first_block_commits_one_page),
        heap_test(what_is_charged_is_little_more_than_the_blocks),
        heap_test(freed_memory_goes_back_but_for_what_is_kept),
        heap_test(a_freed_large_block_is_there_for_the_next_of_its_size),
        heap_test(at_the_limit_what_is_kept_is_given_back_first),
        heap_test(a_limit_that_is_reached_refuses_and_changes_nothing),
        heap_test(the_last_page_of_a_limit_can_be_had),
        heap_test(an_executable_heap_asks_for_executable_pages),
        heap_test(a_free_into_a_taken_share_is_collected_by_its_holder),
        heap_test(with_every_share_taken_one_more_is_waited_for),
        heap_test(what_another_thread_trims_is_not_waited_for),
        heap_test(a_site_counts_its_live_blocks),
        heap_test(a_span_that_was_freed_by_others_is_dropped_and_counted),
        heap_test(a_span_that_vanished_is_not_grown_any_more),
        heap_test(a_span_that_the_system_will_not_take_back_stays_charged_till_the_end),
        heap_test(damage_is_reported_with_its_block),
        heap_test(a_freed_block_that_was_written_is_not_handed_out),
        heap_test(a_written_site_is_not_believed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
