# hostmem_add_test(<name> LABEL <unit|contract|stress> SOURCES <file>... LIBS <target>...)
#
# One CMocka program, one ctest test. Programs for Windows run under Wine by themselves (the
# toolchain file names the emulator), and they all land beside hostmem.dll.
function(hostmem_add_test name)
    cmake_parse_arguments(PARSE_ARGV 1 arg "" "LABEL" "SOURCES;LIBS")
    add_executable(${name} ${arg_SOURCES})
    target_include_directories(${name} PRIVATE ${PROJECT_SOURCE_DIR}/tests)
    target_link_libraries(${name} PRIVATE hostmem_build ${arg_LIBS} cmocka)
    add_test(NAME ${arg_LABEL}.${name} COMMAND ${name})
    set_tests_properties(${arg_LABEL}.${name} PROPERTIES LABELS ${arg_LABEL} TIMEOUT 120
        SKIP_RETURN_CODE 77)
    if(arg_LABEL STREQUAL "${HOSTMEM_COVERAGE}") # one at a time: all add to the same data
        set_tests_properties(${arg_LABEL}.${name} PROPERTIES FIXTURES_SETUP coverage
            RESOURCE_LOCK coverage)
    endif()
    if(arg_LABEL STREQUAL "stress") # keeps every processor busy
        set_tests_properties(${arg_LABEL}.${name} PROPERTIES PROCESSORS 2)
    endif()
endfunction()
