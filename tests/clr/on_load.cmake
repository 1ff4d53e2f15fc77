# Runtimes that are bound when somebody loads them. One binding per process.
add_executable(test_bind_on_load test_bind_on_load.c coreclr.c)
target_link_libraries(test_bind_on_load PRIVATE hostmem_build contract hostmem::hostmem)

foreach(version IN ITEMS 2.0.0 3.1.2)
    string(REGEX MATCH "([0-9])\\.([0-9])" matched ${version})
    set(dotnet ${HOSTMEM_DOTNET_${CMAKE_MATCH_1}${CMAKE_MATCH_2}})
    foreach(test IN ITEMS
        bad_arguments_are_refused
        a_runtime_is_bound_before_it_runs
        what_is_withdrawn_does_not_happen
        a_runtime_that_is_loaded_is_bound_at_once
        a_module_that_is_no_runtime_is_missed_and_a_runtime_can_follow
    )
        add_test(NAME clr.on_load.${matched}.${test} COMMAND test_bind_on_load
            ${dotnet}/shared/Microsoft.NETCore.App/${version} ${managed}/args.exe ${test})
        set_tests_properties(clr.on_load.${matched}.${test} PROPERTIES LABELS clr TIMEOUT 60)
        if(NOT EXISTS ${dotnet})
            set_tests_properties(clr.on_load.${matched}.${test} PROPERTIES DISABLED TRUE)
        endif()
    endforeach()
endforeach()

# A host that leaves it to hostfxr to load a runtime; 2.0 has no hostfxr_main_startupinfo.
add_executable(hostfxr_host hostfxr_host.c)
target_link_libraries(hostfxr_host PRIVATE hostmem_build hostmem::hostmem)
target_link_options(hostfxr_host PRIVATE -municode)
add_test(NAME clr.on_load.3.1.hostfxr COMMAND hostfxr_host
    ${HOSTMEM_DOTNET_31} 3.1.2 ${configured}/args.exe one two)
set_tests_properties(clr.on_load.3.1.hostfxr PROPERTIES LABELS clr TIMEOUT 60
    PASS_REGULAR_EXPRESSION
        "exit code 2, binding 0x00000000, [1-9][0-9]* doors bound, [0-9]+ passed on, 0 unknown, books right")
if(NOT EXISTS ${HOSTMEM_DOTNET_31})
    set_tests_properties(clr.on_load.3.1.hostfxr PROPERTIES DISABLED TRUE)
endif()

# ---- The C runtime's heap ----

clr_test(2.0.crt_heap RUNTIME ${HOSTMEM_DOTNET_20} PROGRAM ${managed}/dynamic.exe EXIT_CODE 42
    OPTIONS --crt-heap EXPECT "calls.Alloc > 15000")
clr_test(3.1.crt_heap RUNTIME ${HOSTMEM_DOTNET_31} PROGRAM ${managed}/dynamic.exe EXIT_CODE 42
    OPTIONS --crt-heap EXPECT "calls.Alloc > 20000")
