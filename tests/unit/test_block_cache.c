/* SPDX-License-Identifier: MIT
 *
 * The cache of freed blocks gives out what it was given, each block once and only for its size, and
 * holds no more than it may.
 */
#include "support/random.h"
#include "support/unit.h"

#include "core/heap/block_cache.h"

#include <string.h>

#define UNIT (2 * sizeof(void *))
#define BLOCKS 4096

static struct block_cache cache;

/* Numbers stand for blocks: nobody may look at what they point to. */
static size_t bytes_of[BLOCKS];
static bool inside[BLOCKS];

static void *block_of(size_t number)
{
    return (void *)(number + 1);
}

static int set_up(void **state)
{
    (void)state;
    memset(&cache, 0, sizeof(cache));
    memset(inside, 0, sizeof(inside));
    return 0;
}

/* The bytes of what is inside by the test's own count. */
static size_t held(void)
{
    size_t bytes = 0;
    for (size_t i = 0; i < BLOCKS; i++) {
        bytes += inside[i] ? bytes_of[i] : 0;
    }
    return bytes;
}

static size_t put(size_t number, size_t bytes)
{
    void *going[CACHE_GOING];
    bytes_of[number] = bytes;
    inside[number] = true;
    size_t count = block_cache_put(&cache, block_of(number), bytes, going);
    assert_true(count <= CACHE_GOING);
    for (size_t i = 0; i < count; i++) {
        size_t gone = (size_t)going[i] - 1;
        assert_true(gone < BLOCKS && inside[gone]);
        inside[gone] = false;
    }
    return count;
}

static void a_block_comes_back_for_its_own_size_once(void **state)
{
    (void)state;
    assert_null(block_cache_take(&cache, UNIT));
    assert_int_equal(put(1, 4 * UNIT), 0);
    assert_null(block_cache_take(&cache, 3 * UNIT));
    assert_null(block_cache_take(&cache, (4 + CACHE_SETS) * UNIT)); /* of the same set */
    assert_ptr_equal(block_cache_take(&cache, 4 * UNIT), block_of(1));
    assert_null(block_cache_take(&cache, 4 * UNIT));
    assert_int_equal(cache.bytes, 0);
}

static void a_full_set_lets_its_oldest_go(void **state)
{
    (void)state;
    for (size_t i = 0; i < CACHE_WAYS; i++) {
        assert_int_equal(put(i, UNIT), 0);
    }
    assert_int_equal(put(CACHE_WAYS, UNIT), 1);
    assert_false(inside[0]);
    for (size_t i = CACHE_WAYS; i > 0; i--) {
        assert_ptr_equal(block_cache_take(&cache, UNIT), block_of(i));
    }
    assert_null(block_cache_take(&cache, UNIT));
}

static void what_is_larger_than_the_cache_is_not_kept(void **state)
{
    (void)state;
    assert_int_equal(put(1, UNIT), 0);
    assert_int_equal(put(2, CACHE_MOST + UNIT), 1);
    assert_false(inside[2]);
    assert_int_equal(put(3, SIZE_MAX - UNIT + 1), 1);
    assert_false(inside[3]);
    assert_int_equal(cache.bytes, UNIT);
}

static void no_more_goes_than_has_to(void **state)
{
    (void)state;
    for (size_t i = 0; i < CACHE_WAYS; i++) {
        assert_int_equal(put(i, UNIT), 0);
    }
    assert_int_equal(put(CACHE_WAYS, CACHE_MOST - CACHE_WAYS * UNIT), 0);
    assert_int_equal(cache.bytes, CACHE_MOST);
    assert_int_equal(put(CACHE_WAYS + 1, UNIT), 1); /* into the place of the oldest */
    assert_false(inside[0]);
    assert_int_equal(cache.bytes, CACHE_MOST);
}

/* Blocks of a size that nobody asks for any more do not keep others out for long. */
static void a_full_cache_takes_turns(void **state)
{
    (void)state;
    const size_t sizes = 960 / UNIT; /* more than the sets have places for */
    size_t number = 0;
    for (size_t size = 1; held() + size * UNIT <= CACHE_MOST; size = size % sizes + 1) {
        put(number++, size * UNIT);
    }
    size_t attempts = 0, large = CACHE_MOST / 2;
    assert_int_equal(put(number++, large), CACHE_GOING); /* itself and as many as may go */
    do {
        assert_true(attempts++ < 100);
        put(number, large);
    } while (!inside[number++]);
    assert_int_equal(put(number, large - 64 * UNIT) > 0, 1);
    assert_int_equal(cache.bytes, held());
}

static void random_blocks_are_never_lost_nor_given_twice(void **state)
{
    struct random random = {random_seed("test_block_cache")};
    size_t most = 0, taken = 0;
    (void)state;
    for (int i = 0; i < 20000; i++) {
        size_t number = random_below(&random, BLOCKS);
        size_t units = 1 + random_below(&random, random_one_in(&random, 8) ? 5000 : 100);
        if (!inside[number] && random_one_in(&random, 2)) {
            put(number, units * UNIT);
        } else {
            void *block = block_cache_take(&cache, units * UNIT);
            size_t got = (size_t)block - 1;
            assert_true(block == NULL || (inside[got] && bytes_of[got] == units * UNIT));
            if (block != NULL) {
                inside[got] = false;
                taken++;
            }
        }
        assert_int_equal(cache.bytes, held());
        assert_true(cache.bytes <= CACHE_MOST);
        most = cache.bytes > most ? cache.bytes : most;
    }
    assert_true(taken > 1000 && most > CACHE_MOST / 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(a_block_comes_back_for_its_own_size_once, set_up),
        cmocka_unit_test_setup(a_full_set_lets_its_oldest_go, set_up),
        cmocka_unit_test_setup(what_is_larger_than_the_cache_is_not_kept, set_up),
        cmocka_unit_test_setup(no_more_goes_than_has_to, set_up),
        cmocka_unit_test_setup(a_full_cache_takes_turns, set_up),
        cmocka_unit_test_setup(random_blocks_are_never_lost_nor_given_twice, set_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
