/* SPDX-License-Identifier: MIT
 *
 * Classes are in order, aligned, close to each other, and each size has the smallest that holds it.
 */
#include "support/unit.h"

#include "core/heap/size_class.h"

static void every_size_has_the_smallest_class_that_holds_it(void **state)
{
    (void)state;
    for (size_t bytes = 1; bytes <= SMALL_BYTES; bytes++) {
        unsigned size_class = size_class_of(bytes);
        assert_true(size_class < (unsigned)SIZE_CLASSES);
        assert_true(size_class_bytes(size_class) >= bytes);
        assert_true(size_class == 0 || size_class_bytes(size_class - 1) < bytes);
    }
}

static void a_class_is_an_eighth_larger_than_the_one_before_at_most(void **state)
{
    (void)state;
    for (unsigned i = 0; i < (unsigned)SIZE_CLASSES; i++) {
        assert_int_equal(size_class_bytes(i) % BLOCK_ALIGNMENT, 0);
        assert_int_equal(size_class_of(size_class_bytes(i)), i);
        if (i >= FINE_CLASSES) {
            assert_true(size_class_bytes(i) * 8 <= size_class_bytes(i - 1) * 9);
        }
    }
    assert_int_equal(size_class_bytes((unsigned)SIZE_CLASSES - 1), SMALL_BYTES);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_size_has_the_smallest_class_that_holds_it),
        cmocka_unit_test(a_class_is_an_eighth_larger_than_the_one_before_at_most),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
