/* SPDX-License-Identifier: MIT
 *
 * The calls of the heap tests, with what they expect of them. See support/heap_fixture.h.
 */
#ifndef HOSTMEM_TESTS_HEAP_CALLS_H
#define HOSTMEM_TESTS_HEAP_CALLS_H

#include "support/heap_fixture.h"
#include "support/unit.h"

static inline void *alloc(size_t size)
{
    void *memory = NULL;
    assert_int_equal(heap_alloc(&heap, size, 0, BUDGET_TASK, &memory), OS_OK);
    assert_non_null(memory);
    return memory;
}

static inline void expect_freed(void *memory)
{
    assert_int_equal(heap_free(&heap, memory), OS_OK);
}

static inline void expect_foreign(const void *memory)
{
    size_t size = POISON;
    assert_int_equal(heap_block_size(&heap, memory, &size), HM_FOREIGN);
    assert_int_equal(heap_free(&heap, (void *)(uintptr_t)memory), HM_FOREIGN);
    assert_int_equal(size, POISON);
}

static inline int set_up(void **state)
{
    (void)state;
    heap_fixture_start(true);
    return 0;
}

static inline int tear_down(void **state)
{
    (void)state;
    return heap_fixture_end() ? 0 : -1;
}

/* The heap was ended by the test; another one for the teardown. */
static inline void start_again(void)
{
    memset(&heap, 0, sizeof(heap));
    assert_int_equal(heap_create(&heap, &heaps, true, false), OS_OK);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

#endif
