/* SPDX-License-Identifier: MIT
 *
 * A struct virtual_memory on an OS that counts by itself, for the tests of each of its operations.
 * What is true after every test is judged in tear_down. Trap numbers in those tests are from the
 * list of what a naive implementation does to the CLR: 5 sub-allocation, 6 changed flags, 7 commit
 * without an address, 8 reset, 9 double counting, 27 memory for the tables themselves.
 */
#ifndef HOSTMEM_TESTS_VIRTUAL_MEMORY_FIXTURE_H
#define HOSTMEM_TESTS_VIRTUAL_MEMORY_FIXTURE_H

#include "support/fake_os.h"
#include "support/unit.h"

#include "core/pages/virtual_memory.h"

#define BASE ((uintptr_t)0x10000000)

static struct fake_os fake;
static struct budget budget;
static struct virtual_memory memory;

static inline int set_up_in(uintptr_t lowest, uintptr_t max_address)
{
    fake_os_init(&fake, lowest, max_address);
    budget_init(&budget);
    return virtual_memory_create(&memory, &fake.os, &budget) == OS_OK ? 0 : -1;
}

static inline int set_up(void **state)
{
    (void)state;
    fake_os_init_default(&fake);
    budget_init(&budget);
    return virtual_memory_create(&memory, &fake.os, &budget) == OS_OK ? 0 : -1;
}

/* Whatever a test has done, the table agrees with the OS in the end and leaves nothing behind. */
static inline int tear_down(void **state)
{
    const char *fault = virtual_memory_check(&memory);
    size_t reserved = 0, committed = 0;
    (void)state;
    fake_os_totals(&fake, &reserved, &committed);
    bool agree = usage_current(&budget.reserved) == reserved &&
                 usage_current(&budget.committed[BUDGET_PAGES]) == committed;
    virtual_memory_destroy(&memory);
    bool clean = usage_current(&memory.table_memory.committed) == 0;
    return fake_os_destroy(&fake) == 0 && fault == NULL && agree && clean ? 0 : -1;
}

static inline os_error try_alloc(uintptr_t address, size_t size, uint32_t type, uintptr_t *result)
{
    *result = POISON;
    return virtual_memory_alloc(&memory, address, size, type, OS_PAGE_READWRITE, BUDGET_TASK,
                                result);
}

static inline uintptr_t alloc(uintptr_t address, size_t size, uint32_t type)
{
    uintptr_t result;
    assert_int_equal(try_alloc(address, size, type, &result), OS_OK);
    assert_true(result != POISON);
    return result;
}

static inline void assert_alloc_fails(uintptr_t address, size_t size, uint32_t type,
                                      os_error expected)
{
    uintptr_t result;
    uint64_t picture = fake_os_picture(&fake);
    assert_int_equal(try_alloc(address, size, type, &result), expected);
    assert_true(result == POISON);
    assert_true(fake_os_picture(&fake) == picture);
    assert_sound(virtual_memory_check(&memory));
}

static inline void release(uintptr_t base)
{
    assert_int_equal(virtual_memory_free(&memory, base, 0, OS_MEM_RELEASE), OS_OK);
}

static inline void decommit(uintptr_t address, size_t size)
{
    assert_int_equal(virtual_memory_free(&memory, address, size, OS_MEM_DECOMMIT), OS_OK);
}

/* Refused, and the OS was not called at all. */
static inline void assert_foreign(uintptr_t address, size_t size, uint32_t type)
{
    size_t calls = fake_os_calls(&fake);
    assert_int_equal(virtual_memory_free(&memory, address, size, type), HM_FOREIGN);
    assert_int_equal(fake_os_calls(&fake), calls);
    assert_sound(virtual_memory_check(&memory));
}

/* Counts, tables, the table's measure, the OS's and the oracle all say the same. */
static inline void assert_counts(size_t reserved, size_t committed)
{
    size_t by_table = POISON, by_os = POISON, os_reserved = POISON, os_committed = POISON;
    assert_int_equal(usage_current(&budget.reserved), reserved);
    assert_int_equal(usage_current(&budget.committed[BUDGET_PAGES]), committed);
    fake_os_totals(&fake, &os_reserved, &os_committed);
    assert_int_equal(os_reserved, reserved);
    assert_int_equal(os_committed, committed);
    virtual_memory_measure(&memory, &by_table, &by_os);
    assert_int_equal(by_table, committed);
    assert_int_equal(by_os, committed);
    assert_sound(virtual_memory_check(&memory));
}

#endif
