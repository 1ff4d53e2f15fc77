/* SPDX-License-Identifier: MIT
 *
 * Debug builds: the seals of a heap block give away every byte that is written outside of it, and
 * its fill every byte that is written after it was freed. Release builds: there is nothing but size
 * and site.
 */
#include "support/unit.h"

#include "core/heap/heap_block.h"

#include <stdlib.h>

#ifdef NDEBUG

static void release_builds_have_size_and_site_and_no_more(void **state)
{
    struct block_header block[2] = {{.size = BLOCK_ALIGNMENT}, {.size = 77}};
    (void)state;
    assert_int_equal(sizeof(block[0]), 2 * sizeof(void *));
    assert_int_equal(BLOCK_TAIL_BYTES, 0);
    block_seal(block);
    assert_int_equal(block[1].size, 77);
    assert_null(block_damage(block));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(release_builds_have_size_and_site_and_no_more),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

#else

static struct block_header *create(size_t size)
{
    struct block_header *block = malloc(sizeof(*block) + size + BLOCK_TAIL_BYTES);
    assert_non_null(block);
    *block = (struct block_header){.size = size, .site = (void *)(uintptr_t)size};
    block_seal(block);
    memset(block + 1, 0x5a, size);
    return block;
}

static const size_t sizes[] = {0, 1, 7, 8, 15, 16, 17, 100, 4096};
#define SIZE_COUNT (sizeof(sizes) / sizeof(sizes[0]))

static void a_block_that_was_used_to_the_last_byte_is_intact(void **state)
{
    (void)state;
    for (size_t i = 0; i < SIZE_COUNT; i++) {
        struct block_header *block = create(sizes[i]);
        assert_null(block_damage(block));
        assert_true(block_header_is_intact(block));
        assert_int_equal(block->size, sizes[i]);
        assert_ptr_equal(block->site, (void *)(uintptr_t)sizes[i]);
        free(block);
    }
}

/* Each bit of what surrounds the caller's bytes, one at a time. */
static void every_bit_around_a_block_is_watched(void **state)
{
    (void)state;
    for (size_t i = 0; i < SIZE_COUNT; i++) {
        struct block_header *block = create(sizes[i]);
        unsigned char *bytes = (unsigned char *)block;
        size_t end = sizeof(*block) + sizes[i];
        for (size_t at = 0; at < end + BLOCK_TAIL_BYTES; at++) {
            for (int bit = 0; bit < 8; bit++) {
                bytes[at] ^= (unsigned char)(1 << bit);
                const char *damage = block_damage(block);
                if (at < sizeof(*block)) {
                    assert_string_equal(damage, "was written in front of its beginning");
                    assert_false(block_header_is_intact(block));
                } else if (at < end) {
                    assert_null(damage);
                } else {
                    assert_string_equal(damage, "was written behind its end");
                    assert_true(block_header_is_intact(block));
                }
                bytes[at] ^= (unsigned char)(1 << bit);
            }
        }
        assert_null(block_damage(block));
        free(block);
    }
}

static void the_end_of_a_string_behind_a_block_is_noticed(void **state)
{
    (void)state;
    for (size_t size = 0; size < 1000; size++) {
        struct block_header *block = create(size);
        ((char *)(block + 1))[size] = 0;
        assert_non_null(block_damage(block));
        free(block);
    }
}

/* As a copy of too many bytes from one block into another would bring it along. */
static void the_seal_of_another_block_does_not_fit(void **state)
{
    struct block_header *left = create(64), *right = create(64);
    (void)state;
    memcpy(left + 1, right + 1, 64 + BLOCK_TAIL_BYTES);
    assert_string_equal(block_damage(left), "was written behind its end");
    left->seal = right->seal;
    assert_string_equal(block_damage(left), "was written in front of its beginning");
    free(left);
    free(right);
}

static void every_byte_of_a_freed_block_is_watched(void **state)
{
    (void)state;
    for (size_t i = 0; i < SIZE_COUNT; i++) {
        struct block_header *block = create(sizes[i]);
        unsigned char *bytes = (unsigned char *)(block + 1);
        block_mark_freed(block);
        assert_null(block_freed_damage(block));
        for (size_t at = 0; at < sizes[i]; at++) {
            assert_int_equal(bytes[at], FREED_BYTE);
            bytes[at] ^= 0x10;
            assert_string_equal(block_freed_damage(block), "was written after it had been freed");
            bytes[at] ^= 0x10;
        }
        bytes[sizes[i]] ^= 1;
        assert_string_equal(block_freed_damage(block),
                            "was written around after it had been freed");
        free(block);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_block_that_was_used_to_the_last_byte_is_intact),
        cmocka_unit_test(every_bit_around_a_block_is_watched),
        cmocka_unit_test(the_end_of_a_string_behind_a_block_is_noticed),
        cmocka_unit_test(the_seal_of_another_block_does_not_fit),
        cmocka_unit_test(every_byte_of_a_freed_block_is_watched),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

#endif
