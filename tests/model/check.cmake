# cmake -D SPIN= -D CC= -D MODEL= -D MISTAKE=<name, or NONE> -D FOLDER= -P check.cmake
#
# Spin writes the search as a C program. It must go through all states without an error, or with a
# mistake in the model it must find one.
file(MAKE_DIRECTORY ${FOLDER})

function(run)
    execute_process(COMMAND ${ARGV} WORKING_DIRECTORY ${FOLDER}
        OUTPUT_VARIABLE output ERROR_VARIABLE output RESULT_VARIABLE result)
    if(NOT result EQUAL 0)
        message(FATAL_ERROR "${ARGV}: ${result}\n${output}")
    endif()
    set(output "${output}" PARENT_SCOPE)
endfunction()

run(${SPIN} -a -D${MISTAKE} ${MODEL})
run(${CC} -O2 -w -DSAFETY -DCOLLAPSE -DMEMLIM=2000 -o pan pan.c)
run(./pan -m1000000)

string(REGEX MATCH "errors: ([0-9]+)" found "${output}")
set(errors ${CMAKE_MATCH_1})
string(REGEX MATCH "([0-9]+) states, stored" states "${output}")
string(REGEX MATCH "(assertion violated|invalid end state)[^\n]*" violated "${output}")
message("${MISTAKE}: ${states}, ${found} ${violated}")
if(output MATCHES "max search depth too small|out of memory|memory bound")
    message(FATAL_ERROR "the search is not complete:\n${output}")
endif()
if(MISTAKE STREQUAL "NONE" AND NOT errors EQUAL 0)
    cmake_path(GET MODEL FILENAME name)
    run(${SPIN} -t -p -k ${name}.trail ${MODEL})
    message(FATAL_ERROR "the way there:\n${output}")
elseif(NOT MISTAKE STREQUAL "NONE" AND NOT errors EQUAL 1)
    message(FATAL_ERROR "the mistake was not found")
endif()
