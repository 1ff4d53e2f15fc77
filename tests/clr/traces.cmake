# Programs recorded on real runtimes, and replayed; check_trace.cmake says what is compared.

set(replay ${CMAKE_CROSSCOMPILING_EMULATOR} $<TARGET_FILE:hostmem-replay>)

# trace_test(<name> RUNTIME <folder> PROGRAM <file> [OPTIONS ...] [ARGUMENTS ...] [EXIT_CODE <n>] [REFUSED])
function(trace_test name)
    cmake_parse_arguments(PARSE_ARGV 1 arg "REFUSED" "RUNTIME;PROGRAM;EXIT_CODE"
        "OPTIONS;ARGUMENTS")
    if(NOT DEFINED arg_EXIT_CODE)
        set(arg_EXIT_CODE 42)
    endif()
    set(trace ${CMAKE_CURRENT_BINARY_DIR}/${name}.trace)
    set(report ${CMAKE_CURRENT_BINARY_DIR}/${name}.trace.json)
    set(command ${run} --runtime ${arg_RUNTIME} --report json=${report} --trace ${trace}
        ${arg_OPTIONS} ${arg_PROGRAM} ${arg_ARGUMENTS})
    add_test(NAME clr.trace.${name} COMMAND ${CMAKE_COMMAND}
        -D "COMMAND=${command}"
        -D "REPLAY=${replay}"
        -D RUNTIME=${arg_RUNTIME}
        -D EXIT_CODE=${arg_EXIT_CODE}
        -D TRACE=${trace}
        -D REPORT=${report}
        -D REFUSED=${arg_REFUSED}
        -P ${CMAKE_CURRENT_SOURCE_DIR}/check_trace.cmake
    )
    set_tests_properties(clr.trace.${name} PROPERTIES LABELS clr TIMEOUT 120)
endfunction()

foreach(version IN LISTS versions)
    set(dotnet ${dotnet_${version}})
    trace_test(${version}.churn RUNTIME ${dotnet} PROGRAM ${managed}/churn.exe)
endforeach()
trace_test(3.1.threads RUNTIME ${dotnet_3.1} PROGRAM ${managed}/threads.exe)
trace_test(3.1.gc_server RUNTIME ${dotnet_3.1} PROGRAM ${managed}/churn.exe
    OPTIONS --gc server)
trace_test(${old}.oom RUNTIME ${dotnet_${old}} PROGRAM ${managed}/oom.exe
    OPTIONS --commit-limit 64M REFUSED)

# A trace is whole after Environment.FailFast too. Wine has its own exit code, of which 8 bits are left.
if(CMAKE_CROSSCOMPILING_EMULATOR)
    set(fail_fast 2)
else()
    set(fail_fast 2148734499)
endif()
trace_test(3.1.failfast RUNTIME ${dotnet_3.1} PROGRAM ${managed}/failfast.exe
    EXIT_CODE ${fail_fast})

# ---- The end of a trace ----

set(trace ${PROJECT_SOURCE_DIR}/src/trace)
hostmem_add_test(test_trace_end LABEL clr LIBS contract hostmem_trace hostmem::hostmem
    SOURCES test_trace_end.c
        ${trace}/trace_malloc.c ${trace}/trace_manager.c ${trace}/trace_writer.c)
target_include_directories(test_trace_end PRIVATE ${PROJECT_SOURCE_DIR}/src)
add_test(NAME clr.test_trace_end.stuck COMMAND test_trace_end stuck)
set_tests_properties(clr.test_trace_end.stuck PROPERTIES LABELS clr TIMEOUT 60)

# ---- What cannot work ----

clr_error_test(trace_without_value "--trace needs a value" --trace)
clr_error_test(trace_file "cannot write the trace to .*no.such.folder: error 3"
    --runtime ${dotnet_3.1} --trace ${CMAKE_CURRENT_BINARY_DIR}/no/such/folder
    ${managed}/args.exe)
# The smallest limit is looked for by trial, and no trial writes to the trace.
clr_error_test(trace_of_no_start "${does_not_start}"
    --runtime ${dotnet_3.1} --commit-limit ${too_small}K
    --trace ${CMAKE_CURRENT_BINARY_DIR}/no_start.trace ${managed}/churn.exe)

# replay_error_test(<name> <regex of the message> <argument of hostmem-replay>...)
function(replay_error_test name message)
    add_test(NAME clr.error.replay_${name} COMMAND ${CMAKE_COMMAND}
        -D "COMMAND=${replay};${ARGN}"
        -D PROGRAM=hostmem-replay
        -D "MESSAGE=${message}"
        -P ${CMAKE_CURRENT_SOURCE_DIR}/check_error.cmake
    )
    set_tests_properties(clr.error.replay_${name} PROPERTIES LABELS clr TIMEOUT 60)
endfunction()

set(a_trace ${CMAKE_CURRENT_BINARY_DIR}/3.1.churn.trace)
replay_error_test(no_file "no trace given: see --help")
replay_error_test(missing_file "missing.trace cannot be read" missing.trace)
replay_error_test(text_file ".*CMakeLists.txt is no trace of hostmem-run" ${CMAKE_CURRENT_LIST_DIR}/CMakeLists.txt)
replay_error_test(unknown_option "--bogus is no option: see --help" a.trace --bogus 1)
replay_error_test(two_files "b.trace is one file too many: see --help" a.trace b.trace)
replay_error_test(rounds "--rounds needs a number from 1 to 1000000" a.trace --rounds 0)
replay_error_test(target "--through needs raw, table, passthrough or list" ${a_trace} --through xml)
replay_error_test(results_file ".* cannot be written" ${a_trace}
    --results ${CMAKE_CURRENT_BINARY_DIR}/no/such/folder)
set_tests_properties(clr.trace.3.1.churn PROPERTIES FIXTURES_SETUP a_trace)
set_tests_properties(clr.error.replay_target clr.error.replay_results_file PROPERTIES
    FIXTURES_REQUIRED a_trace)

# The process is terminated, and nobody closes the trace: it is read as far as it is whole, in order.
add_test(NAME clr.trace.vanish COMMAND ${run} --runtime ${dotnet_3.1} --report none
    --trace ${CMAKE_CURRENT_BINARY_DIR}/vanish.trace ${managed}/failfast.exe vanish)
set_tests_properties(clr.trace.vanish PROPERTIES LABELS clr TIMEOUT 60 WILL_FAIL TRUE
    FIXTURES_SETUP cut_trace)
foreach(what IN ITEMS --summary --through=table)
    string(REPLACE "=" ";" arguments ${what})
    add_test(NAME clr.trace.vanish${what}
        COMMAND ${replay} ${CMAKE_CURRENT_BINARY_DIR}/vanish.trace ${arguments})
    set_tests_properties(clr.trace.vanish${what} PROPERTIES LABELS clr TIMEOUT 60
        FIXTURES_REQUIRED cut_trace PASS_REGULAR_EXPRESSION
        "never closed: its process was terminated. It is whole up to call [1-9].*VirtualAlloc  +[1-9]")
endforeach()
