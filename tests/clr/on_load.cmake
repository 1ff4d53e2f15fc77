# Runtimes that are bound when somebody loads them. One binding per process.
add_executable(test_bind_on_load test_bind_on_load.c coreclr.c recording_manager.c)
target_link_libraries(test_bind_on_load PRIVATE hostmem_build contract hostmem::hostmem)

binding_tests(on_load test_bind_on_load
    bad_arguments_are_refused
    a_runtime_is_bound_before_it_runs
    what_is_withdrawn_does_not_happen
    low_memory_ends_with_the_binding_that_heard_of_it
    what_is_being_made_can_be_withdrawn
    a_runtime_that_is_loaded_is_bound_at_once
    a_module_that_is_no_runtime_is_missed_and_a_runtime_can_follow
    a_manager_that_missed_its_runtime_is_given_back
)

# A host that leaves it to hostfxr to load a runtime; 2.0 has no hostfxr_main_startupinfo.
add_executable(hostfxr_host hostfxr_host.c)
target_link_libraries(hostfxr_host PRIVATE hostmem_build hostmem::hostmem)
target_link_options(hostfxr_host PRIVATE -municode)
add_dependencies(hostfxr_host managed_executables)
add_test(NAME clr.on_load.3.1.hostfxr COMMAND hostfxr_host
    ${dotnet_3.1}/host/fxr/3.1.2/hostfxr.dll ${dotnet_3.1} ${executables}/args.dll
    one two)
set_tests_properties(clr.on_load.3.1.hostfxr PROPERTIES LABELS clr TIMEOUT 60
    PASS_REGULAR_EXPRESSION
        "exit code 2, binding 0x00000000, [1-9][0-9]* functions bound, [0-9]+ passed on, 0 unknown, accounting right")
if(NOT EXISTS ${dotnet_3.1})
    set_tests_properties(clr.on_load.3.1.hostfxr PROPERTIES DISABLED TRUE)
endif()

# ---- The C runtime's heap ----

clr_test(${old}.crt_heap RUNTIME ${dotnet_${old}} PROGRAM ${managed}/dynamic.exe EXIT_CODE 42
    OPTIONS --crt-heap EXPECT "calls.Alloc > 15000")
clr_test(3.1.crt_heap RUNTIME ${dotnet_3.1} PROGRAM ${managed}/dynamic.exe EXIT_CODE 42
    OPTIONS --crt-heap EXPECT "calls.Alloc > 20000")
