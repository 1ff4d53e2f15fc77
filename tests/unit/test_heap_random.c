/* SPDX-License-Identifier: MIT
 *
 * Random operations of support/heap_operations.h: 60,000, and as many with failures. Every 2000 there
 * are other heaps, for the first use of each part of the tables is what needs memory.
 *
 * HOSTMEM_SEED repeats a run. HOSTMEM_OPERATIONS sets the number of each pass, HOSTMEM_CHECK_EVERY after
 * how many of them all figures are compared; with the seed and 1 a failure is found where it happens.
 */
#include "support/heap_operations.h"
#include "support/random.h"
#include "support/unit.h"

#define OPERATIONS 60000
#define OPERATIONS_PER_HEAP 2000

static struct random random_state;

static size_t choose(size_t bound)
{
    return random_below(&random_state, bound);
}

static void run(bool with_failures)
{
    size_t operations = (size_t)random_setting("HOSTMEM_OPERATIONS", OPERATIONS);
    size_t check_every = (size_t)random_setting("HOSTMEM_CHECK_EVERY", 97);
    for (size_t done = 0; done < operations; done += OPERATIONS_PER_HEAP) {
        heap_operations_open(choose, with_failures);
        for (size_t i = 1; i <= OPERATIONS_PER_HEAP; i++) {
            heap_operate();
            if (i % check_every == 0) {
                heap_operations_check();
            }
        }
        heap_operations_close();
    }
}

static void blocks_are_what_the_list_says(void **state)
{
    (void)state;
    run(false);
}

static void whatever_fails_has_changed_nothing(void **state)
{
    (void)state;
    run(true);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(blocks_are_what_the_list_says),
        cmocka_unit_test(whatever_fails_has_changed_nothing),
    };
    random_state.state = random_seed("test_heap_random");
    return cmocka_run_group_tests(tests, NULL, NULL);
}
