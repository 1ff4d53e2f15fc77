# What a careful user finds in the headers of the programs we install; pe_check.c says what that is.

# It runs here, whatever the rest is built for.
find_program(HOSTMEM_NATIVE_CC NAMES clang cc REQUIRED)
set(pe_check ${CMAKE_CURRENT_BINARY_DIR}/pe_check)
add_custom_command(OUTPUT ${pe_check}
    COMMAND ${HOSTMEM_NATIVE_CC} -std=c11 -D_DEFAULT_SOURCE -Wall -Wextra -Wpedantic -Werror
        -fsanitize=address,undefined -fno-sanitize-recover=all
        -o ${pe_check} ${CMAKE_CURRENT_SOURCE_DIR}/pe_check.c
    DEPENDS pe_check.c
    VERBATIM
)
add_custom_target(hygiene ALL DEPENDS ${pe_check})

# hygiene_test(<name> COMMAND <argument>... [FINDS <fault>])
function(hygiene_test name)
    cmake_parse_arguments(PARSE_ARGV 1 arg "" "FINDS" "COMMAND")
    add_test(NAME install.hygiene_${name} COMMAND ${pe_check} ${arg_COMMAND})
    set_tests_properties(install.hygiene_${name} PROPERTIES LABELS install TIMEOUT 30)
    if(DEFINED arg_FINDS)
        # The fault is all that is found: the line begins the output and ends it.
        set_tests_properties(install.hygiene_${name} PROPERTIES
            PASS_REGULAR_EXPRESSION "^[^\n]*\\.dll: ${arg_FINDS}[^\n]*\n$")
    endif()
endfunction()

# Windows' own DLLs, of those that every Windows since 7 has.
set(windows_dlls ADVAPI32.dll KERNEL32.dll msvcrt.dll ntdll.dll ole32.dll OLEAUT32.dll)
list(JOIN windows_dlls "," windows_dlls)

hygiene_test(dll COMMAND ${prefix}/${CMAKE_INSTALL_BINDIR}/hostmem.dll --def ${PROJECT_SOURCE_DIR}/src/com/hostmem.def
    --imports ${windows_dlls} --version ${PROJECT_VERSION} --vtables)
hygiene_test(run COMMAND ${prefix}/${CMAKE_INSTALL_BINDIR}/hostmem-run.exe --imports ${windows_dlls},hostmem.dll
    --version ${PROJECT_VERSION})
hygiene_test(agent COMMAND ${prefix}/${CMAKE_INSTALL_BINDIR}/hostmem-agent.dll
    --def ${PROJECT_SOURCE_DIR}/src/agent/agent.def --imports ${windows_dlls},hostmem.dll
    --version ${PROJECT_VERSION})
hygiene_test(replay COMMAND ${prefix}/${CMAKE_INSTALL_BINDIR}/hostmem-replay.exe
    --imports ${windows_dlls},hostmem.dll --version ${PROJECT_VERSION})
set_tests_properties(install.hygiene_dll install.hygiene_run install.hygiene_agent
    install.hygiene_replay PROPERTIES FIXTURES_REQUIRED installed)

# ---- pe_check itself: a DLL that is fair, and the same with one fault each ----

# fair_dll(<name> [DEFINE <name>] [LINK <option>] [NO_VERSION] [FINDS <fault>])
function(fair_dll name)
    cmake_parse_arguments(PARSE_ARGV 1 arg "NO_VERSION" "DEFINE;LINK;FINDS" "")
    add_library(fair_${name} SHARED fair.c fair.def)
    if(NOT arg_NO_VERSION)
        target_sources(fair_${name} PRIVATE fair.rc)
    endif()
    # Behind our own linker options, of which it takes one back.
    target_link_libraries(fair_${name} PRIVATE hostmem_build hostmem_version ${arg_LINK})
    target_compile_definitions(fair_${name} PRIVATE ${arg_DEFINE})
    set_target_properties(fair_${name} PROPERTIES
        PREFIX ""
        RUNTIME_OUTPUT_DIRECTORY ${CMAKE_CURRENT_BINARY_DIR}/fair
    )
    set(finds)
    if(DEFINED arg_FINDS)
        set(finds FINDS ${arg_FINDS})
    endif()
    hygiene_test(${name}
        COMMAND $<TARGET_FILE:fair_${name}> --def ${CMAKE_CURRENT_SOURCE_DIR}/fair.def
            --imports ${windows_dlls} --version ${PROJECT_VERSION} --vtables
        ${finds}
    )
endfunction()

fair_dll(finds_nothing_wrong)
fair_dll(finds_a_fixed_address LINK -Wl,--disable-dynamicbase FINDS "not DYNAMIC_BASE")
fair_dll(finds_missing_relocations FINDS "no relocations")
add_custom_command(TARGET fair_finds_missing_relocations POST_BUILD # the linker never leaves them out
    COMMAND ${CMAKE_OBJCOPY} --remove-section .reloc $<TARGET_FILE:fair_finds_missing_relocations>
)
fair_dll(finds_executable_data LINK -Wl,--disable-nxcompat FINDS "not NX_COMPAT")
fair_dll(finds_a_writable_code_section DEFINE SPOILT_SECTION
    FINDS "section .both is writable and executable")
fair_dll(finds_a_writable_vtable DEFINE SPOILT_VTABLE FINDS "_?fair_vtbl lies in section .data")
fair_dll(finds_a_surplus_export DEFINE SPOILT_EXPORT FINDS "exports surplus")
fair_dll(finds_a_dll_of_others DEFINE SPOILT_IMPORT LINK fair_finds_a_surplus_export
    FINDS "imports from fair_finds_a_surplus_export.dll")
fair_dll(finds_a_missing_version NO_VERSION FINDS "no version resource")
if(CMAKE_SIZEOF_VOID_P EQUAL 8)
    fair_dll(finds_low_entropy LINK -Wl,--disable-high-entropy-va FINDS "not HIGH_ENTROPY_VA")
    fair_dll(finds_a_low_base LINK -Wl,--image-base=0x10000000 FINDS "its base 0x10000000 is below")
endif()

set(fair $<TARGET_FILE:fair_finds_nothing_wrong>)
file(WRITE ${CMAKE_CURRENT_BINARY_DIR}/two.def "EXPORTS\n    fair\n    square\n")
hygiene_test(finds_a_missing_export COMMAND ${fair} --def ${CMAKE_CURRENT_BINARY_DIR}/two.def
    FINDS "does not export square")
hygiene_test(finds_another_version COMMAND ${fair} --version 9.8.7
    FINDS "its version is ${PROJECT_VERSION}, not 9.8.7.*FileVersion is not.*ProductVersion is not")
