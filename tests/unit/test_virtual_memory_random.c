/* SPDX-License-Identifier: MIT
 *
 * A million random operations of support/twin_operations.h. A second pass lets random calls fail on
 * the way.
 *
 * HOSTMEM_OPERATIONS sets the number of operations, HOSTMEM_CHECK_EVERY after how many of them all
 * figures are compared; with the seed and 1 a failure is found where it happens.
 */
#include "support/random.h"
#include "support/twin_operations.h"
#include "support/unit.h"

#define OPERATIONS 500000 /* per pass */

static struct random random_state;
static uint64_t seed;
static size_t operations;

static size_t choose(size_t bound)
{
    return random_below(&random_state, bound);
}

static void run(uintptr_t lowest, uintptr_t max_address, bool inject)
{
    size_t check_every = (size_t)random_setting("HOSTMEM_CHECK_EVERY", 499);
    size_t count = (size_t)random_setting("HOSTMEM_OPERATIONS", OPERATIONS) / 2;
    random_state.state = seed;
    twin_open(lowest, max_address, choose);
    for (size_t i = 1; i <= count; i++) {
        twin_operate(inject);
        if (i % check_every == 0) {
            twin_compare();
        }
    }
    twin_close();
    operations += count;
}

static void run_everywhere(bool inject)
{
    run((uintptr_t)GIB - MIB, 0xFFFEFFFFu, inject); /* a border, the last 32-bit slot */
#if UINTPTR_MAX > UINT32_MAX
    const uintptr_t end = (uintptr_t)1 << 47;
    run(end - 4 * GIB, end - 1, inject);
#else
    run(3 * (uintptr_t)GIB - MIB, 0xFFFEFFFFu, inject);
#endif
}

static void every_operation_does_what_the_os_does_and_is_counted_exactly(void **state)
{
    (void)state;
    run_everywhere(false);
}

static void and_so_it_is_when_calls_fail_on_the_way(void **state)
{
    (void)state;
    run_everywhere(true);
    assert_true(twin_failures() > operations / 100);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_operation_does_what_the_os_does_and_is_counted_exactly),
        cmocka_unit_test(and_so_it_is_when_calls_fail_on_the_way),
    };
    seed = random_seed("test_virtual_memory_random");
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    printf("totals: operations=%lu failures=%lu drifts=%d\n", (unsigned long)operations,
           (unsigned long)twin_failures(), failed);
    return failed;
}
