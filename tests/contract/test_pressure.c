/* SPDX-License-Identifier: MIT
 *
 * When the runtime is told of memory pressure: Low by every way there is, its repetition, its end
 * (trap 18).
 */
#include "contract/pressure_fixture.h"

/* ---- the marks ---- */

static void low_comes_at_90_percent_and_neutral_below_80(void **state)
{
    struct recorder *recorder = &fixture.recorder;
    (void)state;
    use(90 * MIB - PAGE);
    EXPECT_SILENCE(recorder, 300);
    use(90 * MIB);
    EXPECT_LOW(recorder);
    EXPECT_SILENCE(recorder, LASTS + 300);
    use(80 * MIB - PAGE);
    EXPECT_NEUTRAL(recorder);
    EXPECT_SILENCE(recorder, 300);
}

static void between_the_marks_nothing_changes(void **state)
{
    struct recorder *recorder = &fixture.recorder;
    (void)state;
    for (int i = 0; i < 5; i++) {
        use(80 * MIB);
        EXPECT_SILENCE(recorder, 20);
        use(90 * MIB - PAGE);
        EXPECT_SILENCE(recorder, 20);
    }
    use(90 * MIB);
    EXPECT_LOW(recorder);
    Sleep(LASTS);
    for (int i = 0; i < 5; i++) {
        use(80 * MIB);
        EXPECT_SILENCE(recorder, 150);
        use(100 * MIB);
        EXPECT_SILENCE(recorder, 150);
    }
    use(10 * MIB);
    EXPECT_NEUTRAL(recorder);
    use(90 * MIB); /* and again */
    EXPECT_LOW(recorder);
}

static void a_low_stands_long_enough_to_be_seen(void **state)
{
    struct recorder *recorder = &fixture.recorder;
    (void)state;
    use(95 * MIB);
    EXPECT_LOW(recorder);
    use(0);
    EXPECT_SILENCE(recorder, LASTS - 200);
    EXPECT_NEUTRAL(recorder);
}

static void the_emergency_part_is_no_room(void **state)
{
    struct recorder *recorder = &fixture.recorder;
    (void)state;
    limit(LIMIT, 10 * MIB); /* tasks may reach 90 MiB: 81 and 72 */
    use(81 * MIB - PAGE);
    EXPECT_SILENCE(recorder, 300);
    use(81 * MIB);
    EXPECT_LOW(recorder);
    use(72 * MIB);
    EXPECT_SILENCE(recorder, LASTS + 300);
    use(72 * MIB - PAGE);
    EXPECT_NEUTRAL(recorder);
}

static void heap_blocks_count_as_well(void **state)
{
    struct recorder *recorder = &fixture.recorder;
    IHostMalloc *heap = NULL;
    void *block = NULL;
    (void)state;
    use(85 * MIB);
    EXPECT_OK(IHostMemoryManager_CreateMalloc(fixture.manager, MALLOC_THREADSAFE, &heap));
    EXPECT_OK(IHostMalloc_Alloc(heap, 6 * MIB, eTaskCritical, &block));
    EXPECT_LOW(recorder);
    assert_int_equal(IHostMalloc_Release(heap), 0);
    use(0);
    EXPECT_NEUTRAL(recorder);
}

/* ---- other reasons ---- */

static void a_refused_request_is_low_for_a_moment(void **state)
{
    struct recorder *recorder = &fixture.recorder;
    (void)state;
    be_refused();
    EXPECT_LOW(recorder);
    EXPECT_NEUTRAL(recorder);
    EXPECT_SILENCE(recorder, 300);
}

static void refusals_without_end_are_one_low(void **state)
{
    struct recorder *recorder = &fixture.recorder;
    (void)state;
    for (int i = 0; i < 60; i++) {
        be_refused();
        Sleep(50);
    }
    EXPECT_LOW(recorder);
    EXPECT_SILENCE(recorder, 500);
    EXPECT_NEUTRAL(recorder);
    assert_true(recorder->notes[1].time - recorder->notes[0].time >= 3000);
}

static void a_limit_below_what_is_in_use_is_low(void **state)
{
    struct recorder *recorder = &fixture.recorder;
    (void)state;
    use(50 * MIB);
    limit(40 * MIB, 0);
    EXPECT_LOW(recorder);
    EXPECT_SILENCE(recorder, LASTS + 300);
    limit(0, 0); /* none */
    EXPECT_NEUTRAL(recorder);
    limit(40 * MIB, 0);
    EXPECT_LOW(recorder);
    use(0);
    EXPECT_NEUTRAL(recorder);
}

static void the_host_says_low_and_neutral(void **state)
{
    struct recorder *recorder = &fixture.recorder;
    (void)state;
    EXPECT_OK(IHostMemoryPressure_NotifyMemory(fixture.pressure, eMemoryAvailableLow));
    EXPECT_LOW(recorder);
    EXPECT_SILENCE(recorder, LASTS + 300);
    EXPECT_OK(IHostMemoryPressure_NotifyMemory(fixture.pressure, eMemoryAvailableLow)); /* still */
    EXPECT_SILENCE(recorder, 300);
    EXPECT_OK(IHostMemoryPressure_NotifyMemory(fixture.pressure, eMemoryAvailableNeutral));
    EXPECT_NEUTRAL(recorder);
    EXPECT_OK(IHostMemoryPressure_NotifyMemory(fixture.pressure, eMemoryAvailableNeutral));
    EXPECT_SILENCE(recorder, 300);
    EXPECT_HR(IHostMemoryPressure_NotifyMemory(fixture.pressure, (EMemoryAvailable)0),
              E_INVALIDARG);
    EXPECT_HR(IHostMemoryPressure_NotifyMemory(fixture.pressure, (EMemoryAvailable)4),
              E_INVALIDARG);
}

static void high_ends_a_low_only_with_plenty_left(void **state)
{
    struct recorder *recorder = &fixture.recorder;
    (void)state;
    use(49 * MIB);
    EXPECT_OK(IHostMemoryPressure_NotifyMemory(fixture.pressure, eMemoryAvailableLow));
    EXPECT_LOW(recorder);
    EXPECT_OK(IHostMemoryPressure_NotifyMemory(fixture.pressure, eMemoryAvailableHigh));
    EXPECT_NOTE(recorder, eMemoryAvailableHigh, LASTS + SOON);
    use(50 * MIB);
    EXPECT_OK(IHostMemoryPressure_NotifyMemory(fixture.pressure, eMemoryAvailableLow));
    EXPECT_LOW(recorder);
    EXPECT_OK(IHostMemoryPressure_NotifyMemory(fixture.pressure, eMemoryAvailableHigh));
    EXPECT_NEUTRAL(recorder);
}

static void low_of_either_is_low(void **state)
{
    struct recorder *recorder = &fixture.recorder;
    (void)state;
    EXPECT_OK(IHostMemoryPressure_NotifyMemory(fixture.pressure, eMemoryAvailableLow));
    EXPECT_LOW(recorder);
    use(95 * MIB);
    EXPECT_OK(IHostMemoryPressure_NotifyMemory(fixture.pressure, eMemoryAvailableNeutral));
    EXPECT_SILENCE(recorder, LASTS + 300);
    use(0);
    EXPECT_NEUTRAL(recorder);
}

static void a_short_low_of_the_host_s_is_not_lost(void **state)
{
    struct recorder *recorder = &fixture.recorder;
    (void)state;
    EXPECT_OK(IHostMemoryPressure_NotifyMemory(fixture.pressure, eMemoryAvailableLow));
    EXPECT_OK(IHostMemoryPressure_NotifyMemory(fixture.pressure, eMemoryAvailableNeutral));
    EXPECT_LOW(recorder);
    EXPECT_NEUTRAL(recorder);
}

static void nothing_is_sent_without_pressure(void **state)
{
    struct recorder *recorder = &fixture.recorder;
    (void)state;
    use(89 * MIB);
    use(10 * MIB);
    EXPECT_OK(IHostMemoryPressure_NotifyMemory(fixture.pressure, eMemoryAvailableNeutral));
    EXPECT_OK(IHostMemoryPressure_NotifyMemory(fixture.pressure, eMemoryAvailableHigh));
    EXPECT_OK(IHostRuntimeLifetime_RuntimeStarted(fixture.lifetime));
    limit(12 * MIB, 0);
    limit(0, 0);
    use(2 * LIMIT); /* without a limit there is no mark */
    use(0);
    EXPECT_SILENCE(recorder, 1500);
}

/* ---- repetition ---- */

static void runtime_started_sends_a_standing_low_again(void **state)
{
    struct recorder *recorder = &fixture.recorder;
    (void)state;
    use(90 * MIB);
    EXPECT_LOW(recorder);
    EXPECT_OK(IHostRuntimeLifetime_RuntimeStarted(fixture.lifetime));
    EXPECT_LOW(recorder);
    EXPECT_SILENCE(recorder, 300);
}

static void low_is_repeated_every_8_seconds_and_no_faster(void **state)
{
    struct recorder *recorder = &fixture.recorder;
    (void)state;
    use(90 * MIB);
    EXPECT_LOW(recorder);
    for (int i = 0; i < 75; i++) { /* whatever happens meanwhile */
        use(i % 2 == 0 ? 91 * MIB : 99 * MIB);
        be_refused();
        Sleep(100);
    }
    EXPECT_LOW(recorder);
    ULONGLONG between = recorder->notes[1].time - recorder->notes[0].time;
    assert_in_range(between, PERIOD, PERIOD + SOON);
    use(0);
    EXPECT_NEUTRAL(recorder);
    EXPECT_SILENCE(recorder, 300);

    HOSTMEM_STATISTICS statistics = statistics_of(fixture.manager);
    assert_int_equal(statistics.NotificationsLow, 2);
    assert_int_equal(statistics.NotificationsNeutral, 1);
    assert_int_equal(statistics.NotificationsHigh, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        pressure_test(low_comes_at_90_percent_and_neutral_below_80),
        pressure_test(between_the_marks_nothing_changes),
        pressure_test(a_low_stands_long_enough_to_be_seen),
        pressure_test(the_emergency_part_is_no_room),
        pressure_test(heap_blocks_count_as_well),
        pressure_test(a_refused_request_is_low_for_a_moment),
        pressure_test(refusals_without_end_are_one_low),
        pressure_test(a_limit_below_what_is_in_use_is_low),
        pressure_test(the_host_says_low_and_neutral),
        pressure_test(high_ends_a_low_only_with_plenty_left),
        pressure_test(low_of_either_is_low),
        pressure_test(a_short_low_of_the_host_s_is_not_lost),
        pressure_test(nothing_is_sent_without_pressure),
        pressure_test(runtime_started_sends_a_standing_low_again),
        pressure_test(low_is_repeated_every_8_seconds_and_no_faster),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
