/* SPDX-License-Identifier: MIT
 *
 * Blocks that were written around, and freed ones that were written: what is reported of them, with their
 * sites, and that nothing that is damaged is believed or handed out.
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
    start_again();
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

/* ---- what is said of damage ---- */

/* A block of 100 bytes, and what is reported of it. */
static unsigned char *alloc_at_site(uint32_t site)
{
    void *memory = NULL;
    assert_int_equal(heap_alloc(&heap, 100, site, BUDGET_TASK, &memory), OS_OK);
    reported[0] = '\0';
    return memory;
}

#define EXPECT_REPORTED(block, ...)                                                                \
    do {                                                                                           \
        char damage_[160], text_[256];                                                             \
        snprintf(damage_, sizeof(damage_), __VA_ARGS__);                                           \
        snprintf(text_, sizeof(text_), "hostmem: the block at %p%s\n", (void *)(block), damage_);  \
        assert_string_equal(reported, text_);                                                      \
    } while (0)

static void nobody_need_listen_to_reports(void **state)
{
    (void)state;
    heaps.report = NULL;
    unsigned char *block = alloc_at_site(0);
    block_header_of(block)->words[0]++;
    assert_int_equal(heap_free(&heap, block), HM_BROKEN);
    assert_string_equal(reported, "");
}

/* By the heap's end, of a block that nobody has freed; all of the heap is given back all the same. */
static void damage_is_found_when_the_heap_ends(void **state)
{
    (void)state;
    unsigned char *block = alloc_at_site(site_table_get(&sites, "list.cpp", 42));
    block_header_of(block)->words[1]++;
    assert_int_equal(heap_destroy(&heap), HM_BROKEN);
    EXPECT_REPORTED(block, " was written in front of its beginning");
    assert_int_equal(charged(), 0);
    start_again();
}

/* Long after it was freed, and without a report until somebody would get it. */
static void a_block_that_was_written_in_its_list_is_not_handed_out(void **state)
{
    void *memory = (void *)POISON;
    (void)state;
    unsigned char *block = alloc_at_site(0);
    expect_freed(block);
    for (size_t i = 0; i < HEAP_FREED_KEPT; i++) { /* in debug builds it comes out of the ring */
        expect_freed(alloc(3000));
    }
    block_header_of(block)->words[0]++;
    assert_string_equal(reported, "");
    assert_int_equal(heap_alloc(&heap, 100, 0, BUDGET_TASK, &memory), HM_BROKEN);
    assert_int_equal((uintptr_t)memory, POISON);
    EXPECT_REPORTED(block, " was written around after it had been freed");
    expect_freed(alloc(100)); /* there are others */
}

#ifndef NDEBUG

/* ---- what only debug builds see ---- */

static void a_write_behind_the_end_is_reported_with_size_and_site(void **state)
{
    const uint32_t numbers[] = {0, site_table_get(&sites, "list.cpp", 42)};
    size_t size = POISON;
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        unsigned char *block = alloc_at_site(numbers[i]);
        block[100]++;
        assert_int_equal(heap_block_size(&heap, block, &size), HM_BROKEN);
        assert_int_equal(size, POISON);
        EXPECT_REPORTED(block, " of 100 bytes%s was written behind its end",
                        i == 0 ? "" : " from list.cpp:42");
        reported[0] = '\0';
        assert_int_equal(heap_free(&heap, block), HM_BROKEN);
        EXPECT_REPORTED(block, " of 100 bytes%s was written behind its end",
                        i == 0 ? "" : " from list.cpp:42");
    }
}

static void a_freed_block_is_looked_at_from_its_first_byte_to_behind_its_last(void **state)
{
    static const struct {
        size_t at;
        const char *damage;
    } writes[] = {
        {0, " of 100 bytes was written after it had been freed"},
        {99, " of 100 bytes was written after it had been freed"},
        {100, " of 100 bytes was written around after it had been freed"},
    };
    (void)state;
    for (size_t i = 0; i < 3; i++) {
        unsigned char *block = alloc_at_site(0);
        expect_freed(block);
        assert_int_equal(heap_check_freed(&heap), OS_OK);
        block[writes[i].at]++;
        assert_int_equal(heap_check_freed(&heap), HM_BROKEN);
        EXPECT_REPORTED(block, "%s", writes[i].damage);
        block[writes[i].at]--;
    }
    assert_int_equal(heap_check_freed(&heap), OS_OK);
}

static void a_freed_block_that_was_written_is_found_when_the_heap_ends(void **state)
{
    (void)state;
    unsigned char *block = alloc_at_site(0);
    expect_freed(block);
    block[50]++;
    assert_int_equal(heap_destroy(&heap), HM_BROKEN);
    EXPECT_REPORTED(block, " of 100 bytes was written after it had been freed");
    assert_int_equal(charged(), 0);
    start_again();
}

#endif

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_site_counts_its_live_blocks),
        TEST(damage_is_reported_with_its_block),
        TEST(a_freed_block_that_was_written_is_not_handed_out),
        TEST(a_written_site_is_not_believed),
        TEST(nobody_need_listen_to_reports),
        TEST(damage_is_found_when_the_heap_ends),
        TEST(a_block_that_was_written_in_its_list_is_not_handed_out),
#ifndef NDEBUG
        TEST(a_write_behind_the_end_is_reported_with_size_and_site),
        TEST(a_freed_block_is_looked_at_from_its_first_byte_to_behind_its_last),
        TEST(a_freed_block_that_was_written_is_found_when_the_heap_ends),
#endif
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
