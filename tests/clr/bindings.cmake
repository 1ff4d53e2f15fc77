# The binding by itself: one binding per process, so one process per test.

foreach(test IN ITEMS
    test_bind_coreclr
    test_bind_functions
    test_bind_sections
    test_bind_sections_behind
    test_bind_sections_threads
)
    add_executable(${test} ${test}.c binding_fixture.c coreclr.c recording_manager.c)
    target_include_directories(${test} PRIVATE ${PROJECT_SOURCE_DIR}/tests)
    target_link_libraries(${test} PRIVATE hostmem_build contract hostmem::hostmem)
endforeach()

# binding_tests(<prefix> <executable> <test>...): each by itself, on every runtime.
function(binding_tests prefix executable)
    foreach(version IN LISTS versions)
        foreach(test IN LISTS ARGN)
            set(name clr.${prefix}.${version}.${test})
            add_test(NAME ${name} COMMAND ${executable}
                ${framework_${version}} ${managed}/args.exe ${test})
            set_tests_properties(${name} PROPERTIES LABELS clr TIMEOUT 60)
            if(NOT EXISTS ${framework_${version}})
                set_tests_properties(${name} PROPERTIES DISABLED TRUE)
            endif()
        endforeach()
    endforeach()
endfunction()

binding_tests(bind test_bind_coreclr
    a_runtime_that_has_started_is_refused
    a_second_binding_is_refused_and_the_first_stays
    a_binding_that_fails_leaves_no_trace_and_can_be_tried_again
    without_block_sizes_the_heap_functions_are_left_alone
    without_a_callback_the_notifications_are_the_systems
    without_a_callback_the_end_of_the_start_is_noticed_all_the_same
    the_start_is_process_critical_and_the_program_is_not
    what_no_collection_frees_is_domain_critical
    the_host_hears_once_that_the_runtime_has_started
    a_segment_is_one_until_it_is_released
    the_host_hears_of_a_process_that_ends_itself
    the_host_hears_of_fail_fast
    fail_fast_without_an_exception_has_a_code_of_its_own
)

binding_tests(bind test_bind_functions
    virtual_memory_goes_through_the_manager
    the_heap_functions_do_what_win32_does
    heap_blocks_of_others_and_other_heaps_go_to_the_system
    only_blocks_of_the_system_wait_for_the_lock_of_its_heap
    the_memory_load_is_the_managers
    with_a_limit_the_budget_is_the_machine
    a_notification_of_the_manager_signals_the_runtimes_object
    notifications_are_forgotten_when_they_are_closed
    the_manager_hears_of_mapped_views
)

binding_tests(sections test_bind_sections
    sections_without_a_file_are_charged_once
    a_section_beyond_the_limit_is_refused
    a_commit_of_a_whole_view_draws_on_the_emergency_part
    a_section_larger_than_an_x86_address_space_is_charged_in_full
    every_section_of_many_is_charged
    a_section_stays_as_long_as_it_has_a_handle
    a_duplicate_can_take_the_place_of_its_source
    a_source_is_closed_though_there_is_no_duplicate
    a_handle_that_cannot_be_closed_keeps_its_section
    a_value_that_comes_again_is_a_new_section
    a_section_is_charged_in_whole_pages
    a_view_that_cannot_be_unmapped_keeps_its_section
    the_table_of_a_section_of_2_tib_is_small
)

binding_tests(sections test_bind_sections_behind
    a_view_that_others_unmapped_is_found_when_it_is_unmapped
    a_commit_where_a_view_was_is_answered_as_windows_does
    a_view_takes_the_place_of_one_that_others_unmapped
    a_region_takes_the_place_of_a_view_that_others_unmapped
    a_handle_that_others_closed_is_found_when_it_is_closed
    a_value_that_comes_again_is_no_section
    a_section_with_two_handles_loses_one
    a_refund_that_the_manager_refuses_is_counted
)

binding_tests(sections test_bind_sections_threads
    a_commit_waits_for_room_that_another_section_makes
    threads_that_commit_the_same_pages_charge_them_once
    the_last_thread_passes_over_the_locks_of_the_dead
)
