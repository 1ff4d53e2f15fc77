/* SPDX-License-Identifier: MIT
 *
 * virtual_memory_free: what a decommit and a release take off the counts, and what never reaches the
 * OS.
 */
#include "unit/virtual_memory_fixture.h"

/* ---- decommit ---- */

static void a_decommit_takes_off_what_was_committed_and_no_more(void **state) /* trap 9 */
{
    (void)state;
    uintptr_t base = alloc(0, 16 * PAGE, OS_MEM_RESERVE);
    decommit(base, 16 * PAGE); /* nothing was ever committed */
    assert_counts(16 * PAGE, 0);
    alloc(base + 4 * PAGE, 4 * PAGE, OS_MEM_COMMIT);
    decommit(base + 6 * PAGE, 8 * PAGE); /* half of it was not */
    assert_counts(16 * PAGE, 2 * PAGE);
    decommit(base + 4 * PAGE - 1, 2); /* touches two pages, one of them committed */
    assert_counts(16 * PAGE, PAGE);
    decommit(base + 5 * PAGE, 1);
    decommit(base + 5 * PAGE, 1);
    assert_counts(16 * PAGE, 0);
}

static void a_decommit_of_size_0_at_the_base_takes_the_whole_region(void **state)
{
    (void)state;
    uintptr_t base = alloc(0, 600 * PAGE, OS_MEM_RESERVE);
    for (size_t i = 0; i < 10; i++) {
        alloc(base + 2 * i * PAGE, PAGE, OS_MEM_COMMIT);
    }
    assert_int_equal(virtual_memory_free(&memory, base + PAGE, 0, OS_MEM_DECOMMIT),
                     OS_INVALID_ADDRESS);
    assert_counts(600 * PAGE, 10 * PAGE);
    decommit(base + 5, 0); /* Win32 rounds down to the page first */
    assert_counts(600 * PAGE, 0);
    decommit(base, 0);
    assert_counts(600 * PAGE, 0);
}

static void a_decommit_that_leaves_its_region_fails_as_a_whole(void **state)
{
    (void)state;
    alloc(BASE, SLOT, OS_MEM_RESERVE | OS_MEM_COMMIT);
    alloc(BASE + SLOT, SLOT, OS_MEM_RESERVE | OS_MEM_COMMIT);
    assert_int_equal(virtual_memory_free(&memory, BASE + SLOT - PAGE, 2 * PAGE, OS_MEM_DECOMMIT),
                     OS_INVALID_PARAMETER);
    assert_counts(2 * SLOT, 2 * SLOT);
}

/* From now on the system has nothing for the tables. */
static struct fake_plan nothing_left = {.one_in = {
                                            [FAKE_TABLE_RESERVE] = 1,
                                            [FAKE_TABLE_COMMIT] = 1,
                                        }};

#define SIZE_OF_REGION (sizeof(void *) == 8 ? GIB * 256 : GIB + 64 * MIB)

static void a_decommit_in_the_middle_needs_no_memory(void **state)
{
    (void)state;
    size_t before = fake_os_table_committed(&fake);
    uintptr_t base = alloc(0, SIZE_OF_REGION, OS_MEM_RESERVE);
    alloc(base, GIB, OS_MEM_COMMIT);
    fake_os_follow(&fake, &nothing_left);
    for (size_t i = 1; i <= 10; i++) { /* 32 MiB each; the third brings a fourth run */
        decommit(base + i * 64 * MIB, 32 * MIB);
        assert_counts(SIZE_OF_REGION, GIB - i * 32 * MIB);
    }
    release(base);
    fake_os_follow(&fake, NULL);
    assert_counts(0, 0);
    assert_in_range(fake_os_table_committed(&fake) - before, 0, 256 * KIB);
}

/* One run falls into as many as it can, and those go one by one. */
static void every_second_page_can_be_given_back_without_memory(void **state)
{
    const size_t size = 64 * MIB;
    (void)state;
    uintptr_t base = alloc(0, size, OS_MEM_RESERVE);
    size_t before = fake_os_table_committed(&fake);
    alloc(base, size, OS_MEM_COMMIT);
    fake_os_follow(&fake, &nothing_left);
    for (size_t first = 0; first < 2; first++) {
        for (size_t at = first * PAGE; at < size; at += 2 * PAGE) {
            decommit(base + at, PAGE);
        }
        assert_counts(size, (1 - first) * size / 2);
    }
    fake_os_follow(&fake, NULL);
    assert_int_equal(fake_os_table_committed(&fake), before);
    assert_int_equal(usage_current(&memory.table_memory.committed), before);
}

/* ---- release ---- */

static void a_release_takes_off_the_remaining_commit_and_the_reservation(void **state) /* trap 9 */
{
    (void)state;
    uintptr_t kept = alloc(0, SLOT, OS_MEM_RESERVE | OS_MEM_COMMIT);
    uintptr_t base = alloc(0, 5 * PAGE, OS_MEM_RESERVE);
    alloc(base, 3 * PAGE, OS_MEM_COMMIT);
    decommit(base, PAGE);
    assert_counts(SLOT + 5 * PAGE, SLOT + 2 * PAGE);
    release(base);
    assert_counts(SLOT, SLOT);
    release(kept + PAGE - 1); /* Win32 rounds down to the page first */
    assert_counts(0, 0);
    assert_int_equal(usage_peak(&budget.reserved), SLOT + 5 * PAGE);
    assert_int_equal(usage_peak(&budget.committed[BUDGET_PAGES]), SLOT + 3 * PAGE);
}

static void release_twice_fails_and_leaves_the_neighbours_untouched(void **state)
{
    const uint32_t both = OS_MEM_RESERVE | OS_MEM_COMMIT;
    (void)state;
    alloc(BASE - SLOT, SLOT, both);
    alloc(BASE, SLOT, both);
    alloc(BASE + SLOT, SLOT, both);
    release(BASE);
    assert_foreign(BASE, 0, OS_MEM_RELEASE);
    assert_foreign(BASE, PAGE, OS_MEM_DECOMMIT);
    assert_counts(2 * SLOT, 2 * SLOT);
    alloc(BASE - SLOT, SLOT, OS_MEM_COMMIT);
    alloc(BASE + SLOT, SLOT, OS_MEM_COMMIT);
    assert_counts(2 * SLOT, 2 * SLOT);
}

static void a_release_inside_a_region_is_refused_without_the_os(void **state)
{
    (void)state;
    alloc(BASE, 3 * SLOT, OS_MEM_RESERVE | OS_MEM_COMMIT);
    assert_foreign(BASE + PAGE, 0, OS_MEM_RELEASE);
    assert_foreign(BASE + SLOT, 0, OS_MEM_RELEASE);
    assert_foreign(BASE + 3 * SLOT - 1, 0, OS_MEM_RELEASE);
    assert_counts(3 * SLOT, 3 * SLOT);
}

static void a_release_that_win32_refuses_leaves_the_region_alive(void **state)
{
    const uint32_t types[] = {OS_MEM_RELEASE | OS_MEM_DECOMMIT, 0, OS_MEM_COMMIT, 0x40000000u};
    (void)state;
    alloc(BASE, SLOT, OS_MEM_RESERVE | OS_MEM_COMMIT);
    assert_int_equal(virtual_memory_free(&memory, BASE, SLOT, OS_MEM_RELEASE),
                     OS_INVALID_PARAMETER);
    for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
        assert_int_equal(virtual_memory_free(&memory, BASE, 0, types[i]), OS_INVALID_PARAMETER);
    }
    assert_counts(SLOT, SLOT);
    release(BASE);
    assert_counts(0, 0);
}

static void freeing_foreign_memory_never_reaches_the_os(void **state)
{
    (void)state;
    uintptr_t view = fake_os_add_foreign(&fake, BASE, 4 * PAGE);
    const uintptr_t addresses[] = {0, 1, view, view + PAGE, BASE + SLOT, UINTPTR_MAX};
    for (size_t i = 0; i < sizeof(addresses) / sizeof(addresses[0]); i++) {
        assert_foreign(addresses[i], 0, OS_MEM_RELEASE);
        assert_foreign(addresses[i], PAGE, OS_MEM_DECOMMIT);
        assert_foreign(addresses[i], 0, OS_MEM_DECOMMIT);
    }
    assert_int_equal(fake_os_committed(&fake, view, 4 * PAGE), 4 * PAGE);
}

static void look_for_the_region(struct fake_os *os, enum fake_kind kind)
{
    struct region_snapshot region;
    bool *found = os->context;
    if (kind == FAKE_VIRTUAL_FREE) {
        *found = region_table_find(&memory.regions, BASE, &region);
    }
}

static void a_region_is_gone_from_the_table_before_the_os_releases_it(void **state)
{
    bool found = true;
    (void)state;
    alloc(BASE, SLOT, OS_MEM_RESERVE);
    fake.context = &found;
    fake.before = look_for_the_region;
    release(BASE);
    assert_false(found);
}

static void take_the_same_addresses(struct fake_os *os, enum fake_kind kind)
{
    if (kind == FAKE_VIRTUAL_FREE) {
        os->after = NULL;
        alloc(BASE, 2 * SLOT, OS_MEM_RESERVE | OS_MEM_COMMIT);
    }
}

static void another_thread_may_get_the_addresses_before_the_release_returns(void **state)
{
    struct region_info info;
    (void)state;
    alloc(BASE, SLOT, OS_MEM_RESERVE);
    fake.after = take_the_same_addresses;
    release(BASE);
    assert_counts(2 * SLOT, 2 * SLOT);
    assert_true(virtual_memory_next(&memory, 0, &info));
    assert_true(info.region.base == BASE);
    assert_int_equal(info.region.size, 2 * SLOT);
    release(BASE);
}

/* ---- counts ---- */

/* As after a write into our memory: no count wraps, and it is seen. */
static void a_count_that_would_fall_below_zero_breaks_the_budget(void **state)
{
    struct usage *const counts[] = {&budget.committed[BUDGET_PAGES], &budget.reserved};
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        uintptr_t base = alloc(0, 4 * PAGE, OS_MEM_RESERVE | OS_MEM_COMMIT);
        assert_true(usage_subtract(counts[i], PAGE));
        size_t less = usage_current(counts[i]);
        assert_int_equal(virtual_memory_free(&memory, base, 0, OS_MEM_RELEASE), OS_OK);
        assert_non_null(budget_broken(&budget));
        assert_fault(virtual_memory_check(&memory), budget_broken(&budget));
        assert_int_equal(usage_current(counts[i]), less);
        assert_true(usage_subtract(counts[i], less)); /* what there is: nothing */
        atomic_store(&budget.broken, NULL);
    }
}

/* ---- arguments that Windows refuses ---- */

/* Nobody may see the region gone for them, not even for a moment: the OS is not asked. */
static void what_windows_must_refuse_is_refused_before_anything_is_touched(void **state)
{
    static const struct {
        size_t size;
        uint32_t type;
    } calls[] = {{PAGE, OS_MEM_RELEASE},
                 {1, OS_MEM_RELEASE},
                 {0, OS_MEM_RELEASE | OS_MEM_DECOMMIT},
                 {PAGE, OS_MEM_RELEASE | 2},
                 {PAGE, 0},
                 {SIZE_MAX, OS_MEM_DECOMMIT},
                 {SIZE_MAX - PAGE, OS_MEM_DECOMMIT}};
    uintptr_t base = alloc(0, 20 * PAGE, OS_MEM_RESERVE | OS_MEM_COMMIT);
    (void)state;
    for (size_t i = 0; i < sizeof(calls) / sizeof(calls[0]); i++) {
        size_t asked = fake.calls[FAKE_VIRTUAL_FREE];
        assert_int_equal(virtual_memory_free(&memory, base, calls[i].size, calls[i].type),
                         OS_INVALID_PARAMETER);
        assert_int_equal(fake.calls[FAKE_VIRTUAL_FREE], asked);
        assert_counts(20 * PAGE, 20 * PAGE);
    }
    assert_int_equal(virtual_memory_free(&memory, base, 0, OS_MEM_RELEASE), OS_OK);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_decommit_takes_off_what_was_committed_and_no_more),
        TEST(a_decommit_of_size_0_at_the_base_takes_the_whole_region),
        TEST(a_decommit_that_leaves_its_region_fails_as_a_whole),
        TEST(a_decommit_in_the_middle_needs_no_memory),
        TEST(every_second_page_can_be_given_back_without_memory),
        TEST(a_release_takes_off_the_remaining_commit_and_the_reservation),
        TEST(release_twice_fails_and_leaves_the_neighbours_untouched),
        TEST(a_release_inside_a_region_is_refused_without_the_os),
        TEST(a_release_that_win32_refuses_leaves_the_region_alive),
        TEST(freeing_foreign_memory_never_reaches_the_os),
        TEST(a_region_is_gone_from_the_table_before_the_os_releases_it),
        TEST(another_thread_may_get_the_addresses_before_the_release_returns),
        TEST(a_count_that_would_fall_below_zero_breaks_the_budget),
        TEST(what_windows_must_refuse_is_refused_before_anything_is_touched),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
