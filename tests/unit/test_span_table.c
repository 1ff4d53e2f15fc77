/* SPDX-License-Identifier: MIT
 *
 * Records of spans: apart from each other, large enough, found by address, used again for spans of as
 * many blocks, and walked in their order.
 */
#include "support/fake_os.h"
#include "support/unit.h"

#include "core/heap/span_table.h"

#include <string.h>

static struct fake_os fake;
static struct table_memory memory;
static struct span_table table;

static int set_up(void **state)
{
    (void)state;
    fake_os_init_default(&fake);
    memory = (struct table_memory){.os = &fake.os};
    return span_table_create(&table, &memory) == OS_OK ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    span_table_destroy(&table);
    span_table_destroy(&table); /* nothing to do */
    return usage_current(&memory.committed) == 0 && fake_os_destroy(&fake) == 0 ? 0 : -1;
}

static void records_have_room_for_their_blocks(void **state)
{
    enum { COUNT = 200 };
    struct span *spans[COUNT];
    (void)state;
    for (uint32_t i = 0; i < COUNT; i++) {
        uint32_t count = i * i + 1;
        spans[i] = span_table_take(&table, count);
        assert_true(spans[i]->capacity >= count);
        assert_int_equal((uintptr_t)spans[i] % SPAN_LINE, 0);
        assert_ptr_equal(span_at(&table, span_id(&table, spans[i])), spans[i]);
        for (uint32_t j = 0; j < spans[i]->capacity; j++) {
            assert_int_equal(atomic_load(&span_live(spans[i])[j]), 0);
            atomic_store(&span_live(spans[i])[j], (uint8_t)i);
            span_links(spans[i])[j] = (uint16_t)i;
        }
    }
    struct span *at = NULL;
    for (uint32_t i = 0; i < COUNT; i++) {
        at = span_table_next(&table, at);
        assert_ptr_equal(at, spans[i]);
        for (uint32_t j = 0; j < at->capacity; j++) {
            assert_int_equal(atomic_load(&span_live(at)[j]), (uint8_t)i);
            assert_int_equal(span_links(at)[j], i);
        }
    }
    assert_null(span_table_next(&table, at));
}

static void a_record_is_used_again_for_as_many_blocks(void **state)
{
    (void)state;
    struct span *small = span_table_take(&table, 16), *large = span_table_take(&table, 40000);
    struct span *other = span_table_take(&table, 1);
    assert_int_equal(small->capacity, SPAN_MIN_CAPACITY);
    span_table_put(&table, small);
    span_table_put(&table, large);
    span_table_put(&table, other);
    assert_ptr_equal(span_table_take(&table, 65535), large);
    assert_ptr_equal(span_table_take(&table, 16), other);
    assert_ptr_equal(span_table_take(&table, 16), small);
    assert_ptr_not_equal(span_table_take(&table, 17), small);
}

static void without_memory_there_is_no_record_and_the_next_try_has_one(void **state)
{
    (void)state;
    fake_os_fail(&fake, FAKE_TABLE_COMMIT, 1);
    assert_null(span_table_take(&table, 1));
    assert_null(span_table_next(&table, NULL));
    assert_non_null(span_table_take(&table, 1));
    fake_os_fail(&fake, FAKE_TABLE_COMMIT, 2);
    assert_null(span_table_take(&table, 65535)); /* of three steps */
    struct span *span = span_table_take(&table, 65535);
    memset(span_links(span), 1, 65536 * sizeof(uint16_t));
}

static void without_memory_there_is_no_table(void **state)
{
    (void)state;
    size_t calls = fake_os_calls(&fake);
    struct span_table other;
    assert_int_equal(span_table_create(&other, &memory), OS_OK);
    calls = fake_os_calls(&fake) - calls;
    span_table_destroy(&other);
    for (size_t nth = 1; nth <= calls; nth++) {
        size_t before = usage_current(&memory.committed);
        fake_os_fail(&fake, FAKE_ANY_KIND, nth);
        if (span_table_create(&other, &memory) == OS_OK) {
            span_table_destroy(&other); /* what failed was not needed */
        }
        assert_int_equal(usage_current(&memory.committed), before);
        fake_os_fail(&fake, FAKE_ANY_KIND, 0);
    }
}

static void a_full_table_still_knows_the_records_it_has(void **state)
{
    (void)state;
    if (sizeof(void *) == 8) {
        table.used = ((size_t)4 << 30) - 192; /* as if it were */
        table.committed = (size_t)4 << 30;
    } else {
        table.used = ((size_t)16 << 20) - 192;
        table.committed = (size_t)16 << 20;
    }
    assert_null(span_table_take(&table, 17));
    table.committed = 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(records_have_room_for_their_blocks, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_record_is_used_again_for_as_many_blocks, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(without_memory_there_is_no_record_and_the_next_try_has_one,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(without_memory_there_is_no_table, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_full_table_still_knows_the_records_it_has, set_up,
                                        tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
