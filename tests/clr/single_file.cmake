# A single-file program: the runtime is in the executable, which starts it.
set(HOSTMEM_DOTNET_10_SINGLE ${HOSTMEM_DEPS}/dotnet-10-single CACHE PATH
    "A single-file program of .NET 10 for Windows x64: dist/azmcp.exe")
set(single ${HOSTMEM_DOTNET_10_SINGLE}/dist/azmcp.exe)

math(EXPR MiB_3 "3 * ${MiB}")
clr_test(10.version RUNTIME ${HOSTMEM_DOTNET_10_SINGLE} PROGRAM ${single} EXIT_CODE 0 NO_HEAP
    ARGUMENTS --version
    OUTPUT "^2\\.0\\.5"
    EXPECT "runtime.kind = coreclr" "runtime.version = 10.0.9" "runtime.startedBy = executable"
        "figuresAgeMilliseconds = 0" "calls.VirtualAlloc > 300"
        "reserve.peakBytes > ${server_reserve}"
)
clr_test(10.tools_list RUNTIME ${HOSTMEM_DOTNET_10_SINGLE} PROGRAM ${single} EXIT_CODE 0 NO_HEAP
    ARGUMENTS tools list
    OUTPUT "\"status\": 200,.*\"duration\": [0-9]+[^}]*}"
    EXPECT "calls.VirtualAlloc > 2000" "commit.peakBytes > ${MiB_3}" "commit.peakBytes < ${MiB_200}"
)
clr_test(10.tools_list_in_32M RUNTIME ${HOSTMEM_DOTNET_10_SINGLE} PROGRAM ${single} EXIT_CODE 0
    NO_HEAP
    OPTIONS --commit-limit 32M
    ARGUMENTS tools list
    OUTPUT "\"status\": 200,.*\"duration\": [0-9]+[^}]*}"
    EXPECT "calls.VirtualAlloc > 2000" "commit.chargedPeakBytes <= commit.limitBytes"
        "commit.peakBytes > ${MiB_3}" "commit.deniedCalls.process = 0"
        "reserve.peakBytes < ${server_reserve}"
)
# Blocks of _strdup come in and go back where they came from: they are foreign. Few of the program's
# calls go to any other heap.
add_test(NAME clr.10.crt_heap COMMAND ${run} --report json --crt-heap ${single} --version)
set_tests_properties(clr.10.crt_heap PROPERTIES LABELS clr TIMEOUT 120 PASS_REGULAR_EXPRESSION
    "\"exitCode\": 0,.*\"Alloc\": [1-9][0-9][0-9][0-9].*\"unknown\": 0}")
if(NOT EXISTS ${HOSTMEM_DOTNET_10_SINGLE})
    set_tests_properties(clr.10.crt_heap PROPERTIES DISABLED TRUE)
endif()
# What the runtime cannot bear in its start or later, and a limit in which it starts: 2.3 MiB are in use.
add_test(NAME clr.10.version_in_1M COMMAND ${run} --commit-limit 1M ${single} --version)
set_tests_properties(clr.10.version_in_1M PROPERTIES LABELS clr TIMEOUT 120 PASS_REGULAR_EXPRESSION
    "azmcp.exe crashed with 0x[0-9a-f]+ in a commit limit of 1048576 bytes: it was refused [1-9]")
clr_test(10.version_in_3M RUNTIME ${HOSTMEM_DOTNET_10_SINGLE} PROGRAM ${single} EXIT_CODE 0 NO_HEAP
    OPTIONS --commit-limit 3M
    ARGUMENTS --version
    EXPECT "commit.chargedPeakBytes <= commit.limitBytes" "gcHeapHardLimitBytes > commit.limitBytes"
        "commit.deniedCalls.process = 0"
)
