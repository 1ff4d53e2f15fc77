# Apphosts: as the SDK builds a program, and as it publishes one with its runtime.

include(Apphost)

set(executables ${CMAKE_CURRENT_BINARY_DIR}/executables)
foreach(program IN ITEMS abandon args churn debug exit failfast linger spawn throw)
    hostmem_framework_dependent(${program} ${executables})
    list(APPEND executable_programs ${executables}/${program}.exe)
endforeach()
set(self_contained ${CMAKE_CURRENT_BINARY_DIR}/self_contained)
if(EXISTS ${dotnet_3.1})
    foreach(program IN ITEMS args churn)
        hostmem_self_contained(${program} ${self_contained})
        list(APPEND executable_programs ${self_contained}/${program}.exe)
    endforeach()
endif()
# hostmem.dll is not beside this one.
add_custom_command(OUTPUT ${executables}/lacks_a_dll.exe
    COMMAND ${CMAKE_COMMAND} -E copy $<TARGET_FILE:hostmem-run> ${executables}/lacks_a_dll.exe
    DEPENDS hostmem-run
)
list(APPEND executable_programs ${executables}/lacks_a_dll.exe)
add_custom_target(managed_executables ALL DEPENDS ${executable_programs})

# apphost_test(<name> <program> ...): the rest as clr_test.
function(apphost_test name program)
    clr_test(apphost.${name} RUNTIME ${dotnet_3.1} PROGRAM ${executables}/${program}.exe
        ${ARGN})
endfunction()

apphost_test(args args EXIT_CODE 2 ARGUMENTS a "b c"
    OUTPUT "\\[a\\].*\\[b c\\]"
    EXPECT "runtime.kind = coreclr" "runtime.version = 3.1.2" "runtime.startedBy = executable"
        "figuresAgeMilliseconds = 0"
)
# By the user's own variable, with hostmem-run told nothing. An x86 program would want it to be called
# DOTNET_ROOT(x86), which no shell hands on.
if(processor STREQUAL x64)
    add_test(NAME clr.apphost.dotnet_root COMMAND ${CMAKE_COMMAND} -E env --unset=HOSTMEM_RUNTIME
        DOTNET_ROOT=${dotnet_3.1} ${run} --report json ${executables}/args.exe a)
    set_tests_properties(clr.apphost.dotnet_root PROPERTIES LABELS clr TIMEOUT 60
        PASS_REGULAR_EXPRESSION "\\[a\\].*\"version\": \"3\\.1\\.2\".*\"exitCode\": 1,")
endif()
apphost_test(churn churn EXIT_CODE 42
    OUTPUT "allocated 128000 KiB, kept 12288 KiB"
    EXPECT "calls.VirtualAlloc > 1000" "calls.Alloc > 3000" "commit.peakBytes > ${MiB_12}"
)
apphost_test(churn_in_24M churn EXIT_CODE 42 OPTIONS --commit-limit 24M
    EXPECT "commit.chargedPeakBytes <= commit.limitBytes" "commit.deniedCalls.process = 0"
        "gcHeapHardLimitBytes = commit.limitBytes"
)
apphost_test(gc_server churn EXIT_CODE 42 OPTIONS --gc server
    EXPECT "reserve.peakBytes > ${server_reserve}")
apphost_test(exit exit EXIT_CODE 7 EXPECT "figuresAgeMilliseconds = 0")
apphost_test(throw throw EXIT_CODE 3762504530 EXPECT "figuresAgeMilliseconds = 0")
# The last word, though the process is terminated. Without one, what was known before is reported.
if(CMAKE_CROSSCOMPILING_EMULATOR)
    set(fail_fast 3221227010)
else()
    set(fail_fast 2148734499)
endif()
apphost_test(failfast failfast EXIT_CODE ${fail_fast} OUTPUT "failing fast"
    EXPECT "figuresAgeMilliseconds = 0" "calls.VirtualAlloc > 50")
apphost_test(vanish failfast ARGUMENTS vanish EXIT_CODE 99 OUTPUT "failing fast"
    EXPECT "figuresAgeMilliseconds > 0" "calls.VirtualAlloc > 3")
apphost_test(every_fault churn EXIT_CODE 3762504530 OPTIONS --fault level=task,rate=1/1,skip=99
    EXPECT "faults.task > 0")
clr_error_test(self_contained_in_little "${does_not_start}"
    --commit-limit ${too_small}K ${self_contained}/args.exe)
clr_error_test(apphost_in_little "${does_not_start}"
    --runtime ${dotnet_3.1} --commit-limit ${too_small}K ${executables}/args.exe)
# Its execution engine starts in that, and coreclr_initialize fails a little later.
clr_error_test(apphost_in_almost_enough "the runtime does not start with --commit-limit .* smallest "
    --runtime ${dotnet_3.1} --commit-limit ${almost_enough}K ${executables}/args.exe)

# The runtime is in the program's own folder; no installation is named.
clr_test(self_contained.args RUNTIME ${self_contained} PROGRAM ${self_contained}/args.exe EXIT_CODE 2
    ARGUMENTS a "b c"
    OUTPUT "\\[a\\].*\\[b c\\]"
    EXPECT "runtime.kind = coreclr" "runtime.version = 3.1.2" "runtime.startedBy = executable"
        "figuresAgeMilliseconds = 0"
)
clr_test(self_contained.churn_in_24M RUNTIME ${self_contained} PROGRAM ${self_contained}/churn.exe
    EXIT_CODE 42
    OPTIONS --commit-limit 24M
    OUTPUT "allocated 128000 KiB, kept 12288 KiB"
    EXPECT "commit.chargedPeakBytes <= commit.limitBytes" "commit.deniedCalls.process = 0"
        "gcHeapHardLimitBytes = commit.limitBytes"
)

# What a program starts: an executable like itself, and through it a native one.
apphost_test(children_ignored spawn EXIT_CODE 12
    ARGUMENTS ${executables}/args.exe one two
    OUTPUT "\\[one\\].*\\[two\\]"
    EXPECT "children = []"
)
# Only the runtime that has the budget is told of it.
apphost_test(children_see_no_settings spawn EXIT_CODE 10
    OPTIONS --commit-limit 64M --gc workstation
    ARGUMENTS cmd.exe /c "echo [%COMPlus_GCHeapHardLimit%][%COMPlus_gcServer%]"
    OUTPUT "\\[%COMPlus_GCHeapHardLimit%\\]\\[%COMPlus_gcServer%\\]"
    EXPECT "gcHeapHardLimitBytes = commit.limitBytes")
apphost_test(bound_children_see_the_settings spawn EXIT_CODE 10
    OPTIONS --commit-limit 64M --children bind
    ARGUMENTS cmd.exe /c "echo [%COMPlus_GCHeapHardLimit%]"
    OUTPUT "\\[4000000\\]")
apphost_test(children_bound spawn EXIT_CODE 22 OPTIONS --children bind --commit-limit 64M
    ARGUMENTS ${executables}/spawn.exe ${executables}/args.exe one two
    OUTPUT "\\[one\\].*\\[two\\]"
    EXPECT "children.0.exitCode = 12" "children.1.exitCode = 2" "children.1.runtime.version = 3.1.2"
        "children.1.commit.limitBytes = commit.limitBytes"
        "children.1.commit.currentBytes = children.1.commit.osBytes"
        "children.1.calls.VirtualAlloc > 50" "children.0.calls.VirtualAlloc > 50"
)
apphost_test(child_of_the_ansi_function spawn EXIT_CODE 12 OPTIONS --children bind
    ARGUMENTS ansi ${executables}/args.exe one two
    EXPECT "children.0.exitCode = 2"
)
apphost_test(child_without_a_last_word spawn EXIT_CODE 109 OPTIONS --children bind
    ARGUMENTS ${executables}/failfast.exe vanish
    EXPECT "children.0.exitCode = 99" "children.0.figuresAgeMilliseconds > 0"
)
# A child that is suspended for the agent when its creator ends must not stay so: it has our output, and
# who reads that would wait for ever.
foreach(milliseconds IN ITEMS 0 30 60 90)
    apphost_test(abandoned_child_${milliseconds} abandon EXIT_CODE 7 OPTIONS --children bind
        ARGUMENTS ${milliseconds} cmd.exe /c "exit 0")
endforeach()
# No thread of ours can be waited for in a process that waits for its debugger, who waits for us.
# (On Wine 8 what an x86 program debugs ends with 0, whatever it is.)
apphost_test(child_of_a_debugger debug EXIT_CODE 10 OPTIONS --children bind
    ARGUMENTS cmd.exe /c "exit 0"
    EXPECT "children = []"
)
trace_test(apphost.churn RUNTIME ${dotnet_3.1} PROGRAM ${executables}/churn.exe)
clr_error_test(trace_of_an_executable "cannot write the trace to .*no.such.folder: error 3"
    --runtime ${dotnet_3.1} --trace ${CMAKE_CURRENT_BINARY_DIR}/no/such/folder
    ${executables}/args.exe)

# ---- What is left behind ----

set(run_folder ${PROJECT_SOURCE_DIR}/src/run)
add_executable(test_child_runs test_child_runs.c
    ${run_folder}/child_host.c
    ${run_folder}/child_job.c
    ${run_folder}/fault_option.c
    ${run_folder}/figures.c
    ${run_folder}/gc_settings.c
    ${run_folder}/inject.c
    ${run_folder}/new_manager.c
    ${run_folder}/options.c
    ${run_folder}/pe_file.c
    ${run_folder}/report.c
    ${run_folder}/report_json.c
    ${run_folder}/report_text.c
    ${run_folder}/runtime_locator.c
    ${run_folder}/start_limit.c
    ${run_folder}/text.c
)
target_include_directories(test_child_runs PRIVATE ${PROJECT_SOURCE_DIR}/src)
target_compile_definitions(test_child_runs PRIVATE HOSTMEM_VERSION="${PROJECT_VERSION}")
target_link_libraries(test_child_runs PRIVATE hostmem_build contract hostmem::hostmem)
add_dependencies(test_child_runs hostmem-run managed_executables)
add_test(NAME clr.child_runs COMMAND test_child_runs $<IF:$<CONFIG:Release>,50,5> $<TARGET_FILE:hostmem-run>
    ${executables}/args.exe ${executables}/linger.exe ${dotnet_3.1})
set_tests_properties(clr.child_runs PROPERTIES LABELS clr TIMEOUT 300)
if(NOT EXISTS ${dotnet_3.1})
    set_tests_properties(clr.child_runs PROPERTIES DISABLED TRUE)
endif()

add_executable(test_exit_filter test_exit_filter.c ${run_folder}/exit_hook.c)
target_include_directories(test_exit_filter PRIVATE ${PROJECT_SOURCE_DIR}/src)
target_link_libraries(test_exit_filter PRIVATE hostmem_build)
add_test(NAME clr.exit_filter COMMAND test_exit_filter)
set_tests_properties(clr.exit_filter PROPERTIES LABELS clr TIMEOUT 60)

# ---- What cannot work ----

clr_error_test(executable_that_lacks_a_dll
    ".*lacks_a_dll.exe cannot be started: it ended with 0xc0000135" ${executables}/lacks_a_dll.exe)
clr_error_test(start_only_of_an_executable ".*args.exe starts its runtime itself: --start-only is for"
    --start-only ${executables}/args.exe)
clr_error_test(children_of_a_dll "--children bind is for an executable" --children bind
    ${managed}/args.exe)
clr_error_test(children_kind "--children all: use bind or ignore" --children all x.dll)
# A native program has a console and an exit code like any other, and then one line.
add_test(NAME clr.error.native_program COMMAND ${run} $<TARGET_FILE:hostmem-run> --version)
set_tests_properties(clr.error.native_program PROPERTIES LABELS clr TIMEOUT 60
    PASS_REGULAR_EXPRESSION
    "hostmem-run [0-9.]+\r?\n.*hostmem-run: hostmem-run.exe ended with 0 and never loaded a .NET runtime")
