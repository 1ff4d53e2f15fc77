# cmake -D COMMAND=... -D REPLAY=... -D RUNTIME=... -D EXIT_CODE=... -D TRACE=... -D REPORT=...
#     [-D REFUSED=TRUE] -P check_trace.cmake
#
# Records a program on a real runtime, replays it through everything there is, and compares: the
# answers of raw Win32 with those of our manager, line by line, and the accounting of our manager with
# the report of the recorded run.
#
# COMMAND    list: the emulator, hostmem-run, its options (--trace and --report among them) and the
#            program
# REPLAY     list: the emulator and hostmem-replay
# RUNTIME    the test is skipped if this folder does not exist
# EXIT_CODE  of the program
# TRACE      the file that COMMAND records to; the answers are written beside it
# REPORT     the file that COMMAND has the report written to
# REFUSED    the program meets its limit: only our manager can refuse again what was refused. At the
#            limit heaps refuse by the page, and one thread that replays has other pages than the
#            threads that were recorded: one answer in 20 may differ, and the commit by 1 MiB

if(NOT EXISTS ${RUNTIME})
    message("SKIPPED: there is no .NET runtime in ${RUNTIME}; ./dev setup fetches it")
    return()
endif()

file(REMOVE ${TRACE} ${REPORT})
execute_process(COMMAND ${COMMAND} RESULT_VARIABLE exit_code)
if(exit_code EQUAL 77 AND "${COMMAND}" MATCHES ";--x86;")
    message("SKIPPED: Wine cannot run x86 programs here")
    return()
endif()
if(NOT exit_code EQUAL EXIT_CODE)
    message(FATAL_ERROR "exit code ${exit_code}, expected ${EXIT_CODE}")
endif()
file(READ ${REPORT} report)
message("${report}")

# replay(<target>): ${replay} is its report.
function(replay target)
    execute_process(COMMAND ${REPLAY} ${TRACE} --through ${target} --json
            --results ${TRACE}.${target}
        RESULT_VARIABLE exit_code OUTPUT_VARIABLE replay)
    message("${replay}")
    if(NOT exit_code EQUAL 0 AND NOT (REFUSED AND exit_code EQUAL 1))
        message(SEND_ERROR "through ${target}: exit code ${exit_code}")
    endif()
    set(replay "${replay}" PARENT_SCOPE)
endfunction()

# same(<path in the replay> <path in the report>), each a list.
function(same of_replay of_report)
    string(JSON now GET "${replay}" ${of_replay})
    string(JSON recorded GET "${report}" ${of_report})
    if(NOT now EQUAL recorded)
        message(SEND_ERROR "${of_replay} of the replay is ${now}, ${of_report} of the run was ${recorded}")
    endif()
endfunction()

# between(<least> <most> <path in the replay> <path in the report>): the replay's number against the
# bounds, in which RECORDED is the report's.
function(between least most of_replay of_report)
    string(JSON now GET "${replay}" ${of_replay})
    string(JSON recorded GET "${report}" ${of_report})
    string(REPLACE RECORDED ${recorded} least "${least}")
    string(REPLACE RECORDED ${recorded} most "${most}")
    math(EXPR least "${least}")
    math(EXPR most "${most}")
    if(now GREATER most OR now LESS least)
        message(SEND_ERROR "${of_replay} of the replay is ${now}, ${of_report} of the run was ${recorded}")
    endif()
endfunction()

# A peak of the run can be higher: a thread that takes memory back has its number in the trace
# before the memory is back, and another one may commit meanwhile. By no more than such calls take.
set(nearly_same "RECORDED - RECORDED / 8" "RECORDED")

# Refused at a limit or not, a heap's pages depend on which threads met in it; see REFUSED.
set(within_1_mib "RECORDED - 1048576" "RECORDED + 1048576")

# How many pages the blocks of a heap take depends on which threads met in it, and when.
set(about_same "RECORDED / 2" "RECORDED * 2")

function(is_zero path)
    string(JSON value GET "${replay}" ${path})
    if(NOT value EQUAL 0)
        message(SEND_ERROR "${path} is ${value}")
    endif()
endfunction()

# ---- Our manager ----

replay(table)
is_zero(missing)
is_zero(notReplayed)
foreach(method IN ITEMS CreateMalloc VirtualAlloc VirtualFree VirtualQuery VirtualProtect
        GetMemoryLoad RegisterMemoryNotificationCallback NeedsVirtualAddressSpace
        AcquiredVirtualAddressSpace ReleasedVirtualAddressSpace Alloc DebugAlloc Free)
    same("methods;${method};calls" "calls;${method}")
endforeach()
if(REFUSED)
    string(JSON different GET "${replay}" all different)
    string(JSON calls GET "${replay}" all calls)
    math(EXPR most "${calls} / 20")
    if(different GREATER most)
        message(SEND_ERROR "${different} of ${calls} answers are different")
    endif()
    between(${within_1_mib} "commit;currentBytes" "commit;currentBytes")
    between(${within_1_mib} "commit;peakBytes" "commit;peakBytes")
    string(JSON committed GET "${replay}" commit currentBytes)
    string(JSON by_os GET "${replay}" commitOsBytes)
    if(NOT committed EQUAL by_os)
        message(SEND_ERROR "the replay has committed ${committed}, by the system ${by_os}")
    endif()
else()
    same("commit;currentBytes" "commit;currentBytes")
    same("commitOsBytes" "commit;osBytes")
    between(${nearly_same} "commit;peakBytes" "commit;peakBytes")
endif()
same("reserve;currentBytes" "reserve;currentBytes")
same("heap;blockBytes" "heap;blockBytes")
same("heap;currentBlocks" "heap;currentBlocks")
same("regions;freedBehind" "regions;freedBehind")
between(${nearly_same} "reserve;peakBytes" "reserve;peakBytes")
between(${about_same} "heap;peakBytes" "heap;peakBytes")

# ---- The others ----

if(REFUSED)
    string(JSON refused GET "${report}" commit deniedCalls task)
    if(refused EQUAL 0)
        message(SEND_ERROR "the program did not meet its limit")
    endif()
else()
    foreach(target IN ITEMS raw passthrough list)
        replay(${target})
        is_zero(notReplayed)
        same("commitOsBytes" "commit;osBytes")
        file(SIZE ${TRACE}.${target} size)
        if(size EQUAL 0)
            message(SEND_ERROR "${target} wrote no answers")
        endif()
        execute_process(COMMAND ${CMAKE_COMMAND} -E compare_files ${TRACE}.table ${TRACE}.${target}
            RESULT_VARIABLE different)
        if(different)
            message(SEND_ERROR "the answers of table and ${target} are not the same")
        endif()
    endforeach()
endif()

# ---- The summary ----

execute_process(COMMAND ${REPLAY} ${TRACE} --summary RESULT_VARIABLE exit_code
    OUTPUT_VARIABLE summary)
string(JSON allocations GET "${report}" calls VirtualAlloc)
if(NOT exit_code EQUAL 0 OR NOT summary MATCHES "VirtualAlloc +${allocations} ")
    message(SEND_ERROR "no summary, or a wrong one (${exit_code}):\n${summary}")
endif()
string(JSON freed GET "${report}" regions freedBehind)
string(JSON freed_bytes GET "${report}" regions freedBehindBytes)
string(REGEX MATCH "regions that others freed: [^\r\n]*" line "${summary}")
set(expected "")
if(freed GREATER 0)
    set(expected "regions that others freed: ${freed}, ${freed_bytes} bytes")
endif()
if(NOT line STREQUAL expected)
    message(SEND_ERROR "the summary says \"${line}\", not \"${expected}\"")
endif()
