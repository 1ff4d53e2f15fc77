/* SPDX-License-Identifier: MIT
 *
 * Every rule of virtual_memory.h, against an OS that keeps its own books: what is counted, what is
 * passed on unchanged, and what never reaches the OS. Trap numbers are those of the list of what a
 * naive implementation does to the CLR: 5 sub-allocation, 6 changed flags, 7 commit without an
 * address, 8 reset, 9 double counting, 27 memory for the tables themselves.
 */
#include "support/fake_os.h"
#include "support/unit.h"

#include "core/virtual_memory.h"

#define BASE ((uintptr_t)0x10000000)

static struct fake_os fake;
static struct virtual_memory memory;

static int set_up_in(uintptr_t lowest, uintptr_t max_address)
{
    fake_os_init(&fake, lowest, max_address);
    return virtual_memory_create(&memory, &fake.os) == OS_OK ? 0 : -1;
}

static int set_up(void **state)
{
    (void)state;
    fake_os_init_default(&fake);
    return virtual_memory_create(&memory, &fake.os) == OS_OK ? 0 : -1;
}

/* Whatever a test has done, the table agrees with the OS in the end and leaves nothing behind. */
static int tear_down(void **state)
{
    const char *fault = virtual_memory_check(&memory);
    size_t reserved = 0, committed = 0;
    (void)state;
    fake_os_totals(&fake, &reserved, &committed);
    bool agree = usage_current(&memory.reserved) == reserved &&
                 usage_current(&memory.committed) == committed;
    virtual_memory_destroy(&memory);
    bool clean = usage_current(&memory.table_memory.committed) == 0;
    return fake_os_destroy(&fake) == 0 && fault == NULL && agree && clean ? 0 : -1;
}

static os_error try_alloc(uintptr_t address, size_t size, uint32_t type, uintptr_t *result)
{
    *result = POISON;
    return virtual_memory_alloc(&memory, address, size, type, OS_PAGE_READWRITE, BUDGET_TASK,
                                result);
}

static uintptr_t alloc(uintptr_t address, size_t size, uint32_t type)
{
    uintptr_t result;
    assert_int_equal(try_alloc(address, size, type, &result), OS_OK);
    assert_true(result != POISON);
    return result;
}

static void assert_alloc_fails(uintptr_t address, size_t size, uint32_t type, os_error expected)
{
    uintptr_t result;
    uint64_t picture = fake_os_picture(&fake);
    assert_int_equal(try_alloc(address, size, type, &result), expected);
    assert_true(result == POISON);
    assert_true(fake_os_picture(&fake) == picture);
    assert_sound(virtual_memory_check(&memory));
}

static void release(uintptr_t base)
{
    assert_int_equal(virtual_memory_free(&memory, base, 0, OS_MEM_RELEASE), OS_OK);
}

static void decommit(uintptr_t address, size_t size)
{
    assert_int_equal(virtual_memory_free(&memory, address, size, OS_MEM_DECOMMIT), OS_OK);
}

/* Refused, and the OS was not called at all. */
static void assert_foreign(uintptr_t address, size_t size, uint32_t type)
{
    size_t calls = fake_os_calls(&fake);
    assert_int_equal(virtual_memory_free(&memory, address, size, type), HM_FOREIGN);
    assert_int_equal(fake_os_calls(&fake), calls);
    assert_sound(virtual_memory_check(&memory));
}

/* Counts, tables, the table's measure, the OS's and the oracle all say the same. */
static void assert_counts(size_t reserved, size_t committed)
{
    size_t by_table = POISON, by_os = POISON, os_reserved = POISON, os_committed = POISON;
    assert_int_equal(usage_current(&memory.reserved), reserved);
    assert_int_equal(usage_current(&memory.committed), committed);
    fake_os_totals(&fake, &os_reserved, &os_committed);
    assert_int_equal(os_reserved, reserved);
    assert_int_equal(os_committed, committed);
    virtual_memory_measure(&memory, &by_table, &by_os);
    assert_int_equal(by_table, committed);
    assert_int_equal(by_os, committed);
    assert_sound(virtual_memory_check(&memory));
}

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
    assert_int_equal(usage_peak(&memory.reserved), SLOT);
    assert_int_equal(usage_peak(&memory.committed), 0);
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
    assert_int_equal(usage_peak(&memory.reserved), SLOT);

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

/* ---- commit ---- */

static void overlapping_commits_count_each_page_once(void **state) /* trap 9 */
{
    (void)state;
    uintptr_t base = alloc(0, 16 * PAGE, OS_MEM_RESERVE);
    assert_true(alloc(base, 4 * PAGE, OS_MEM_COMMIT) == base);
    assert_counts(16 * PAGE, 4 * PAGE);
    assert_true(alloc(base + 2 * PAGE, 4 * PAGE, OS_MEM_COMMIT) == base + 2 * PAGE);
    assert_counts(16 * PAGE, 6 * PAGE);
    alloc(base, 16 * PAGE, OS_MEM_COMMIT);
    assert_counts(16 * PAGE, 16 * PAGE);
}

static void unaligned_commits_count_every_page_they_touch(void **state) /* trap 9 */
{
    (void)state;
    uintptr_t base = alloc(0, 16 * PAGE, OS_MEM_RESERVE);
    assert_true(alloc(base + PAGE - 1, 2, OS_MEM_COMMIT) == base);
    assert_counts(16 * PAGE, 2 * PAGE);
    assert_true(alloc(base + 2 * PAGE + 7, 1, OS_MEM_COMMIT) == base + 2 * PAGE);
    assert_counts(16 * PAGE, 3 * PAGE);
    assert_true(alloc(base + 5, 3 * PAGE, OS_MEM_COMMIT) == base);
    assert_counts(16 * PAGE, 4 * PAGE);
    assert_true(alloc(base + 15 * PAGE + 4095, 1, OS_MEM_COMMIT) == base + 15 * PAGE);
    assert_counts(16 * PAGE, 5 * PAGE);
}

static void committing_again_is_free_and_reaches_the_os(void **state) /* trap 9 */
{
    (void)state;
    uintptr_t base = alloc(0, 4 * PAGE, OS_MEM_RESERVE | OS_MEM_COMMIT), result;
    size_t calls = fake.calls[FAKE_VIRTUAL_ALLOC];
    assert_int_equal(virtual_memory_alloc(&memory, base, 2 * PAGE, OS_MEM_COMMIT,
                                          FAKE_PAGE_READONLY, BUDGET_TASK, &result),
                     OS_OK);
    assert_int_equal(fake.calls[FAKE_VIRTUAL_ALLOC], calls + 1);
    assert_int_equal(fake_os_region(&fake, base)->pages[1], FAKE_PAGE_READONLY);
    assert_counts(4 * PAGE, 4 * PAGE);
    assert_int_equal(usage_peak(&memory.committed), 4 * PAGE);
}

static void a_commit_that_leaves_its_region_fails_as_a_whole(void **state)
{
    (void)state;
    alloc(BASE, SLOT, OS_MEM_RESERVE);
    alloc(BASE + SLOT, SLOT, OS_MEM_RESERVE); /* even into a neighbour of ours */
    assert_alloc_fails(BASE + SLOT - PAGE, 2 * PAGE, OS_MEM_COMMIT, OS_INVALID_ADDRESS);
    assert_alloc_fails(BASE + 2 * SLOT - PAGE, PAGE + 1, OS_MEM_COMMIT, OS_INVALID_ADDRESS);
    assert_alloc_fails(BASE, 0, OS_MEM_COMMIT, OS_INVALID_PARAMETER);
    assert_counts(2 * SLOT, 0);
    assert_int_equal(usage_peak(&memory.committed), 0);
}

static void a_commit_at_a_foreign_address_goes_to_the_os_uncounted(void **state)
{
    (void)state;
    uintptr_t view = fake_os_add_foreign(&fake, BASE, 4 * PAGE);
    assert_true(alloc(view + PAGE, PAGE, OS_MEM_COMMIT) == view + PAGE);
    assert_int_equal(fake.last[FAKE_VIRTUAL_ALLOC].size, PAGE);
    assert_counts(0, 0);
    assert_alloc_fails(BASE + 16 * SLOT, PAGE, OS_MEM_COMMIT, OS_INVALID_ADDRESS);
    assert_int_equal(fake.last[FAKE_VIRTUAL_ALLOC].error, OS_INVALID_ADDRESS);
}

static void the_tail_of_a_last_slot_belongs_to_nobody(void **state)
{
    (void)state;
    alloc(BASE, PAGE, OS_MEM_RESERVE);
    assert_alloc_fails(BASE + PAGE, PAGE, OS_MEM_COMMIT, OS_INVALID_ADDRESS);
    assert_foreign(BASE + PAGE, 0, OS_MEM_RELEASE);
    assert_foreign(BASE + PAGE, PAGE, OS_MEM_DECOMMIT);
    assert_counts(PAGE, 0);
}

static void reset_goes_to_the_os_and_counts_nothing(void **state) /* trap 8 */
{
    (void)state;
    uintptr_t base = alloc(0, 8 * PAGE, OS_MEM_RESERVE);
    alloc(base, 4 * PAGE, OS_MEM_COMMIT);
    const uint32_t types[] = {OS_MEM_RESET, OS_MEM_RESET_UNDO};
    for (size_t i = 0; i < 2; i++) {
        assert_true(alloc(base, 4 * PAGE, types[i]) == base);
        assert_int_equal(fake.last[FAKE_VIRTUAL_ALLOC].type, types[i]);
        assert_counts(8 * PAGE, 4 * PAGE);
        assert_alloc_fails(base + 4 * PAGE, PAGE, types[i], OS_INVALID_ADDRESS);
        assert_alloc_fails(base, PAGE, types[i] | OS_MEM_COMMIT, OS_INVALID_PARAMETER);
        assert_alloc_fails(0, PAGE, types[i] | OS_MEM_RESERVE, OS_INVALID_PARAMETER);
    }
    assert_counts(8 * PAGE, 4 * PAGE);
}

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
    assert_int_equal(usage_peak(&memory.reserved), SLOT + 5 * PAGE);
    assert_int_equal(usage_peak(&memory.committed), SLOT + 3 * PAGE);
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
#endif

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
    uintptr_t base = alloc(0, 600 * PAGE, OS_MEM_RESERVE);
    for (size_t i = 0; i < 4; i++) {
        alloc(base + 2 * i * PAGE, PAGE, OS_MEM_COMMIT);
    }
    assert_true(usage_current(&memory.table_memory.committed) > before);
    assert_int_equal(usage_current(&memory.table_memory.committed), fake_os_table_committed(&fake));
    assert_counts(600 * PAGE, 4 * PAGE);
    assert_int_equal(fake.calls[FAKE_VIRTUAL_ALLOC], 5);
    assert_int_equal(memory.regions.used_count, 2); /* id 0 and the one region */
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
        TEST(overlapping_commits_count_each_page_once),
        TEST(unaligned_commits_count_every_page_they_touch),
        TEST(committing_again_is_free_and_reaches_the_os),
        TEST(a_commit_that_leaves_its_region_fails_as_a_whole),
        TEST(a_commit_at_a_foreign_address_goes_to_the_os_uncounted),
        TEST(the_tail_of_a_last_slot_belongs_to_nobody),
        TEST(reset_goes_to_the_os_and_counts_nothing),
        TEST(a_decommit_takes_off_what_was_committed_and_no_more),
        TEST(a_decommit_of_size_0_at_the_base_takes_the_whole_region),
        TEST(a_decommit_that_leaves_its_region_fails_as_a_whole),
        TEST(a_release_takes_off_the_remaining_commit_and_the_reservation),
        TEST(release_twice_fails_and_leaves_the_neighbours_untouched),
        TEST(a_release_inside_a_region_is_refused_without_the_os),
        TEST(a_release_that_win32_refuses_leaves_the_region_alive),
        TEST(freeing_foreign_memory_never_reaches_the_os),
        TEST(a_region_is_gone_from_the_table_before_the_os_releases_it),
        TEST(another_thread_may_get_the_addresses_before_the_release_returns),
        TEST(large_regions_across_gib_borders_are_exact),
        TEST(the_last_slot_of_a_32_bit_space_can_be_used),
#if UINTPTR_MAX > UINT32_MAX
        TEST(a_region_of_256_gib_is_exact),
        TEST(the_47_bit_edge_can_be_used),
        TEST(an_address_that_the_table_cannot_hold_is_given_back),
#endif
        TEST(next_walks_all_regions_with_what_is_committed_in_each),
        TEST(measure_sees_what_the_os_has_not_what_we_believe),
        TEST(the_tables_are_counted_apart_and_never_in_the_regions),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
