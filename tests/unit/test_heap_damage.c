/* SPDX-License-Identifier: MIT
 *
 * What others do to a heap: memory freed behind its back, blocks that were written around, and what is
 * reported of them, with their sites.
 */
#include "unit/heap_calls.h"

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

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_site_counts_its_live_blocks),
        TEST(a_span_that_was_freed_by_others_is_dropped_and_counted),
        TEST(a_span_that_vanished_is_not_grown_any_more),
        TEST(a_span_that_the_system_will_not_take_back_stays_charged_till_the_end),
        TEST(damage_is_reported_with_its_block),
        TEST(a_freed_block_that_was_written_is_not_handed_out),
        TEST(a_written_site_is_not_believed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
