/* SPDX-License-Identifier: MIT
 *
 * A region is found, and before its lock is had another thread has released it, or something else is
 * there: each schedule of two threads in which that happens, by one thread. The test holds the region's
 * lock and makes the call, which finds the region and its lock taken; what the other thread does
 * before it lets go is done then, from the lock's wait (os_native.h).
 *
 * What can come in between without a lock is in tests/model.
 */
#include "support/os_native.h"

#include "unit/virtual_memory_fixture.h"

static struct region_guard held;
static void (*other_thread)(void);
static size_t waits;

/* Whatever it does, it has let go before. */
static void let_the_other_thread_go_on(void)
{
    waits++;
    os_native_waiting = NULL;
    region_table_unlock(&memory.regions, &held);
    other_thread();
}

/* The next call that needs the lock of the region at `base` meets another thread, which does `what`. */
static void meet(uintptr_t base, void (*what)(void))
{
    assert_true(region_table_lock(&memory.regions, base, &held));
    other_thread = what;
    waits = 0;
    os_native_waiting = let_the_other_thread_go_on;
}

static void release_it(void)
{
    release(BASE);
}

/* A longer region that begins below. */
static void replace_it(void)
{
    release(BASE);
    assert_true(alloc(BASE - SLOT, 3 * SLOT, OS_MEM_RESERVE) == BASE - SLOT);
}

static void replace_it_by_the_same(void)
{
    release(BASE);
    alloc(BASE, SLOT, OS_MEM_RESERVE | OS_MEM_COMMIT);
}

/* The same descriptor, which may be used again, is of a region that lies elsewhere. */
static void move_it(void)
{
    uint32_t id = held.id;
    release(BASE);
    alloc(BASE + 64 * SLOT, SLOT, OS_MEM_RESERVE);
    assert_true(region_table_lock(&memory.regions, BASE + 64 * SLOT, &held));
    assert_int_equal(held.id, id);
    region_table_unlock(&memory.regions, &held);
}

/* ---- frees and commits ---- */

static void of_two_releases_one_finds_nothing(void **state)
{
    static void (*const others[])(void) = {release_it, move_it};
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        alloc(BASE, SLOT, OS_MEM_RESERVE);
        meet(BASE, others[i]);
        assert_int_equal(virtual_memory_free(&memory, BASE, 0, OS_MEM_RELEASE), HM_FOREIGN);
        assert_int_equal(waits, 1);
    }
    assert_counts(SLOT, 0);
}

/* As the OS would: it is the new region that is at the address. */
static void a_call_is_for_the_region_that_is_there_when_it_has_the_lock(void **state)
{
    (void)state;
    alloc(BASE, SLOT, OS_MEM_RESERVE);
    meet(BASE, replace_it_by_the_same);
    assert_int_equal(virtual_memory_free(&memory, BASE, PAGE, OS_MEM_DECOMMIT), OS_OK);
    assert_int_equal(waits, 1);
    assert_counts(SLOT, SLOT - PAGE);
    meet(BASE, replace_it);
    assert_int_equal(virtual_memory_free(&memory, BASE, 0, OS_MEM_RELEASE), HM_FOREIGN);
    assert_int_equal(waits, 1);
    assert_counts(3 * SLOT, 0);
}

static void a_commit_in_a_region_that_has_just_gone_is_refused_and_not_counted(void **state)
{
    (void)state;
    uintptr_t result;
    alloc(BASE, SLOT, OS_MEM_RESERVE);
    meet(BASE, release_it);
    assert_int_equal(try_alloc(BASE, PAGE, OS_MEM_COMMIT, &result), OS_INVALID_ADDRESS);
    assert_int_equal(waits, 1);
    assert_counts(0, 0);
    assert_int_equal(usage_current(&budget.commit.used), 0);
}

/* ---- a new reservation in the place of a stale region ---- */

static void find_it_stale(void)
{
    assert_int_equal(virtual_memory_free(&memory, BASE, 0, OS_MEM_RELEASE), OS_INVALID_ADDRESS);
}

/* The id is another region's by now. */
static void find_it_stale_and_use_its_id(void)
{
    uint32_t id = held.id;
    find_it_stale();
    alloc(BASE + 64 * SLOT, SLOT, OS_MEM_RESERVE);
    assert_true(region_table_lock(&memory.regions, BASE + 64 * SLOT, &held));
    assert_int_equal(held.id, id);
    region_table_unlock(&memory.regions, &held);
}

static void a_stale_region_is_dropped_by_one_of_two(void **state)
{
    static void (*const others[])(void) = {find_it_stale, find_it_stale_and_use_its_id};
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        alloc(BASE, SLOT, OS_MEM_RESERVE);
        fake_os_forget(&fake, BASE);
        meet(BASE, others[i]);
        alloc(BASE - SLOT, 3 * SLOT, OS_MEM_RESERVE);
        assert_int_equal(waits, 1);
        assert_int_equal(memory.freed_behind, i + 1);
        release(BASE - SLOT);
    }
    assert_counts(SLOT, 0);
}

/* ---- reports ---- */

static void next_goes_on_behind_a_region_that_has_just_gone(void **state)
{
    struct region_info info;
    (void)state;
    alloc(BASE, SLOT, OS_MEM_RESERVE);
    alloc(BASE + 8 * SLOT, 2 * SLOT, OS_MEM_RESERVE | OS_MEM_COMMIT);
    meet(BASE, release_it);
    assert_true(virtual_memory_next(&memory, BASE, &info));
    assert_int_equal(waits, 1);
    assert_true(info.region.base == BASE + 8 * SLOT);
    assert_int_equal(info.region.size, 2 * SLOT);
    assert_int_equal(info.committed, 2 * SLOT);
}

static void next_tells_of_one_region_what_it_tells(void **state)
{
    struct region_info info;
    (void)state;
    alloc(BASE, SLOT + PAGE, OS_MEM_RESERVE);
    meet(BASE, replace_it_by_the_same);
    assert_true(virtual_memory_next(&memory, 0, &info));
    assert_int_equal(waits, 1);
    assert_int_equal(info.region.size, SLOT);
    assert_int_equal(info.region.type, OS_MEM_RESERVE | OS_MEM_COMMIT);
    assert_int_equal(info.committed, SLOT);
    meet(BASE, replace_it); /* what is there now begins below, and was passed */
    assert_false(virtual_memory_next(&memory, BASE, &info));
    assert_int_equal(waits, 1);
}

static void measure_leaves_out_what_has_just_gone(void **state)
{
    size_t by_table = POISON, by_os = POISON;
    (void)state;
    alloc(BASE, SLOT, OS_MEM_RESERVE | OS_MEM_COMMIT);
    alloc(BASE + 8 * SLOT, SLOT, OS_MEM_RESERVE | OS_MEM_COMMIT);
    meet(BASE, release_it);
    virtual_memory_measure(&memory, &by_table, &by_os);
    assert_int_equal(waits, 1);
    assert_int_equal(by_table, SLOT);
    assert_int_equal(by_os, SLOT);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(of_two_releases_one_finds_nothing),
        TEST(a_call_is_for_the_region_that_is_there_when_it_has_the_lock),
        TEST(a_commit_in_a_region_that_has_just_gone_is_refused_and_not_counted),
        TEST(a_stale_region_is_dropped_by_one_of_two),
        TEST(next_goes_on_behind_a_region_that_has_just_gone),
        TEST(next_tells_of_one_region_what_it_tells),
        TEST(measure_leaves_out_what_has_just_gone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
