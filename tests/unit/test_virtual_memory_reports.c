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
    assert_true(virtual_memory_next(&memory, BASE, &info)); /* from its first byte, too */
    assert_true(info.region.base == BASE);
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

#if UINTPTR_MAX > UINT32_MAX
static void scattered_commits_cost_what_they_are_worth(void **state)
{
    const size_t size = 256 * GIB;
    (void)state;
    uintptr_t base = alloc(0, size, OS_MEM_RESERVE);
    size_t before = fake_os_table_committed(&fake);
    for (size_t i = 0; i < 4; i++) {
        alloc(base + i * size / 4, PAGE, OS_MEM_COMMIT);
    }
    assert_int_equal(fake_os_table_committed(&fake), before); /* there from the start */
    for (size_t i = 0; i < 1000; i++) {
        alloc(base + i * (size / 1000 & ~(PAGE - 1)), PAGE, OS_MEM_COMMIT);
    }
    assert_in_range(fake_os_table_committed(&fake), before, MIB);
    release(base);
    assert_int_equal(fake_os_table_committed(&fake), before);
    assert_int_equal(usage_current(&memory.table_memory.committed), before);
}

static void a_thousand_regions_a_gib_apart_leave_little_behind(void **state)
{
    (void)state;
    for (size_t round = 0; round < 3; round++) {
        for (uintptr_t i = 0; i < 1000; i++) {
            alloc(BASE + i * GIB, PAGE, OS_MEM_RESERVE | OS_MEM_COMMIT);
        }
        assert_counts(1000 * PAGE, 1000 * PAGE);
        for (uintptr_t i = 0; i < 1000; i++) {
            release(BASE + i * GIB);
        }
        assert_counts(0, 0);
        /* All there is, from the start: descriptors, the top of the map, its nodes, the pool. */
        assert_in_range(fake_os_table_committed(&fake), 0, 256 * KIB);
        assert_int_equal(usage_current(&memory.table_memory.committed),
                         fake_os_table_committed(&fake));
    }
}
#endif

/* Side by side, all that there is included. */
static void a_region_costs_128_bytes_at_most(void **state)
{
    static const size_t counts[] = {1000, 20000};
    (void)state;
    for (size_t k = 0; k < 2; k++) {
        for (uintptr_t i = 0; i < counts[k]; i++) {
            alloc(BASE + i * SLOT, SLOT, OS_MEM_RESERVE);
        }
        assert_in_range(fake_os_table_committed(&fake), 64 * counts[k], 128 * counts[k]);
        for (uintptr_t i = 0; i < counts[k]; i++) {
            release(BASE + i * SLOT);
        }
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(next_walks_all_regions_with_what_is_committed_in_each),
        TEST(measure_sees_what_the_os_has_not_what_we_believe),
        TEST(the_tables_are_counted_apart_and_never_in_the_regions),
#if UINTPTR_MAX > UINT32_MAX
        TEST(scattered_commits_cost_what_they_are_worth),
        TEST(a_thousand_regions_a_gib_apart_leave_little_behind),
#endif
        TEST(a_region_costs_128_bytes_at_most),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
