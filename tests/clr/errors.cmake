# What cannot work, and what hostmem-run says then.

clr_error_test(no_program "no program given: ")
clr_error_test(unknown_option "unknown option --bogus: see --help" --bogus)
clr_error_test(gc_kind "--gc fast: use workstation, server or concurrent" --gc fast x.dll)
clr_error_test(report_kind "--report xml: use text, json or none" --report xml x.dll)
clr_error_test(option_without_value "--runtime needs a value" --runtime)
foreach(size IN ITEMS M 1.5M -1 24X 24MB 0x10 18446744073709551616 99999999999G)
    clr_error_test("size_of_${size}" "--commit-limit ${size}: use a size such as 24M, 512K, 1G or a number"
        --commit-limit=${size} x.dll)
endforeach()
clr_error_test(size_missing "--cushion needs a value" --cushion)
clr_error_test(emergency "--emergency is a part of --commit-limit: it cannot be larger"
    --commit-limit 1M --emergency=2m x.dll)
foreach(rule IN ITEMS seed=1, seed level=)
    clr_error_test("fault_${rule}" "--fault [a-z]*: write KEY=VALUE, as in " --fault ${rule} x.dll)
endforeach()
foreach(rate IN ITEMS 1 1/ 2/1 1/0 1/4294967296 1/2/3)
    clr_error_test("fault_rate_${rate}" "--fault rate=${rate}: use a part of 1 such as 1/1000"
        --fault=rate=${rate} x.dll)
endforeach()
foreach(rule IN ITEMS seed=-1 count=18446744073709551616)
    clr_error_test("fault_${rule}" "--fault ${rule}: use a number" --fault rate=1/2,${rule} x.dll)
endforeach()
foreach(rule IN ITEMS level=thread level=task+)
    clr_error_test("fault_${rule}" "--fault level=.*: use task, appdomain, process, or several"
        --fault ${rule} x.dll)
endforeach()
clr_error_test(fault_method "--fault method=Free: use VirtualAlloc, Alloc or VirtualAlloc.Alloc"
    --fault method=Free x.dll)
clr_error_test(fault_unknown "--fault colour: there are rate, seed, level, method, size, skip"
    --fault seed=1,colour=red x.dll)
clr_error_test(fault_missing "--fault needs a value" --fault)
clr_error_test(overdraft "--overdraft is for --commit-limit: give both" --overdraft x.dll)
clr_error_test(missing_program ".*missing.dll: no such file" --runtime ${dotnet_3.1} missing.dll)
clr_error_test(native_library ".*hostmem.dll is native code" --runtime ${dotnet_3.1}
    $<TARGET_FILE:hostmem>)
clr_error_test(text_file ".*errors.cmake is no .NET program" --runtime ${dotnet_3.1}
    ${CMAKE_CURRENT_LIST_FILE})
clr_error_test(no_runtime "no .NET Core runtime in .*" --runtime ${CMAKE_CURRENT_SOURCE_DIR}
    ${managed}/args.exe)
clr_error_test(runtime_from_environment "no .NET Core runtime in .*no-such-folder"
    ${managed}/args.exe)
set_tests_properties(clr.error.runtime_from_environment PROPERTIES
    ENVIRONMENT "HOSTMEM_RUNTIME=no-such-folder;DOTNET_ROOT=another-one")
# The name for one processor goes before the name for all.
clr_error_test(runtime_from_dotnet_root "no .NET Core runtime in .*no-such-folder"
    ${managed}/args.exe)
string(TOUPPER DOTNET_ROOT_${processor} dotnet_root)
set_tests_properties(clr.error.runtime_from_dotnet_root PROPERTIES
    ENVIRONMENT "HOSTMEM_RUNTIME=;${dotnet_root}=no-such-folder;DOTNET_ROOT=another-one")
clr_error_test(report_file "cannot write the report to .*" --runtime ${dotnet_3.1}
    --report json=${CMAKE_CURRENT_BINARY_DIR}/no/such/folder ${managed}/args.exe)
clr_error_test(framework_without_entry "--framework needs --entry" --framework
    ${managed}/args.exe)
clr_error_test(entry_without_framework "--entry is for --framework" --entry Args.Main
    ${managed}/args.exe)

# A "runtime" for the other processor: the first bytes of an executable file decide.
if(processor STREQUAL x64)
    set(other_processor x86)
    set(other_compiler i686-w64-mingw32-gcc)
else()
    set(other_processor x64)
    set(other_compiler x86_64-w64-mingw32-gcc)
endif()
set(other ${CMAKE_CURRENT_BINARY_DIR}/${other_processor})
add_custom_command(OUTPUT ${other}/coreclr.dll ${other}/native.exe
    COMMAND ${CMAKE_COMMAND} -E make_directory ${other}
    COMMAND ${other_compiler} -shared -nostdlib -Wl,--entry=0 -x c /dev/null -o ${other}/coreclr.dll
    COMMAND ${other_compiler} -nostdlib -Wl,--entry=0 -x c /dev/null -o ${other}/native.exe
    VERBATIM
)
add_custom_target(other_processor ALL DEPENDS ${other}/coreclr.dll)
clr_error_test(runtime_of_another_processor
    ".*coreclr.dll is for ${other_processor}, this hostmem-run for ${processor}"
    --runtime ${other} ${managed}/args.exe)
clr_error_test(executable_of_another_processor
    ".*native.exe is for ${other_processor}, this hostmem-run for ${processor}" ${other}/native.exe)

if(CMAKE_CROSSCOMPILING_EMULATOR) # Wine: with mscoree.dll and without, a .NET Framework never
    clr_error_test(framework "\\.NET Framework v4.0.30319 is not installed here" --framework
        --entry Args.Main ${managed}/args.exe)
    clr_error_test(framework_behind_mscoree
        "\\.NET Framework v2.0.50727 is not installed here" --framework=v2.0.50727
        --entry Args.Main ${managed}/args.exe)
    set_tests_properties(clr.error.framework_behind_mscoree PROPERTIES
        ENVIRONMENT "WINEDLLOVERRIDES=mscoree=b$<SEMICOLON>mshtml=$<SEMICOLON>winedbg.exe=d")
endif()
