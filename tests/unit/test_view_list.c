/* SPDX-License-Identifier: MIT
 *
 * The list of views adds up what was reported, whatever the order of the reports, and tolerates
 * what a runtime does: no size, the same base twice, a base it never reported (traps 28 and 29).
 */
#include "support/fake_os.h"
#include "support/random.h"
#include "support/unit.h"

#include "core/pages/view_list.h"

#define CAPACITY ((size_t)65536)

static struct fake_os fake;
static struct table_memory memory;
static struct view_list list;

static int set_up(void **state)
{
    (void)state;
    fake_os_init_default(&fake);
    memory = (struct table_memory){.os = &fake.os};
    return view_list_create(&list, &memory) == OS_OK ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    view_list_destroy(&list);
    return usage_current(&memory.committed) == 0 && fake_os_destroy(&fake) == 0 ? 0 : -1;
}

static void assert_total(size_t count, size_t bytes)
{
    size_t seen_count = POISON, seen_bytes = POISON;
    view_list_total(&list, &seen_count, &seen_bytes);
    assert_int_equal(seen_count, count);
    assert_int_equal(seen_bytes, bytes);
    for (size_t i = 1; i < count; i++) {
        assert_true(list.views[i - 1].base < list.views[i].base);
    }
}

static void a_new_list_is_empty(void **state)
{
    (void)state;
    assert_total(0, 0);
    view_list_remove(&list, SLOT);
    assert_total(0, 0);
}

static void views_add_up_whatever_their_order(void **state)
{
    (void)state;
    view_list_add(&list, 3 * SLOT, 100);
    view_list_add(&list, SLOT, 1000);
    view_list_add(&list, 2 * SLOT, 10000);
    view_list_add(&list, 0x1001, 1); /* a base need not be aligned */
    assert_total(4, 11101);
    view_list_remove(&list, SLOT);
    assert_total(3, 10101);
    view_list_remove(&list, 3 * SLOT);
    view_list_remove(&list, 0x1001);
    view_list_remove(&list, 2 * SLOT);
    assert_total(0, 0);
}

static void the_second_report_of_a_base_replaces_the_first(void **state)
{
    (void)state;
    view_list_add(&list, SLOT, 5000);
    view_list_add(&list, 2 * SLOT, 7);
    view_list_add(&list, SLOT, 300);
    assert_total(2, 307);
    view_list_remove(&list, SLOT);
    assert_total(1, 7);
}

static void an_unknown_release_is_ignored(void **state)
{
    (void)state;
    view_list_add(&list, SLOT, 5000);
    view_list_remove(&list, SLOT + 1); /* inside */
    view_list_remove(&list, 0);
    view_list_remove(&list, UINTPTR_MAX);
    assert_total(1, 5000);
    view_list_remove(&list, SLOT);
    view_list_remove(&list, SLOT);
    assert_total(0, 0);
}

static void size_0_is_measured_to_the_end_of_the_allocation(void **state)
{
    uintptr_t result = POISON;
    uint32_t old = 0;
    (void)state;
    uintptr_t view = fake_os_add_foreign(&fake, 0x200000, 10 * PAGE);
    fake_os_add_foreign(&fake, 0x210000, 3 * PAGE); /* the next allocation touches it not */
    fake_os_add_foreign(&fake, 0x220000, SLOT);
    fake_os_add_foreign(&fake, 0x230000, SLOT); /* touches the one before */
    assert_int_equal(fake.os.virtual_protect(&fake.os, view + PAGE, PAGE, FAKE_PAGE_READONLY, &old),
                     OS_OK); /* three runs, one allocation */
    view_list_add(&list, view, 0);
    assert_total(1, 10 * PAGE);
    view_list_add(&list, 0x220000, 0);
    assert_total(2, 10 * PAGE + SLOT);
    view_list_add(&list, view + 4 * PAGE, 0);
    assert_total(3, 16 * PAGE + SLOT);
    assert_int_equal(fake.os.virtual_alloc(&fake.os, 0x300000, 5 * PAGE, OS_MEM_RESERVE,
                                           OS_PAGE_NOACCESS, &result),
                     OS_OK);
    view_list_add(&list, 0x300000, 0); /* reserved is not free */
    assert_total(4, 21 * PAGE + SLOT);
}

static void size_0_where_nothing_is_counts_nothing(void **state)
{
    size_t count = POISON, bytes = POISON;
    (void)state;
    view_list_add(&list, 0x200000, 0);
    view_list_total(&list, &count, &bytes);
    assert_int_equal(bytes, 0);
    view_list_add(&list, UINTPTR_MAX, 0); /* the OS refuses the query */
    view_list_total(&list, &count, &bytes);
    assert_int_equal(bytes, 0);
    view_list_remove(&list, 0x200000);
    view_list_remove(&list, UINTPTR_MAX);
    assert_total(0, 0);
}

static void a_view_without_memory_is_not_recorded_and_the_next_one_is(void **state)
{
    const size_t per_page = PAGE / sizeof(struct view);
    (void)state;
    fake_os_fail(&fake, FAKE_TABLE_COMMIT, 1);
    view_list_add(&list, SLOT, 1);
    assert_int_equal(fake.failed_kind, FAKE_TABLE_COMMIT);
    assert_total(0, 0);
    for (size_t i = 1; i <= per_page; i++) {
        view_list_add(&list, i * SLOT, 1);
    }
    fake_os_fail(&fake, FAKE_TABLE_COMMIT, 1);
    view_list_add(&list, SLOT / 2, 1); /* the page is full */
    assert_total(per_page, per_page);
    view_list_add(&list, SLOT, 5); /* a known one needs no room */
    assert_total(per_page, per_page + 4);
    view_list_add(&list, SLOT / 2, 1);
    assert_total(per_page + 1, per_page + 5);
    assert_int_equal(usage_current(&memory.committed), 2 * PAGE);
    assert_int_equal(fake_os_table_committed(&fake), 2 * PAGE);
}

static void what_does_not_fit_is_not_recorded(void **state)
{
    (void)state;
    for (size_t i = 1; i <= CAPACITY; i++) {
        view_list_add(&list, i * 16, 2);
    }
    assert_total(CAPACITY, 2 * CAPACITY);
    view_list_add(&list, 8, 2);
    view_list_add(&list, (CAPACITY + 1) * 16, 2);
    assert_total(CAPACITY, 2 * CAPACITY);
    view_list_remove(&list, (CAPACITY + 1) * 16);
    assert_total(CAPACITY, 2 * CAPACITY);
    view_list_remove(&list, 16);
    view_list_add(&list, 8, 3);
    assert_total(CAPACITY, 2 * CAPACITY + 1);
}

static void agrees_with_a_naive_array_over_many_random_operations(void **state)
{
    enum { PLACES = 700 };      /* more than two pages of views */
    size_t naive[PLACES] = {0}; /* size, 0 for none */
    struct random random = {random_seed("test_view_list")};
    (void)state;
    for (size_t i = 0; i < 100000; i++) {
        size_t place = random_below(&random, PLACES);
        if (random_below(&random, 5) < 3) {
            naive[place] = 1 + random_below(&random, MIB);
            view_list_add(&list, (place + 1) * SLOT, naive[place]);
        } else {
            naive[place] = 0;
            view_list_remove(&list, (place + 1) * SLOT);
        }
        if (i % 100 == 0) {
            size_t count = 0, bytes = 0;
            for (place = 0; place < PLACES; place++) {
                count += naive[place] != 0;
                bytes += naive[place];
            }
            assert_total(count, bytes);
        }
    }
}

static void create_fails_cleanly_without_address_space(void **state)
{
    struct view_list other;
    (void)state;
    fake_os_fail(&fake, FAKE_TABLE_RESERVE, 1);
    assert_int_equal(view_list_create(&other, &memory), OS_NOT_ENOUGH_MEMORY);
    size_t calls = fake_os_calls(&fake);
    view_list_destroy(&other);
    assert_int_equal(fake_os_calls(&fake), calls);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_new_list_is_empty),
        TEST(views_add_up_whatever_their_order),
        TEST(the_second_report_of_a_base_replaces_the_first),
        TEST(an_unknown_release_is_ignored),
        TEST(size_0_is_measured_to_the_end_of_the_allocation),
        TEST(size_0_where_nothing_is_counts_nothing),
        TEST(a_view_without_memory_is_not_recorded_and_the_next_one_is),
        TEST(what_does_not_fit_is_not_recorded),
        TEST(agrees_with_a_naive_array_over_many_random_operations),
        TEST(create_fails_cleanly_without_address_space),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
