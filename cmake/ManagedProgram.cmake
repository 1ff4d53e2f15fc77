# hostmem_managed_program(<name>)
#
# Compiles tests/managed/<name>.cs to build/managed/<name>.exe with Mono's compiler, against the
# reference assemblies of .NET Core 2.0: the program then runs on 2.0 and on every later version.
# Target managed_<name>; all of them: managed.

find_program(HOSTMEM_MCS mcs REQUIRED)
set(HOSTMEM_MANAGED_DIR ${PROJECT_SOURCE_DIR}/build/managed) # the same for every preset
add_custom_target(managed ALL)

function(hostmem_managed_program name)
    set(source ${PROJECT_SOURCE_DIR}/tests/managed/${name}.cs)
    set(program ${HOSTMEM_MANAGED_DIR}/${name}.exe)
    set(framework ${HOSTMEM_DOTNET_20}/shared/Microsoft.NETCore.App/2.0.0)
    add_custom_command(
        OUTPUT ${program}
        COMMAND ${CMAKE_COMMAND} -E make_directory ${HOSTMEM_MANAGED_DIR}
        COMMAND ${HOSTMEM_MCS} -nologo -nowarn:1702 -nostdlib -noconfig -sdk:4.5 -out:${program}
            -r:${framework}/System.Private.CoreLib.dll
            -r:${framework}/System.Runtime.dll
            -r:${framework}/System.Runtime.Extensions.dll
            -r:${framework}/System.Threading.Thread.dll
            -r:${framework}/System.Console.dll
            -r:${framework}/System.Collections.dll
            -r:${framework}/System.ComponentModel.Primitives.dll
            -r:${framework}/System.Diagnostics.Process.dll
            ${source}
        DEPENDS ${source}
        COMMENT "mcs ${name}.cs"
        VERBATIM
    )
    add_custom_target(managed_${name} DEPENDS ${program})
    add_dependencies(managed managed_${name})
endfunction()
