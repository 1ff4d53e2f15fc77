/* SPDX-License-Identifier: MIT
 *
 * A header says what was written into it, and nothing else is believed: no changed bit, no header of
 * another block, no constant. In debug builds the same of the seals around a block.
 */
#include "support/random.h"
#include "support/unit.h"

#include "core/heap/block_header.h"

#define SECRET UINT64_C(0x243f6a8885a308d3)
#define SIZE 100

/* As the heap has them: aligned, with something in front and behind. */
static _Alignas(64) unsigned char space[512];
static unsigned char *const memory = space + 128;

static const struct block of_site = {.size = SIZE, .site = 0xfedc};

static int write_block(void **state)
{
    (void)state;
    memset(space, 0, sizeof(space));
    block_write(memory, SECRET, of_site);
    return 0;
}

static bool is_believed(void)
{
    struct block block;
    return block_read(memory, SECRET, &block);
}

static void a_header_says_what_was_written(void **state)
{
    static const size_t sizes[] = {0, 1, 2, 15, 16, 0xffff, 0x10000, 0x7fffffff};
    (void)state;
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        for (uint32_t site = 0; site <= BLOCK_MAX_SITE; site += 1 + site / 3) {
            struct block block = {.size = sizes[i], .site = site}, read;
            uint64_t key = block_key(memory, SECRET);
            assert_true(block_decode(block_encode(block, key), key, &read));
            assert_int_equal(read.size, sizes[i]);
            assert_int_equal(read.site, site);
        }
    }
    struct block read;
    assert_true(block_read(memory, SECRET, &read));
    assert_int_equal(read.size, SIZE);
    assert_int_equal(read.site, 0xfedc);
    assert_true(block_end_is_intact(memory, SECRET, read));
}

static void no_changed_bit_in_front_is_believed(void **state)
{
    (void)state;
    for (size_t bit = 0; bit < 8 * BLOCK_FRONT_BYTES; bit++) {
        unsigned char *byte = memory - BLOCK_FRONT_BYTES + bit / 8;
        *byte ^= (unsigned char)(1u << bit % 8);
        assert_false(is_believed());
        *byte ^= (unsigned char)(1u << bit % 8);
        assert_true(is_believed());
    }
}

/* Four bytes of a constant over any part of it, as of a string that is too long. */
static void no_constant_is_believed(void **state)
{
    (void)state;
    size_t believed = 0, tried = 0;
    for (unsigned value = 0; value < 256; value++) {
        for (size_t at = 0; at + 4 <= BLOCK_FRONT_BYTES; at++) {
            write_block(state);
            unsigned char *bytes = memory - BLOCK_FRONT_BYTES + at, before[4];
            memcpy(before, bytes, 4);
            memset(bytes, (int)value, 4);
            if (memcmp(before, bytes, 4) != 0) {
                tried++;
                believed += is_believed();
            }
        }
    }
    assert_true(tried > 1000);
    assert_true(believed <= (sizeof(void *) == 8 ? 0 : 1));
}

static void the_header_of_another_block_is_not_believed(void **state)
{
    struct random random = {random_seed("test_block_header")};
    size_t believed = 0;
    (void)state;
    for (int i = 0; i < 10000; i++) {
        const void *other = memory + 16 * (1 + random_below(&random, 1 << 20));
        struct block block = {.size = random_below(&random, 1 << 16)}, read;
        struct block_header header = block_encode(block, block_key(other, SECRET));
        believed += block_decode(header, block_key(memory, SECRET), &read);
    }
    assert_true(believed <= (sizeof(void *) == 8 ? 0 : 3));
}

static void a_header_of_another_process_is_not_believed(void **state)
{
    struct block read;
    (void)state;
    assert_false(block_read(memory, SECRET + 1, &read));
    assert_false(block_read(memory, ~SECRET, &read));
}

#ifndef NDEBUG

static void every_byte_behind_the_end_is_looked_at(void **state)
{
    (void)state;
    for (size_t i = 0; i < BLOCK_TAIL_BYTES; i++) {
        memory[SIZE + i] ^= 1;
        assert_false(block_end_is_intact(memory, SECRET, of_site));
        memory[SIZE + i] ^= 1;
    }
    memory[SIZE] = 0; /* the end of a string that is one too long */
    assert_false(block_end_is_intact(memory, SECRET, of_site));
}

#endif

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(a_header_says_what_was_written, write_block),
        cmocka_unit_test_setup(no_changed_bit_in_front_is_believed, write_block),
        cmocka_unit_test_setup(no_constant_is_believed, write_block),
        cmocka_unit_test_setup(the_header_of_another_block_is_not_believed, write_block),
        cmocka_unit_test_setup(a_header_of_another_process_is_not_believed, write_block),
#ifndef NDEBUG
        cmocka_unit_test_setup(every_byte_behind_the_end_is_looked_at, write_block),
#endif
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
