/* SPDX-License-Identifier: MIT
 *
 * Every call that an operation makes to the OS is made to fail, one after the other, until the
 * operation succeeds. After each failure the tables are sound, the counts are what they were, the
 * OS has exactly what it had, and the error is the documented one: that of the OS when it refused
 * the runtime's request, OS_NOT_ENOUGH_MEMORY when there was no memory for the tables (trap 27).
 */
#include "support/fake_os.h"
#include "support/unit.h"

#include "core/pages/virtual_memory.h"

#define BASE ((uintptr_t)0x10000000)
#define FRONTIER ((uintptr_t)GIB)

static struct fake_os fake;
static struct budget budget;
static struct virtual_memory memory;

/* One operation. `failures` is how many of its calls can fail. */
struct fault_case {
    void (*prepare)(void);
    os_error (*operate)(uintptr_t *result);
    size_t failures;
};

static os_error call_alloc(uintptr_t address, size_t size, uint32_t type, uintptr_t *result)
{
    return virtual_memory_alloc(&memory, address, size, type, OS_PAGE_READWRITE, BUDGET_TASK,
                                result);
}

static void alloc(uintptr_t address, size_t size, uint32_t type)
{
    uintptr_t result;
    assert_int_equal(call_alloc(address, size, type, &result), OS_OK);
}

struct picture {
    uint64_t os;
    size_t reserved;
    size_t committed;
    size_t live;
};

static struct picture take_picture(void)
{
    return (struct picture){fake_os_picture(&fake), usage_current(&budget.reserved),
                            usage_current(&budget.committed[BUDGET_PAGES]),
                            usage_current(&memory.regions.live)};
}

static void assert_same(struct picture now, struct picture before)
{
    assert_true(now.os == before.os);
    assert_int_equal(now.reserved, before.reserved);
    assert_int_equal(now.committed, before.committed);
    assert_int_equal(now.live, before.live);
}

static void assert_all_agree(void)
{
    size_t reserved, committed, by_table = POISON, by_os = POISON;
    assert_sound(virtual_memory_check(&memory));
    fake_os_totals(&fake, &reserved, &committed);
    assert_int_equal(usage_current(&budget.reserved), reserved);
    assert_int_equal(usage_current(&budget.committed[BUDGET_PAGES]), committed);
    virtual_memory_measure(&memory, &by_table, &by_os);
    assert_int_equal(by_table, committed);
    assert_int_equal(by_os, committed);
}

static void begin(const struct fault_case *fault)
{
    fake_os_init_default(&fake);
    budget_init(&budget);
    assert_int_equal(virtual_memory_create(&memory, &fake.os, &budget), OS_OK);
    if (fault->prepare != NULL) {
        fault->prepare();
    }
    assert_all_agree();
}

static void end(void)
{
    virtual_memory_destroy(&memory);
    assert_int_equal(usage_current(&memory.table_memory.committed), 0);
    assert_int_equal(fake_os_destroy(&fake), 0);
}

/* The call that was made to fail decides what the operation must return. */
static void assert_documented(os_error error)
{
    if (fake.failed_kind == FAKE_TABLE_RESERVE || fake.failed_kind == FAKE_TABLE_COMMIT) {
        assert_int_equal(error, OS_NOT_ENOUGH_MEMORY);
    } else if (fake.last[FAKE_VIRTUAL_FREE].type == OS_MEM_RELEASE &&
               fake.failed_kind == FAKE_VIRTUAL_FREE) {
        assert_int_equal(error, HM_BROKEN); /* the region is intact: nothing could be refused */
    } else {
        assert_int_equal(error, FAKE_COMMITMENT_LIMIT);
    }
}

static void run(struct fault_case fault)
{
    uintptr_t result = POISON;
    begin(&fault);
    assert_int_equal(fault.operate(&result), OS_OK);
    const struct picture done = take_picture();
    const uint32_t ids = memory.regions.used_count;
    end();

    size_t nth = 1;
    for (;; nth++) {
        begin(&fault);
        const struct picture before = take_picture();
        result = POISON;
        fake_os_fail(&fake, FAKE_ANY_KIND, nth);
        os_error error = fault.operate(&result);
        bool failed = fake.failed_kind != FAKE_ANY_KIND;
        fake_os_fail(&fake, FAKE_ANY_KIND, 0);
        if (!failed) {
            assert_int_equal(error, OS_OK);
            assert_all_agree();
            end();
            break;
        }
        assert_true(result == POISON);
        assert_same(take_picture(), before);
        assert_all_agree();

        assert_int_equal(fault.operate(&result), OS_OK); /* nothing is in the way any more */
        assert_same(take_picture(), done);
        assert_all_agree();
        assert_int_equal(memory.regions.used_count, ids); /* the id was given back */
        assert_int_equal(usage_current(&memory.table_memory.committed),
                         fake_os_table_committed(&fake));
        end();
    }
    assert_int_equal(nth - 1, fault.failures);

    for (nth = 1; nth <= fault.failures; nth++) {
        begin(&fault);
        fake_os_fail(&fake, FAKE_ANY_KIND, nth);
        assert_documented(fault.operate(&result));
        end(); /* straight from the failure, nothing is left either */
    }
}

/* ---- reserve ---- */

static os_error reserve(uintptr_t *result)
{
    return call_alloc(BASE, SLOT, OS_MEM_RESERVE, result);
}

static void the_first_reserve(void **state)
{
    (void)state;
    run((struct fault_case){NULL, reserve, 2}); /* ids, the OS */
}

static void reserve_elsewhere(void)
{
    alloc(BASE + 16 * SLOT, SLOT, OS_MEM_RESERVE | OS_MEM_COMMIT);
}

static void another_reserve_in_the_same_unit(void **state)
{
    (void)state;
    run((struct fault_case){reserve_elsewhere, reserve, 3}); /* the OS, two pages of nodes */
}

static void reserve_both(void)
{
    reserve_elsewhere();
    alloc(BASE, SLOT, OS_MEM_RESERVE);
    alloc(FRONTIER - 2 * SLOT, SLOT, OS_MEM_RESERVE);
    alloc(FRONTIER + SLOT, SLOT, OS_MEM_RESERVE);
}

static os_error reserve_and_commit_across_a_border(uintptr_t *result)
{
    return call_alloc(FRONTIER - SLOT, 2 * SLOT, OS_MEM_RESERVE | OS_MEM_COMMIT, result);
}

static void a_reserve_and_commit_across_a_border(void **state)
{
    (void)state;
    run((struct fault_case){NULL, reserve_and_commit_across_a_border, 2});
    run((struct fault_case){reserve_both, reserve_and_commit_across_a_border, 2}); /* two nodes */
}

static void use_all_ids_there_are(void)
{
    for (uintptr_t i = 0; i < 1023; i++) { /* id 0 is none */
        alloc(BASE + (i + 1) * SLOT, PAGE, OS_MEM_RESERVE);
    }
}

static void the_reserve_that_needs_more_ids(void **state)
{
    (void)state;
    run((struct fault_case){use_all_ids_there_are, reserve, 2});
}

static os_error commit_without_address(uintptr_t *result)
{
    return call_alloc(0, 5 * PAGE, OS_MEM_COMMIT, result);
}

static void a_commit_without_an_address(void **state)
{
    (void)state;
    run((struct fault_case){NULL, commit_without_address, 2});
}

/* ---- commit ---- */

static void reserve_large(void)
{
    alloc(BASE, 8 * MIB, OS_MEM_RESERVE);
}

static os_error commit(uintptr_t *result)
{
    return call_alloc(BASE + 5 * PAGE - 1, 3 * PAGE, OS_MEM_COMMIT, result);
}

static void a_commit_into_an_empty_region(void **state)
{
    (void)state;
    run((struct fault_case){reserve_large, commit, 1});
}

static void commit_three_runs(void)
{
    reserve_large();
    alloc(BASE, PAGE, OS_MEM_COMMIT);
    alloc(BASE + 20 * PAGE, 10 * PAGE, OS_MEM_COMMIT);
    alloc(BASE + 40 * PAGE, 10 * PAGE, OS_MEM_COMMIT);
}

static void a_commit_that_turns_runs_into_a_tree(void **state)
{
    (void)state;
    run((struct fault_case){commit_three_runs, commit, 1}); /* the nodes are there */
}

static void reserve_a_gib(void)
{
    alloc(BASE, GIB, OS_MEM_RESERVE);
}

static os_error commit_a_gib(uintptr_t *result)
{
    return call_alloc(BASE, GIB, OS_MEM_COMMIT, result);
}

static os_error reserve_and_commit_a_gib(uintptr_t *result)
{
    return call_alloc(BASE, GIB, OS_MEM_RESERVE | OS_MEM_COMMIT, result);
}

/* 273 nodes (265 on 32-bit systems): two blocks beside the first. */
static void a_commit_that_needs_blocks_of_nodes(void **state)
{
    (void)state;
    run((struct fault_case){reserve_a_gib, commit_a_gib, 2 * 2 + 1});
    run((struct fault_case){NULL, reserve_and_commit_a_gib, 2 * 2 + 2});
}

static void commit_four_runs(void)
{
    commit_three_runs();
    alloc(BASE + 60 * PAGE, 10 * PAGE, OS_MEM_COMMIT);
}

static void a_commit_into_a_tree(void **state)
{
    (void)state;
    run((struct fault_case){commit_four_runs, commit, 1});
}

static void commit_all(void)
{
    alloc(BASE, 8 * MIB, OS_MEM_RESERVE | OS_MEM_COMMIT);
}

static void a_commit_of_what_is_committed(void **state)
{
    (void)state;
    run((struct fault_case){commit_all, commit, 1});
}

static void map_a_view(void)
{
    fake_os_add_foreign(&fake, BASE, 16 * PAGE);
}

static void a_commit_into_a_foreign_view(void **state)
{
    (void)state;
    run((struct fault_case){map_a_view, commit, 1});
}

static os_error reset(uintptr_t *result)
{
    return call_alloc(BASE, PAGE, OS_MEM_RESET, result);
}

static void a_reset(void **state)
{
    (void)state;
    run((struct fault_case){commit_all, reset, 1});
}

/* ---- free ---- */

static os_error decommit(uintptr_t *result)
{
    os_error error = virtual_memory_free(&memory, BASE + 22 * PAGE, 2 * PAGE, OS_MEM_DECOMMIT);
    *result = error == OS_OK ? 0 : *result;
    return error;
}

static void a_decommit_that_turns_runs_into_a_tree(void **state)
{
    (void)state;
    run((struct fault_case){commit_three_runs, decommit, 1}); /* never for lack of memory */
}

static void a_decommit_from_a_tree(void **state)
{
    (void)state;
    run((struct fault_case){commit_four_runs, decommit, 1});
}

static os_error decommit_everything(uintptr_t *result)
{
    os_error error = virtual_memory_free(&memory, BASE, 0, OS_MEM_DECOMMIT);
    *result = error == OS_OK ? 0 : *result;
    return error;
}

static void a_decommit_of_the_whole_region(void **state)
{
    (void)state;
    run((struct fault_case){commit_three_runs, decommit_everything, 1});
    run((struct fault_case){commit_four_runs, decommit_everything, 1});
}

static os_error release(uintptr_t *result)
{
    os_error error = virtual_memory_free(&memory, BASE, 0, OS_MEM_RELEASE);
    *result = error == OS_OK ? 0 : *result;
    return error;
}

static void a_release(void **state)
{
    (void)state;
    run((struct fault_case){reserve_large, release, 1});
    run((struct fault_case){commit_three_runs, release, 1});
    run((struct fault_case){commit_four_runs, release, 1});
}

static void use_the_region(void)
{
    uintptr_t result = POISON;
    assert_int_equal(reset(&result), OS_OK);
    assert_int_equal(commit(&result), OS_OK);
    assert_int_equal(decommit(&result), OS_OK);
    assert_all_agree();
}

static void a_region_whose_release_failed_is_as_usable_as_before(void **state)
{
    uintptr_t result = POISON;
    (void)state;
    begin(&(struct fault_case){commit_four_runs, release, 1});
    for (size_t i = 0; i < 3; i++) {
        fake_os_fail(&fake, FAKE_VIRTUAL_FREE, 1);
        assert_int_equal(release(&result), HM_BROKEN);
        use_the_region();
    }
    assert_int_equal(release(&result), OS_OK);
    assert_all_agree();
    end();
}

/* ---- create, measure ---- */

static void create_leaves_nothing_behind_when_it_fails(void **state)
{
    size_t nth = 1;
    (void)state;
    fake_os_init_default(&fake);
    for (;; nth++) {
        fake_os_fail(&fake, FAKE_ANY_KIND, nth);
        budget_init(&budget);
        os_error error = virtual_memory_create(&memory, &fake.os, &budget);
        if (error == OS_OK) {
            break;
        }
        assert_int_equal(error, OS_NOT_ENOUGH_MEMORY);
        assert_int_equal(fake.table_count, 0);
        assert_int_equal(usage_current(&memory.table_memory.committed), 0);
    }
    assert_int_equal(nth - 1, 6);
    end();
}

static void a_measure_whose_query_fails_ends_and_changes_nothing(void **state)
{
    (void)state;
    begin(&(struct fault_case){commit_three_runs, NULL, 0});
    const struct picture before = take_picture();
    for (size_t nth = 1; nth <= 3; nth++) { /* whether both ends are there, and what is committed */
        size_t by_table = POISON, by_os = POISON;
        fake_os_fail(&fake, FAKE_VIRTUAL_QUERY, nth);
        virtual_memory_measure(&memory, &by_table, &by_os);
        assert_int_equal(by_table, 21 * PAGE);
        assert_int_equal(by_os, nth < 3 ? 21 * PAGE : 0);
        assert_same(take_picture(), before);
        assert_all_agree();
    }
    end();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_first_reserve),
        cmocka_unit_test(another_reserve_in_the_same_unit),
        cmocka_unit_test(a_reserve_and_commit_across_a_border),
        cmocka_unit_test(the_reserve_that_needs_more_ids),
        cmocka_unit_test(a_commit_without_an_address),
        cmocka_unit_test(a_commit_into_an_empty_region),
        cmocka_unit_test(a_commit_that_turns_runs_into_a_tree),
        cmocka_unit_test(a_commit_that_needs_blocks_of_nodes),
        cmocka_unit_test(a_commit_into_a_tree),
        cmocka_unit_test(a_commit_of_what_is_committed),
        cmocka_unit_test(a_commit_into_a_foreign_view),
        cmocka_unit_test(a_reset),
        cmocka_unit_test(a_decommit_that_turns_runs_into_a_tree),
        cmocka_unit_test(a_decommit_from_a_tree),
        cmocka_unit_test(a_decommit_of_the_whole_region),
        cmocka_unit_test(a_release),
        cmocka_unit_test(a_region_whose_release_failed_is_as_usable_as_before),
        cmocka_unit_test(create_leaves_nothing_behind_when_it_fails),
        cmocka_unit_test(a_measure_whose_query_fails_ends_and_changes_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
