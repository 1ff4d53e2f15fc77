/* SPDX-License-Identifier: MIT
 *
 * Random operations of support/twin_operations.h: half a million, and 200,000 with failures, or a
 * million each under the address sanitizer. Every 200 operations there is another plan for the failures. Every 1000 there is
 * another memory, for the first use of each part of the tables is what needs memory.
 *
 * HOSTMEM_SEED or the argument repeats a run. HOSTMEM_OPERATIONS sets the number of each pass,
 * HOSTMEM_CHECK_EVERY after how many of them all figures are compared; with the seed and 1 a failure
 * is found where it happens.
 */
#include "support/random.h"
#include "support/twin_operations.h"
#include "support/unit.h"

#define OPERATIONS 500000
#define OPERATIONS_WITH_FAILURES 200000
#define OPERATIONS_PER_PLAN 200
#define OPERATIONS_PER_MEMORY 1000

static struct random random_state;
static uint64_t seed;

static size_t choose(size_t bound)
{
    return random_below(&random_state, bound);
}

static void operate(size_t count)
{
    size_t check_every = (size_t)random_setting("HOSTMEM_CHECK_EVERY", 499);
    for (size_t i = 1; i <= count; i++) {
        if (i % OPERATIONS_PER_PLAN == 0) {
            twin_change_plan();
        }
        twin_operate();
        if (i % check_every == 0) {
            twin_compare();
        }
    }
}

static void run(uintptr_t lowest, uintptr_t max_address, size_t operations, bool with_failures)
{
    size_t at_a_time = with_failures ? OPERATIONS_PER_MEMORY : operations;
    random_state.state = seed;
    for (size_t done = 0; done < operations;) {
        if (!twin_open(lowest, max_address, choose, with_failures)) {
            continue;
        }
        size_t left = operations - done;
        operate(at_a_time < left ? at_a_time : left);
        done += at_a_time;
        twin_close();
    }
}

static void run_everywhere(size_t operations, bool with_failures)
{
    operations = (size_t)random_setting("HOSTMEM_OPERATIONS", operations);
    /* A border, and the last 32-bit slot. */
    run((uintptr_t)GIB - MIB, 0xFFFEFFFFu, operations / 2, with_failures);
#if UINTPTR_MAX > UINT32_MAX
    /* To look at every slot of 128 TiB takes too long to be done after every failure. */
    const uintptr_t end = with_failures ? 16 * (uintptr_t)GIB : (uintptr_t)1 << 47;
    run(end - 2 * GIB, end - 1, operations / 2, with_failures);
#else
    run(3 * (uintptr_t)GIB - MIB, 0xFFFEFFFFu, operations / 2, with_failures);
#endif
}

static void every_operation_does_what_the_os_does_and_is_counted_exactly(void **state)
{
    (void)state;
    run_everywhere(OPERATIONS, false);
}

static void and_so_it_is_when_calls_fail_on_the_way(void **state)
{
    (void)state;
    run_everywhere(OPERATIONS_WITH_FAILURES, true);
    assert_true(twin_totals().failures > 0);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_operation_does_what_the_os_does_and_is_counted_exactly),
        cmocka_unit_test(and_so_it_is_when_calls_fail_on_the_way),
    };
    seed = argc > 1 ? strtoull(argv[1], NULL, 0) : random_seed("test_virtual_memory_random");
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    struct twin_totals totals = twin_totals();
    printf("totals: operations=%" PRIu64 " failures=%" PRIu64 " broken=%" PRIu64 " drifts=%d\n",
           totals.operations, totals.failures, totals.broken, failed);
    return failed;
}
