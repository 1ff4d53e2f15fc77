# cmake -D COMMAND=... -D MESSAGE=... -P check_error.cmake
#
# Runs hostmem-run with something that cannot work: exit code 2, nothing on standard output, and one
# line that says what is wrong. Wine may say something of its own besides.
#
# COMMAND  list: the emulator, hostmem-run and its arguments
# MESSAGE  regular expression for the line, without its "hostmem-run: "
# PROGRAM  another program than hostmem-run; optional

if(NOT DEFINED PROGRAM)
    set(PROGRAM hostmem-run)
endif()

execute_process(COMMAND ${COMMAND} RESULT_VARIABLE exit_code OUTPUT_VARIABLE output
    ERROR_VARIABLE errors)
message("${output}${errors}")
if(exit_code EQUAL 77 AND "${COMMAND}" MATCHES ";--x86;")
    message("SKIPPED: Wine cannot run x86 programs here")
    return()
endif()
if(NOT exit_code EQUAL 2)
    message(FATAL_ERROR "exit code ${exit_code}, expected 2")
endif()
if(NOT output STREQUAL "")
    message(FATAL_ERROR "something was written to standard output")
endif()
string(REPLACE ";" "," errors "${errors}") # or it would be a list
string(REGEX MATCHALL "(^|\n)${PROGRAM}: [^\n]*" lines "${errors}")
list(LENGTH lines count)
if(NOT count EQUAL 1)
    message(FATAL_ERROR "${count} lines of ${PROGRAM}, expected 1")
endif()
if(NOT lines MATCHES "${PROGRAM}: ${MESSAGE}")
    message(FATAL_ERROR "the message does not match ${MESSAGE}")
endif()
