/* SPDX-License-Identifier: MIT
 *
 * What virtual_memory_next and virtual_memory_measure tell, and the memory of the tables.
 */
#include "unit/virtual_memory_fixture.h"

/* ---- reports, and the memory of the tables ---- */

static void next_walks_all_regions_with_what_is_committed_in_each(void **state)
{
    struct region_info info;
    uintptr_t at = 0;
    (void)state;
    fake_os_add_foreign(&fake, BASE - SLOT, SLOT);
    for (uintptr_t i = 0; i < 5; i++) {
        alloc(BASE + 3 * i * SLOT, SLOT + PAGE, OS_MEM_RESERVE);
        alloc(BASE + 3 * i * SLOT, i * PAGE + 1, OS_MEM_COMMIT);
    }
    for (uintptr_t i = 0; i < 5; i++) {
        assert_true(virtual_memory_next(&memory, at, &info));
        assert_true(info.region.base == BASE + 3 * i * SLOT);
        assert_int_equal(info.region.size, SLOT + PAGE);
        assert_int_equal(info.committed, (i + 1) * PAGE);
        at = info.region.base + 1;
    }
    assert_false(virtual_memory_next(&memory, at, &info));
}

static void measure_sees_what_the_os_has_not_what_we_believe(void **state)
{
    size_t by_table = POISON, by_os = POISON;
    (void)state;
    uintptr_t base = alloc(0, 8 * PAGE, OS_MEM_RESERVE | OS_MEM_COMMIT);
    alloc(0, 8 * PAGE, OS_MEM_RESERVE);
    fake_os_add_foreign(&fake, BASE, 4 * PAGE);
    /* Behind our back, as an injected DLL might. */
    assert_int_equal(fake.os.virtual_free(&fake.os, base, PAGE, OS_MEM_DECOMMIT), OS_OK);
    virtual_memory_measure(&memory, &by_table, &by_os);
    assert_int_equal(by_table, 8 * PAGE);
    assert_int_equal(by_os, 7 * PAGE);
    alloc(base, PAGE, OS_MEM_COMMIT);
    assert_counts(16 * PAGE, 8 * PAGE);
}

static void the_tables_are_counted_apart_and_never_in_the_regions(void **state) /* trap 27 */
{
    (void)state;
    size_t before = usage_current(&memory.table_memory.committed);
    assert_int_equal(before, fake_os_table_committed(&fake));
    uintptr_t base = alloc(0, GIB, OS_MEM_RESERVE);
    for (size_t i = 0; i < 4; i++) {
        alloc(base + 200 * i * MIB, 100 * MIB, OS_MEM_COMMIT);
    }
    assert_true(usage_current(&memory.table_memory.committed) > before);
    assert_int_equal(usage_current(&memory.table_memory.committed), fake_os_table_committed(&fake));
    assert_counts(GIB, 400 * MIB);
    assert_int_equal(fake.calls[FAKE_VIRTUAL_ALLOC], 5);
    assert_int_equal(memory.regions.used_count, 2); /* id 0 and the one region */
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(next_walks_all_regions_with_what_is_committed_in_each),
        TEST(measure_sees_what_the_os_has_not_what_we_believe),
        TEST(the_tables_are_counted_apart_and_never_in_the_regions),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
