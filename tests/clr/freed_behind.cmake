# Memory that others have freed, in two lives of a process each: in the first one a module frees 1,000
# regions of the runtime's with its own imports, in the second one nobody does. In both the program then
# does 50 MiB of ordinary work and ends with its own exit code, and what hostmem counts at the end is what
# the system counts (check_report.cmake).

add_library(freeing_module SHARED freeing_module.c)
target_include_directories(freeing_module PRIVATE ${PROJECT_SOURCE_DIR}/tests)
target_link_libraries(freeing_module PRIVATE hostmem_build)
set_target_properties(freeing_module PROPERTIES PREFIX "")

math(EXPR MiB_50 "50 * ${MiB}")
math(EXPR freed_bytes "1000 * 65536")
set(first_life FREED_BEHIND 1000)
set(first_life_expect "regions.freedBehindBytes = ${freed_bytes}" "commit.peakBytes > ${MiB_50}")

# second_life_of(<test>): <test>.second_life comes after it.
function(second_life_of name)
    set_tests_properties(clr.${name} PROPERTIES FIXTURES_SETUP ${name})
    set_tests_properties(clr.${name}.second_life PROPERTIES FIXTURES_REQUIRED ${name})
endfunction()

# ---- A program with a native module ----

foreach(version IN LISTS versions)
    set(name ${version}.freed_behind)
    clr_test(${name} RUNTIME ${dotnet_${version}} PROGRAM ${managed}/freed.exe EXIT_CODE 0
        ARGUMENTS $<TARGET_FILE:freeing_module>
        OUTPUT "kept 51200 KiB, 0 wrong answers"
        ${first_life} EXPECT ${first_life_expect})
    clr_test(${name}.second_life RUNTIME ${dotnet_${version}} PROGRAM ${managed}/freed.exe EXIT_CODE 0
        OUTPUT "kept 51200 KiB, 0 wrong answers"
        EXPECT "commit.peakBytes > ${MiB_50}")
    second_life_of(${name})
endforeach()

# ---- In the report for people ----

add_test(NAME clr.freed_behind_text COMMAND ${run} --runtime ${dotnet_3.1} ${managed}/freed.exe
    $<TARGET_FILE:freeing_module>)
set_tests_properties(clr.freed_behind_text PROPERTIES LABELS clr TIMEOUT 60 PASS_REGULAR_EXPRESSION
    "hostmem's own tables[^\n]*\n  1,000 regions \\(62 MiB\\) were freed by others\r?\n")
add_test(NAME clr.nothing_freed_behind_text COMMAND ${run} --runtime ${dotnet_3.1} ${managed}/freed.exe)
set_tests_properties(clr.nothing_freed_behind_text PROPERTIES LABELS clr TIMEOUT 60
    PASS_REGULAR_EXPRESSION "hostmem's own tables" FAIL_REGULAR_EXPRESSION "freed by others")

# ---- In a trace ----

# Every region is met again, or the trace would not show it. A replay frees the same regions behind its
# target's back and gets the recorded answers, through whatever it is.
trace_test(3.1.freed_behind RUNTIME ${dotnet_3.1} PROGRAM ${managed}/freed.exe EXIT_CODE 0
    ARGUMENTS $<TARGET_FILE:freeing_module> all)

# ---- A single-file program ----

# Its code is what it is, so the module comes as a profiler, and the work is done by a server, which is
# asked 250 times for the list of its tools; with a first generation that large nothing of it is collected.
if(processor STREQUAL x64)
    add_executable(mcp_client mcp_client.c)
    target_link_libraries(mcp_client PRIVATE hostmem_build)
    target_link_options(mcp_client PRIVATE -municode)
    set(run_as_it_is ${run})
    set(work ${CMAKE_CROSSCOMPILING_EMULATOR} $<TARGET_FILE:mcp_client> 250
        $<TARGET_FILE:hostmem-run>)
    set(run ${CMAKE_COMMAND} -E env DOTNET_GCgen0size=40000000 CORECLR_ENABLE_PROFILING=1
        CORECLR_PROFILER={B8E6D9F1-2C5A-4D1E-9B0A-6F3C7A214E58}
        CORECLR_PROFILER_PATH=$<TARGET_FILE:freeing_module> ${work})
    clr_test(10.freed_behind RUNTIME ${HOSTMEM_DOTNET_10_SINGLE} PROGRAM ${single} EXIT_CODE 0 NO_HEAP
        ARGUMENTS server start
        OUTPUT "250 answers"
        ${first_life} EXPECT ${first_life_expect} "runtime.version = 10.0.9")
    set(run ${CMAKE_COMMAND} -E env DOTNET_GCgen0size=40000000 ${work})
    clr_test(10.freed_behind.second_life RUNTIME ${HOSTMEM_DOTNET_10_SINGLE} PROGRAM ${single}
        EXIT_CODE 0 NO_HEAP
        ARGUMENTS server start
        OUTPUT "250 answers"
        EXPECT "commit.peakBytes > ${MiB_50}")
    set(run ${run_as_it_is})
    second_life_of(10.freed_behind)
endif()
