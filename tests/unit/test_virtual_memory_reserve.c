/* SPDX-License-Identifier: MIT
 *
 * virtual_memory_alloc that reserves: what is counted, what the OS is asked, what happens at the
 * edges of address spaces, and when it is refused.
 */
#include "unit/virtual_memory_fixture.h"

/* ---- reserve ---- */

static void one_request_is_one_os_reservation_with_the_same_arguments(void **state) /* traps 5, 6 */
{
    const uint32_t type = OS_MEM_RESERVE | FAKE_MEM_WRITE_WATCH | OS_MEM_TOP_DOWN;
    (void)state;
    uintptr_t result;
    assert_int_equal(virtual_memory_alloc(&memory, 0, 12345, type, FAKE_PAGE_EXECUTE_READWRITE,
                                          BUDGET_TASK, &result),
                     OS_OK);
    const struct fake_record *call = &fake.last[FAKE_VIRTUAL_ALLOC];
    assert_int_equal(fake.calls[FAKE_VIRTUAL_ALLOC], 1);
    assert_true(call->address == 0);
    assert_int_equal(call->size, 12345);
    assert_int_equal(call->type, type);
    assert_int_equal(call->protect, FAKE_PAGE_EXECUTE_READWRITE);
    struct region_info info;
    assert_true(virtual_memory_next(&memory, 0, &info));
    assert_true(info.region.base == result);
    assert_int_equal(info.region.size, 4 * PAGE);
    assert_int_equal(info.region.type, type);
    assert_int_equal(info.region.protect, FAKE_PAGE_EXECUTE_READWRITE);
    uintptr_t second = alloc(0, SLOT, OS_MEM_RESERVE);
    assert_int_equal(fake.calls[FAKE_VIRTUAL_ALLOC], 2);
    assert_true(fake_os_region(&fake, second)->base == second);
    assert_counts(4 * PAGE + SLOT, 0);
}

static void sizes_count_in_whole_pages(void **state)
{
    (void)state;
    alloc(0, 1, OS_MEM_RESERVE);
    assert_counts(PAGE, 0);
    alloc(0, PAGE + 1, OS_MEM_RESERVE | OS_MEM_COMMIT);
    assert_counts(3 * PAGE, 2 * PAGE);
}

static void a_commit_without_an_address_is_a_reserve_and_commit(void **state) /* trap 7 */
{
    (void)state;
    uintptr_t base = alloc(0, 3 * PAGE, OS_MEM_COMMIT);
    assert_int_equal(fake.last[FAKE_VIRTUAL_ALLOC].type, OS_MEM_COMMIT);
    assert_counts(3 * PAGE, 3 * PAGE);
    release(base);
    assert_counts(0, 0);
}

static void top_down_is_placed_by_the_os_and_tracked_there(void **state) /* trap 6 */
{
    (void)state;
    uintptr_t low = alloc(0, SLOT, OS_MEM_RESERVE);
    uintptr_t high = alloc(0, SLOT, OS_MEM_RESERVE | OS_MEM_TOP_DOWN);
    assert_true(high > low);
    assert_true(high + SLOT == fake.os.max_address + 1);
    release(high);
    assert_counts(SLOT, 0);
}

static void an_explicit_reserve_is_rounded_as_windows_does(void **state)
{
    (void)state;
    assert_true(alloc(BASE + 5, SLOT, OS_MEM_RESERVE) == BASE);
    assert_counts(SLOT + PAGE, 0);
    assert_true(alloc(BASE + 3 * SLOT - 1, 2, OS_MEM_RESERVE | OS_MEM_COMMIT) == BASE + 2 * SLOT);
    assert_counts(2 * SLOT + 2 * PAGE, SLOT + PAGE);
    release(BASE);
    release(BASE + 2 * SLOT);
    assert_counts(0, 0);
}

static void a_reserve_the_os_refuses_changes_nothing_and_is_no_peak(void **state)
{
    const uint32_t reserve = OS_MEM_RESERVE;
    (void)state;
    alloc(BASE, SLOT, reserve);
    assert_alloc_fails(BASE, SLOT, reserve, OS_INVALID_ADDRESS);
    assert_alloc_fails(BASE - SLOT, 2 * SLOT, reserve | OS_MEM_COMMIT, OS_INVALID_ADDRESS);
    assert_alloc_fails(0, 0, reserve, OS_INVALID_PARAMETER);
    assert_alloc_fails(BASE + SLOT, 0, reserve, OS_INVALID_PARAMETER);
    assert_alloc_fails(0x1000, SLOT, reserve, OS_INVALID_PARAMETER); /* below the granularity */
    assert_alloc_fails(0, fake.os.max_address, reserve | OS_MEM_COMMIT, OS_NOT_ENOUGH_MEMORY);
    assert_alloc_fails(0, PAGE, reserve | 0x40000000u, OS_INVALID_PARAMETER);
    assert_counts(SLOT, 0);
    assert_int_equal(usage_peak(&budget.reserved), SLOT);
    assert_int_equal(usage_peak(&budget.committed[BUDGET_PAGES]), 0);
}

static void sizes_that_overflow_are_left_to_the_os(void **state)
{
    const uint32_t both = OS_MEM_RESERVE | OS_MEM_COMMIT;
    const size_t sizes[] = {
        SIZE_MAX,        SIZE_MAX - 1,    SIZE_MAX - PAGE,    SIZE_MAX - 2 * PAGE,
        SIZE_MAX - SLOT, SIZE_MAX - BASE, SIZE_MAX - BASE + 1};
    (void)state;
    alloc(BASE, SLOT, OS_MEM_RESERVE);
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        assert_alloc_fails(0, sizes[i], both, OS_INVALID_PARAMETER);
        assert_alloc_fails(BASE + 5, sizes[i], both, OS_INVALID_PARAMETER);
        assert_alloc_fails(BASE + SLOT - 1, sizes[i], OS_MEM_RESERVE, OS_INVALID_PARAMETER);
        assert_alloc_fails(BASE + 5, sizes[i], OS_MEM_COMMIT, OS_INVALID_PARAMETER);
        assert_alloc_fails(BASE + SLOT - 1, sizes[i], OS_MEM_COMMIT, OS_INVALID_PARAMETER);
        assert_int_equal(virtual_memory_free(&memory, BASE + 5, sizes[i], OS_MEM_DECOMMIT),
                         OS_INVALID_PARAMETER);
    }
    assert_counts(SLOT, 0);
    assert_int_equal(usage_peak(&budget.reserved), SLOT);

    /* In a region with three runs, ranges that wrap and end below where they begin. */
    uintptr_t large = alloc(0, 8 * MIB, OS_MEM_RESERVE);
    for (size_t i = 0; i < 3; i++) {
        alloc(large + 40 * (i + 1) * PAGE, 20 * PAGE, OS_MEM_COMMIT);
    }
    for (size_t pages = 1; pages < 190; pages += 3) {
        size_t size = SIZE_MAX - pages * PAGE;
        assert_alloc_fails(large + 200 * PAGE, size, OS_MEM_COMMIT, OS_INVALID_PARAMETER);
        assert_int_equal(virtual_memory_free(&memory, large + 150 * PAGE, size, OS_MEM_DECOMMIT),
                         OS_INVALID_PARAMETER);
    }
    assert_counts(SLOT + 8 * MIB, 60 * PAGE);
}

/* ---- large regions and edges ---- */

static void large_regions_across_gib_borders_are_exact(void **state)
{
    const uintptr_t base = (uintptr_t)GIB - 3 * SLOT;
    (void)state;
    alloc(base, GIB / 2, OS_MEM_RESERVE);
    for (size_t i = 0; i < 8; i++) { /* around the border, every second page */
        alloc((uintptr_t)GIB - 8 * PAGE + 2 * i * PAGE, 1, OS_MEM_COMMIT);
    }
    assert_counts(GIB / 2, 8 * PAGE);
    alloc((uintptr_t)GIB - SLOT, 2 * SLOT, OS_MEM_COMMIT);
    assert_counts(GIB / 2, 2 * SLOT);
    decommit(base, GIB / 2);
    assert_counts(GIB / 2, 0);
    release(base);
    assert_counts(0, 0);
}

static void the_last_slot_of_a_32_bit_space_can_be_used(void **state)
{
    (void)state;
    virtual_memory_destroy(&memory);
    assert_int_equal(fake_os_destroy(&fake), 0);
    assert_int_equal(set_up_in(0xFFFD0000u, 0xFFFEFFFFu), 0);
    uintptr_t last = alloc(0, SLOT, OS_MEM_RESERVE | OS_MEM_TOP_DOWN);
    assert_true(last == 0xFFFE0000u);
    alloc(last + SLOT - 1, 1, OS_MEM_COMMIT);
    assert_counts(SLOT, PAGE);
    assert_alloc_fails(last + SLOT - 1, 2, OS_MEM_COMMIT, OS_INVALID_PARAMETER);
    alloc(0, SLOT, OS_MEM_RESERVE);
    assert_alloc_fails(0, PAGE, OS_MEM_RESERVE, OS_NOT_ENOUGH_MEMORY); /* the space is full */
    assert_counts(2 * SLOT, PAGE);
    release(last);
    assert_counts(SLOT, 0);
}

#if UINTPTR_MAX > UINT32_MAX
static void a_region_of_256_gib_is_exact(void **state)
{
    (void)state;
    uintptr_t base = alloc(((uintptr_t)5 << 38) + 7 * SLOT, 256 * GIB, OS_MEM_RESERVE);
    for (size_t i = 0; i < 5; i++) {
        alloc(base + i * 60 * GIB + PAGE, 2 * PAGE, OS_MEM_COMMIT);
    }
    alloc(base + 256 * GIB - PAGE, PAGE, OS_MEM_COMMIT);
    assert_counts(256 * GIB, 11 * PAGE);
    assert_foreign(base + GIB, 0, OS_MEM_RELEASE);
    decommit(base, 130 * GIB);
    assert_counts(256 * GIB, 5 * PAGE);
    release(base);
    assert_counts(0, 0);
}

static void the_47_bit_edge_can_be_used(void **state)
{
    const uintptr_t end = (uintptr_t)1 << 47;
    (void)state;
    virtual_memory_destroy(&memory);
    assert_int_equal(fake_os_destroy(&fake), 0);
    assert_int_equal(set_up_in(end - 2 * SLOT, end - 1), 0);
    uintptr_t base = alloc(end - SLOT, SLOT, OS_MEM_RESERVE | OS_MEM_COMMIT);
    assert_counts(SLOT, SLOT);
    assert_alloc_fails(end, PAGE, OS_MEM_RESERVE, OS_INVALID_PARAMETER);
    assert_foreign(end, 0, OS_MEM_RELEASE);
    release(base);
}

static void an_address_that_the_table_cannot_hold_is_given_back(void **state) /* trap 27 */
{
    (void)state;
    virtual_memory_destroy(&memory);
    assert_int_equal(fake_os_destroy(&fake), 0);
    assert_int_equal(set_up_in(SLOT, ((uintptr_t)1 << 56) - 1), 0);
    assert_alloc_fails((uintptr_t)1 << 48, SLOT, OS_MEM_RESERVE | OS_MEM_COMMIT,
                       OS_NOT_ENOUGH_MEMORY);
    assert_int_equal(fake.calls[FAKE_VIRTUAL_FREE], 1);
    assert_int_equal(fake.region_count, 0);
    alloc(((uintptr_t)1 << 48) - SLOT, SLOT, OS_MEM_RESERVE | OS_MEM_COMMIT);
    assert_counts(SLOT, SLOT);
}

static void a_reservation_that_can_be_neither_recorded_nor_given_back_is_reported(void **state)
{
    const uintptr_t beyond = (uintptr_t)1 << 48;
    uintptr_t result;
    (void)state;
    virtual_memory_destroy(&memory);
    assert_int_equal(fake_os_destroy(&fake), 0);
    assert_int_equal(set_up_in(SLOT, ((uintptr_t)1 << 56) - 1), 0);
    fake_os_fail(&fake, FAKE_VIRTUAL_FREE, 1);
    assert_int_equal(try_alloc(beyond, SLOT, OS_MEM_RESERVE | OS_MEM_COMMIT, &result), HM_BROKEN);
    assert_true(result == POISON);
    assert_int_equal(usage_current(&budget.reserved), 0); /* it is nobody's */
    assert_int_equal(usage_current(&budget.commit.used), 0);
    assert_int_equal(fake.os.virtual_free(&fake.os, beyond, 0, OS_MEM_RELEASE), OS_OK);
}
#endif

static void a_reserve_beyond_the_budget_asks_the_os_for_nothing(void **state)
{
    const struct budget_limits limits = {SLOT, 0, 2 * SLOT, false};
    (void)state;
    budget_set_limits(&budget, &limits);
    size_t calls = fake.calls[FAKE_VIRTUAL_ALLOC];
    assert_alloc_fails(0, 3 * SLOT, OS_MEM_RESERVE, HM_OVER_RESERVE);
    assert_alloc_fails(0, 2 * SLOT, OS_MEM_RESERVE | OS_MEM_COMMIT, HM_OVER_COMMIT);
    assert_int_equal(fake.calls[FAKE_VIRTUAL_ALLOC], calls);
    assert_counts(0, 0);
    alloc(0, 2 * SLOT, OS_MEM_RESERVE);
    assert_int_equal(memory.regions.used_count, 2); /* the ids of the refused ones came again */
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(one_request_is_one_os_reservation_with_the_same_arguments),
        TEST(sizes_count_in_whole_pages),
        TEST(a_commit_without_an_address_is_a_reserve_and_commit),
        TEST(top_down_is_placed_by_the_os_and_tracked_there),
        TEST(an_explicit_reserve_is_rounded_as_windows_does),
        TEST(a_reserve_the_os_refuses_changes_nothing_and_is_no_peak),
        TEST(sizes_that_overflow_are_left_to_the_os),
        TEST(large_regions_across_gib_borders_are_exact),
        TEST(the_last_slot_of_a_32_bit_space_can_be_used),
#if UINTPTR_MAX > UINT32_MAX
        TEST(a_region_of_256_gib_is_exact),
        TEST(the_47_bit_edge_can_be_used),
        TEST(an_address_that_the_table_cannot_hold_is_given_back),
        TEST(a_reservation_that_can_be_neither_recorded_nor_given_back_is_reported),
#endif
        TEST(a_reserve_beyond_the_budget_asks_the_os_for_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
