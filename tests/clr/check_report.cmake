# cmake -D COMMAND=... -D RUNTIME=... -D EXIT_CODE=... -D REPORT=... [-D EXPECT=...]
#     [-D OUTPUT=...] [-D NO_REPORT=TRUE] [-D NO_HEAP=TRUE] [-D WINE_EXIT_CODE=...]
#     [-D FREED_BEHIND=...] -P check_report.cmake
#
# Runs hostmem-run on a real runtime and checks the exit code and the JSON report.
#
# COMMAND    list: the emulator, hostmem-run, its options, the program, its arguments
# RUNTIME    the test is skipped if this folder does not exist
# EXIT_CODE  of the program, as Windows has it; also Wine's, which passes on the lowest 8 bits
# WINE_EXIT_CODE  what the process ends with under Wine, where that is another; optional
# REPORT     the file that COMMAND has the report written to
# EXPECT     list of conditions: "key = value", "key > value", "key < value", where a key is
#            calls.VirtualAlloc for instance and a value another key, a number or a word
# OUTPUT     regular expression for what the program prints; optional
# NO_HEAP    the runtime's native blocks are the C runtime's: from 5.0 on
# FREED_BEHIND  how many regions other code in the process frees; 0 if it is left out. The runtime may
#            free some of them again, which is refused
# NO_REPORT  the process is terminated: REPORT is left empty, and EXPECT does not apply

if(NOT EXISTS ${RUNTIME})
    message("SKIPPED: there is no .NET runtime in ${RUNTIME}; ./dev setup fetches it")
    return()
endif()

file(REMOVE ${REPORT})
execute_process(COMMAND ${COMMAND} RESULT_VARIABLE exit_code OUTPUT_VARIABLE output
    ERROR_VARIABLE errors)
message("${output}${errors}")
if(exit_code EQUAL 77 AND "${COMMAND}" MATCHES ";--x86;")
    message("SKIPPED: Wine cannot run x86 programs here")
    return()
endif()
if(NOT WINE_EXIT_CODE)
    set(WINE_EXIT_CODE ${EXIT_CODE})
endif()
math(EXPR unix_exit_code "${WINE_EXIT_CODE} & 255")
if(NOT exit_code EQUAL EXIT_CODE AND NOT exit_code EQUAL unix_exit_code)
    message(FATAL_ERROR "exit code ${exit_code}, expected ${EXIT_CODE}")
endif()
if(NOT output MATCHES "${OUTPUT}")
    message(FATAL_ERROR "the output does not match ${OUTPUT}")
endif()

file(READ ${REPORT} report)
message("${report}")
if(NO_REPORT)
    if(NOT report STREQUAL "")
        message(FATAL_ERROR "a report where none can be")
    endif()
    return()
endif()

# The value behind a key of the report, or `text` itself if it is none.
function(value_of text out)
    string(REPLACE "." ";" path "${text}")
    string(JSON value ERROR_VARIABLE error GET "${report}" ${path})
    if(error)
        set(value "${text}")
    endif()
    set(${out} "${value}" PARENT_SCOPE)
endfunction()

# What holds for every program and every runtime.
list(APPEND EXPECT
    "exitCode = ${EXIT_CODE}"
    "commit.currentBytes = commit.osBytes"
    "commit.currentBytes > 0"
    "regions.current > 0"
    "foreign.free = 0"
    "sections.freedBehind = 0"
    "sections.refusedRefunds = 0"
    "functions.unknown = 0"
    "functions.bound > 9"
    "calls.CreateMalloc = 1"
    "calls.RegisterMemoryNotificationCallback = 1"
)
if(FREED_BEHIND)
    list(APPEND EXPECT "regions.freedBehind = ${FREED_BEHIND}" "foreign.virtualFree <= regions.freedBehind")
else()
    list(APPEND EXPECT "regions.freedBehind = 0" "regions.freedBehindBytes = 0"
        "foreign.virtualFree = 0")
endif()
if(NOT NO_HEAP)
    list(APPEND EXPECT "heap.currentBlocks > 0")
endif()
foreach(pair IN ITEMS "commit.currentBytes commit.peakBytes" "commit.peakBytes reserve.peakBytes"
    "reserve.currentBytes reserve.peakBytes" "regions.current regions.peak"
    "heap.currentBytes heap.peakBytes"
    "heap.blockBytes heap.currentBytes")
    string(REPLACE " " ";" pair ${pair})
    list(GET pair 0 less)
    list(GET pair 1 more)
    list(APPEND EXPECT "${less} <= ${more}")
endforeach()

foreach(condition IN LISTS EXPECT)
    string(REGEX MATCH "^([^ ]+) (=|>|<|<=) (.+)$" matched "${condition}")
    if(NOT matched)
        message(FATAL_ERROR "cannot read the condition: ${condition}")
    endif()
    set(operator_= STREQUAL)
    set(operator_> GREATER)
    set(operator_< LESS)
    set(operator_<= LESS_EQUAL)
    set(operator ${operator_${CMAKE_MATCH_2}})
    set(right_key "${CMAKE_MATCH_3}")
    value_of("${CMAKE_MATCH_1}" left)
    value_of("${right_key}" right)
    if(NOT "${left}" ${operator} "${right}")
        message(SEND_ERROR "expected ${condition}; it is ${left} and ${right}")
    endif()
endforeach()
