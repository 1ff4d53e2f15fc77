/* SPDX-License-Identifier: MIT
 *
 * Structures that grow: a caller with an older or a newer header, or with none that there ever was.
 */
#include "support/unit.h"

#include "core/versioned.h"

#include <stdlib.h>

struct ours {
    uint32_t Size;
    uint32_t flags;
    uint64_t bytes;
};

union theirs {
    struct ours known;
    unsigned char bytes[VERSIONED_MOST + 8];
};

enum { OURS = sizeof(struct ours) };

static void a_structure_of_our_size_is_taken_over(void **state)
{
    const struct ours given = {.Size = OURS, .flags = 1, .bytes = 2};
    struct ours result = {0};
    (void)state;
    assert_true(versioned_read(&result, OURS, &given));
    assert_memory_equal(&result, &given, OURS);
}

static void a_longer_one_is_taken_over_if_the_rest_is_zero(void **state)
{
    static union theirs given;
    (void)state;
    for (uint32_t size = OURS + 1; size <= VERSIONED_MOST; size++) {
        struct ours result = {0};
        memset(&given, 0xff, sizeof(given)); /* behind it as well: that is nobody's business */
        memset(&given, 0, size);
        given.known = (struct ours){.Size = size, .flags = 7, .bytes = size};
        assert_true(versioned_read(&result, OURS, &given));
        assert_int_equal(result.Size, OURS);
        assert_int_equal(result.flags, 7);
        assert_int_equal(result.bytes, size);
    }
}

static void a_longer_one_with_anything_in_the_rest_is_refused(void **state)
{
    static union theirs given;
    const struct ours before = {.Size = 1, .flags = 2, .bytes = 3};
    const uint32_t sizes[] = {OURS + 1, OURS + 8, OURS + 100, VERSIONED_MOST};
    (void)state;
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        for (size_t at = OURS; at < sizes[i]; at++) {
            struct ours result = before;
            given.known.Size = sizes[i];
            given.bytes[at] = 0x80;
            assert_false(versioned_read(&result, OURS, &given));
            assert_memory_equal(&result, &before, OURS);
            given.bytes[at] = 0;
        }
    }
}

/* Whatever is read of these is the Size alone: nothing lies behind it. */
static void impossible_sizes_are_refused_and_nothing_is_written(void **state)
{
    static const uint32_t sizes[] = {0, 1, 4, OURS - 1, VERSIONED_MOST + 1, 0x7fffffff, 0xffffffff};
    const struct ours source = {.flags = 1};
    (void)state;
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        /* Volatile: the compiler need not know how short it is. */
        uint32_t *volatile given = malloc(sizeof(*given));
        struct ours result = {.Size = 5};
        *given = sizes[i];
        assert_false(versioned_read(&result, OURS, given));
        assert_int_equal(result.Size, 5);
        assert_false(versioned_write(given, OURS, &source));
        assert_int_equal(*given, sizes[i]);
        free(given);
    }
}

static void what_is_filled_keeps_its_size_and_ends_in_zeros(void **state)
{
    static union theirs given;
    const struct ours source = {.Size = 99, .flags = 1, .bytes = UINT64_MAX};
    (void)state;
    for (uint32_t size = OURS; size <= VERSIONED_MOST; size++) {
        memset(&given, 0xad, sizeof(given));
        given.known.Size = size;
        assert_true(versioned_write(&given, OURS, &source));
        assert_int_equal(given.known.Size, size);
        assert_int_equal(given.known.flags, 1);
        assert_true(given.known.bytes == UINT64_MAX);
        for (size_t at = OURS; at < sizeof(given); at++) {
            assert_int_equal(given.bytes[at], at < size ? 0 : 0xad);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_structure_of_our_size_is_taken_over),
        cmocka_unit_test(a_longer_one_is_taken_over_if_the_rest_is_zero),
        cmocka_unit_test(a_longer_one_with_anything_in_the_rest_is_refused),
        cmocka_unit_test(impossible_sizes_are_refused_and_nothing_is_written),
        cmocka_unit_test(what_is_filled_keeps_its_size_and_ends_in_zeros),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
