/* SPDX-License-Identifier: MIT
 *
 * Somebody has written into the page set of a region. In debug builds the release of the region
 * notices; nothing has changed then, and the region is not locked. Release builds do not look.
 */
#include "support/fake_os.h"
#include "support/unit.h"

#include "core/pages/virtual_memory.h"

static struct fake_os fake;
static struct budget budget;
static struct virtual_memory memory;

static int set_up(void **state)
{
    (void)state;
    fake_os_init_default(&fake);
    budget_init(&budget);
    return virtual_memory_create(&memory, &fake.os, &budget) == OS_OK ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    virtual_memory_destroy(&memory);
    return fake_os_destroy(&fake) == 0 ? 0 : -1;
}

static uintptr_t allocate(uintptr_t address, size_t size, uint32_t type)
{
    uintptr_t result = POISON;
    assert_int_equal(
        virtual_memory_alloc(&memory, address, size, type, OS_PAGE_READWRITE, BUDGET_TASK, &result),
        OS_OK);
    return result;
}

static struct page_set *pages_of(uintptr_t base)
{
    struct region_guard guard;
    assert_true(region_table_lock(&memory.regions, base, &guard));
    region_table_unlock(&memory.regions, &guard);
    return guard.pages;
}

/* Of a small region, which is a bitmap in place, and of a large one, which has runs. */
static void the_release_of_a_region_looks_at_its_pages(void **state)
{
    static const size_t sizes[] = {16 * PAGE, 16 * MIB};
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        uintptr_t base = allocate(0, sizes[i], OS_MEM_RESERVE);
        allocate(base + 2 * PAGE, 3 * PAGE, OS_MEM_COMMIT);
        struct page_set *pages = pages_of(base);
        pages->inline_bits[0] ^= 1 << 3;
#ifndef NDEBUG
        const size_t reserved = usage_current(&budget.reserved);
        assert_int_equal(virtual_memory_free(&memory, base, 0, OS_MEM_RELEASE), HM_BROKEN);
        assert_int_equal(usage_current(&budget.reserved), reserved);
        assert_int_equal(usage_current(&budget.committed[BUDGET_PAGES]), 3 * PAGE);
        assert_ptr_equal(pages_of(base), pages); /* there, and not locked */
#endif
        pages->inline_bits[0] ^= 1 << 3;
        assert_int_equal(virtual_memory_free(&memory, base, 0, OS_MEM_RELEASE), OS_OK);
    }
    assert_sound(virtual_memory_check(&memory));
    assert_int_equal(usage_current(&budget.reserved), 0);
    assert_int_equal(usage_current(&budget.committed[BUDGET_PAGES]), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(the_release_of_a_region_looks_at_its_pages, set_up,
                                        tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
