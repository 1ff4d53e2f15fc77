/* SPDX-License-Identifier: MIT
 *
 * HostMemBindRuntime with a real coreclr.dll: when it refuses, what it leaves behind when it fails, at
 * which levels the runtime asks, and what the host hears of its start and its end.
 *
 * test_bind_coreclr <framework folder> <program> <test>
 */
#include "clr/binding_fixture.h"

/* ---- Refusals ---- */

static void a_runtime_that_has_started_is_refused(void **state)
{
    IHostMemoryManager *manager = create_manager();
    (void)state;
    assert_int_equal(coreclr_start(), S_OK);
    EXPECT_HR(HostMemBindRuntime(manager, coreclr, NULL),
              hr_of_win32(ERROR_SERVICE_ALREADY_RUNNING));
    imports_read(coreclr, &after);
    assert_true(imports_equal(&before, &after));
    assert_int_equal(statistics_of(manager).Calls.CreateMalloc, 0);
    assert_int_equal(IHostMemoryManager_Release(manager), 0);
    assert_int_equal(coreclr_run_program(), 3);
}

static void a_second_binding_is_refused_and_the_first_stays(void **state)
{
    IHostMemoryManager *manager = *state;
    EXPECT_REF(manager, 5 + 1); /* ours, the binding's four, the heap's */
    EXPECT_HR(HostMemBindRuntime(manager, coreclr, NULL), hr_of_win32(ERROR_ALREADY_INITIALIZED));
    EXPECT_HR(HostMemBindRuntime(manager, GetModuleHandleW(NULL), NULL),
              hr_of_win32(ERROR_ALREADY_INITIALIZED));
    EXPECT_REF(manager, 5 + 1);
    imports_read(coreclr, &before);
    assert_true(imports_equal(&before, &after));
    assert_int_equal(coreclr_start(), S_OK);
    assert_int_equal(coreclr_run_program(), 3);
    assert_true(statistics_of(manager).Calls.VirtualAlloc > 50);
}

static void expect_failure_without_trace(HRESULT expected)
{
    EXPECT_HR(HostMemBindRuntime(recording_manager(), coreclr, NULL), expected);
    imports_read(coreclr, &after);
    assert_true(imports_equal(&before, &after));
    assert_int_equal(recording.references, 0);
    assert_null(recording.callback);
}

static void a_binding_that_fails_leaves_no_trace_and_can_be_tried_again(void **state)
{
    (void)state;
    recording.create_malloc = E_OUTOFMEMORY;
    expect_failure_without_trace(E_OUTOFMEMORY);
    recording.create_malloc = S_FALSE; /* only S_OK is success */
    expect_failure_without_trace(E_FAIL);
    recording.create_malloc = S_OK;

    /* The n-th VirtualProtect fails: as long as that is one of those before the first write. */
    HRESULT hr = E_FAIL;
    int n = 0;
    while (FAILED(hr)) {
        recording.protects_until_failure = ++n;
        hr = HostMemBindRuntime(recording_manager(), coreclr, NULL);
        imports_read(coreclr, &after);
        if (FAILED(hr)) {
            assert_int_equal(hr, E_ACCESSDENIED);
            assert_true(imports_equal(&before, &after));
            assert_null(recording.callback);
        }
    }
    assert_true(n > 5); /* a slot each */
    assert_int_equal(recording.references, 1);
    assert_non_null(recording.callback);
    assert_ptr_not_equal(imports_find(&before, "VirtualAlloc"),
                         imports_find(&after, "VirtualAlloc"));
}

static void without_block_sizes_the_heap_functions_are_left_alone(void **state)
{
    (void)state;
    assert_ptr_equal(imports_find(&before, "HeapAlloc"), imports_find(&after, "HeapAlloc"));
    assert_ptr_equal(imports_find(&before, "HeapFree"), imports_find(&after, "HeapFree"));
    assert_ptr_not_equal(imports_find(&before, "VirtualFree"), imports_find(&after, "VirtualFree"));
    assert_memory_equal(before.protections, after.protections,
                        before.count * sizeof(before.protections[0]));
}

static int refuse_registration(void **state)
{
    recording.register_result = E_NOTIMPL;
    return bind_recording_manager(state);
}

static void without_a_callback_the_notifications_are_the_systems(void **state)
{
    BOOL set;
    (void)state;
    HANDLE high = FUNCTION(CreateMemoryResourceNotification)(HighMemoryResourceNotification);
    assert_non_null(high);
    assert_true(QueryMemoryResourceNotification(high, &set));
    assert_true(CloseHandle(high));
}

/* Which the runtime shows, on 2.0, by that call alone. */
static void without_a_callback_the_end_of_the_start_is_noticed_all_the_same(void **state)
{
    (void)state;
    assert_int_equal(coreclr_start(), S_OK);
    assert_int_equal(coreclr_run_program(), 3);
    assert_true(recording.allocations[eTaskCritical] > 0);
}

static void the_start_is_process_critical_and_the_program_is_not(void **state)
{
    (void)state;
    recording.last_level = eProcessCritical;
    assert_int_equal(coreclr_start(), S_OK);
    LONG start = recording.allocations[eProcessCritical];
    assert_true(start > 5); /* 84 on 3.1; 2.0 shows an earlier moment of its start only */
    assert_int_equal(coreclr_run_program(), 3);
    LONG heap = recording.allocations[eTaskCritical],
         other = recording.allocations[eAppDomainCritical];
    printf("VirtualAlloc: %ld process critical, %ld domain critical, %ld task critical\n", start,
           other, heap);
    assert_int_equal(recording.allocations[eProcessCritical], start);
    assert_true(heap > 0);
    assert_true(other > heap); /* the program does nothing but load and compile */
    assert_int_equal(recording.steps_back, 0);
}

static int starts_heard;
static LONG critical_before_start, others_before_start;

static void CALLBACK hear_start(void *context)
{
    starts_heard += context == &starts_heard;
    critical_before_start = recording.allocations[eProcessCritical];
    others_before_start =
        recording.allocations[eTaskCritical] + recording.allocations[eAppDomainCritical];
}

static int bind_with_start_callback(void **state)
{
    bind_options.OnStart = hear_start;
    bind_options.Context = &starts_heard;
    return bind_recording_manager(state);
}

static void the_host_hears_once_that_the_runtime_has_started(void **state)
{
    (void)state;
    assert_int_equal(starts_heard, 0);
    assert_int_equal(coreclr_start(), S_OK);
    assert_int_equal(coreclr_run_program(), 3);
    assert_int_equal(starts_heard, 1);
    assert_int_equal(critical_before_start, recording.allocations[eProcessCritical]);
    assert_int_equal(others_before_start, 0);
}

/* Reserves `size` bytes and commits a page of them. Returns the level of both, or -1. */
static int level_of_reservation(SIZE_T size, DWORD protect)
{
    for (int level = 0; level <= eProcessCritical; level++) {
        recording.allocations[level] = 0;
    }
    char *memory = FUNCTION(VirtualAlloc)(NULL, size, MEM_RESERVE, protect);
    assert_ptr_equal(FUNCTION(VirtualAlloc)(memory, PAGE, MEM_COMMIT, PAGE_READWRITE), memory);
    assert_true(FUNCTION(VirtualFree)(memory, 0, MEM_RELEASE));
    for (int level = 0; level <= eProcessCritical; level++) {
        if (recording.allocations[level] >= 2) { /* the runtime's own threads may be at work */
            return level;
        }
    }
    return -1;
}

/* 4 MiB are frozen objects of .NET 8, 16 MiB the smallest segment. */
static void what_no_collection_frees_is_domain_critical(void **state)
{
    (void)state;
    assert_int_equal(level_of_reservation(16 * MIB, PAGE_READWRITE), eProcessCritical);
    assert_int_equal(coreclr_start(), S_OK);
    assert_int_equal(coreclr_run_program(), 3);
    assert_int_equal(level_of_reservation(16 * MIB, PAGE_READWRITE), eTaskCritical);
    assert_int_equal(level_of_reservation(16 * MIB, PAGE_NOACCESS), eAppDomainCritical);
    assert_int_equal(level_of_reservation(4 * MIB, PAGE_READWRITE), eAppDomainCritical);
    assert_int_equal(level_of_reservation(16 * MIB, PAGE_READWRITE), eTaskCritical);
}

/* The level of the commit of a page. The runtime's own threads may be at work. */
static int level_of_commit(char *page)
{
    for (int level = 0; level <= eProcessCritical; level++) {
        recording.allocations[level] = 0;
    }
    for (int i = 0; i < 100; i++) {
        assert_ptr_equal(FUNCTION(VirtualAlloc)(page, PAGE, MEM_COMMIT, PAGE_READWRITE), page);
    }
    return recording.allocations[eTaskCritical] >= 100 ? eTaskCritical : eAppDomainCritical;
}

static void a_segment_is_one_until_it_is_released(void **state)
{
    (void)state;
    assert_int_equal(coreclr_start(), S_OK);
    assert_int_equal(coreclr_run_program(), 3);
    char *memory = FUNCTION(VirtualAlloc)(NULL, 16 * MIB, MEM_RESERVE, PAGE_READWRITE);
    assert_int_equal(level_of_commit(memory), eTaskCritical);
    assert_false(FUNCTION(VirtualFree)(memory, PAGE, MEM_RELEASE)); /* refused … */
    assert_false(FUNCTION(VirtualFree)(memory, 0, MEM_RELEASE | MEM_DECOMMIT));
    assert_int_equal(level_of_commit(memory), eTaskCritical); /* … and nothing has changed */
    recording.failing_frees = 1; /* by the manager, for whatever reason */
    assert_false(FUNCTION(VirtualFree)(memory, 0, MEM_RELEASE));
    assert_int_equal(level_of_commit(memory), eTaskCritical);

    assert_true(VirtualFree(memory, 0, MEM_RELEASE)); /* by others */
    assert_ptr_equal(FUNCTION(VirtualAlloc)(memory + MIB, MIB, MEM_RESERVE, PAGE_NOACCESS),
                     memory + MIB);
    assert_int_equal(level_of_commit(memory + MIB), eAppDomainCritical);
    assert_true(FUNCTION(VirtualFree)(memory + MIB, 0, MEM_RELEASE));
}

/* ---- The end of the process ---- */

static int ends_heard;
static UINT32 expected_end;

/* The process is not to end, but with the verdict: 0 is success. */
static void CALLBACK hear_end(void *context, UINT32 exit_code)
{
    ends_heard += context == &ends_heard ? 1 : 2;
    if (expected_end) {
        ExitProcess(exit_code == expected_end && ends_heard == 1 ? 0 : 1);
    }
}

static int bind_with_termination_callback(void **state)
{
    bind_options.OnTermination = hear_end;
    bind_options.Context = &ends_heard;
    return bind_hostmem(state);
}

static void the_host_hears_of_a_process_that_ends_itself(void **state)
{
    (void)state;
    assert_false(FUNCTION(TerminateProcess)(NULL, 57)); /* no process of ours */
    assert_int_equal(GetLastError(), ERROR_INVALID_HANDLE);
    assert_int_equal(ends_heard, 0);
    expected_end = 57;
    FUNCTION(TerminateProcess)(GetCurrentProcess(), 57);
}

static void the_host_hears_of_fail_fast(void **state)
{
    (void)state;
    EXCEPTION_RECORD exception = {.ExceptionCode = 0x80131623};
    expected_end = exception.ExceptionCode;
    FUNCTION(RaiseFailFastException)(&exception, NULL, 0);
}

static void fail_fast_without_an_exception_has_a_code_of_its_own(void **state)
{
    (void)state;
    expected_end = 0xc0000602;
    FUNCTION(RaiseFailFastException)(NULL, NULL, 0);
}

int main(int argc, char **argv)
{
#define WITH(setup, name) cmocka_unit_test_setup(name, setup)
    const struct CMUnitTest tests[] = {
        WITH(load_runtime, a_runtime_that_has_started_is_refused),
        WITH(bind_hostmem, a_second_binding_is_refused_and_the_first_stays),
        WITH(load_runtime, a_binding_that_fails_leaves_no_trace_and_can_be_tried_again),
        WITH(bind_recording_manager, without_block_sizes_the_heap_functions_are_left_alone),
        WITH(refuse_registration, without_a_callback_the_notifications_are_the_systems),
        WITH(refuse_registration, without_a_callback_the_end_of_the_start_is_noticed_all_the_same),
        WITH(bind_recording_manager, the_start_is_process_critical_and_the_program_is_not),
        WITH(bind_recording_manager, what_no_collection_frees_is_domain_critical),
        WITH(bind_with_start_callback, the_host_hears_once_that_the_runtime_has_started),
        WITH(bind_recording_manager, a_segment_is_one_until_it_is_released),
        WITH(bind_with_termination_callback, the_host_hears_of_a_process_that_ends_itself),
        WITH(bind_with_termination_callback, the_host_hears_of_fail_fast),
        WITH(bind_with_termination_callback, fail_fast_without_an_exception_has_a_code_of_its_own),
    };
    return coreclr_test_main(argc, argv, tests, sizeof(tests) / sizeof(tests[0]));
}
