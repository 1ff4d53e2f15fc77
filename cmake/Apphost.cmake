# The executables of .NET programs, made as the SDK makes them: a copy of its apphost in which a
# placeholder, the SHA-256 of the word foobar, is replaced by the name of the program's DLL. A program
# that depends on a framework needs a runtimeconfig.json beside it; one that is published self-contained
# has the framework and its two hosts, hostfxr.dll and hostpolicy.dll, in its own folder, and a deps.json
# that lists them.

set(pack Microsoft.NETCore.App.Host.win-${processor})
set(HOSTMEM_APPHOST
    ${HOSTMEM_DEPS}/apphosts-3.1/packs/${pack}/3.1.2/runtimes/win-${processor}/native/apphost.exe
    CACHE FILEPATH "The apphost of the .NET Core 3.1 SDK for Windows ${processor}, with its placeholder")

# <folder>/<name>.exe, .dll and .runtimeconfig.json, from the managed program <name>.
# framework: the member of the runtimeconfig.json that names it.
function(hostmem_apphost name folder framework)
    set(dll ${name}.dll)
    string(SHA256 placeholder foobar)
    string(LENGTH ${dll} length)
    math(EXPR zeros "64 - ${length}")
    string(REPEAT "\\x00" ${zeros} zeros)
    add_custom_command(OUTPUT ${folder}/${name}.exe
        COMMAND ${CMAKE_COMMAND} -E copy ${HOSTMEM_APPHOST} ${folder}/${name}.exe
        COMMAND ${CMAKE_COMMAND} -E env LC_ALL=C
            sed -i "s/${placeholder}/${dll}${zeros}/" ${folder}/${name}.exe
        COMMAND ${CMAKE_COMMAND} -E copy ${HOSTMEM_MANAGED_DIR}/${name}.exe ${folder}/${dll}
        DEPENDS ${HOSTMEM_APPHOST} ${HOSTMEM_MANAGED_DIR}/${name}.exe managed_${name}
        VERBATIM
    )
    file(WRITE ${folder}/${name}.runtimeconfig.json
        "{ \"runtimeOptions\": { \"tfm\": \"netcoreapp3.1\", ${framework} } }\n")
endfunction()

# As `dotnet build` leaves a program.
function(hostmem_framework_dependent name folder)
    hostmem_apphost(${name} ${folder}
        "\"framework\": { \"name\": \"Microsoft.NETCore.App\", \"version\": \"3.1.0\" }")
endfunction()

# As `dotnet publish --self-contained` leaves it, but that the framework's files are hard links.
function(hostmem_self_contained name folder)
    set(framework ${framework_3.1})
    set(pack runtimepack.Microsoft.NETCore.App.Runtime.win-${processor})
    hostmem_apphost(${name} ${folder}
        "\"includedFrameworks\": [{ \"name\": \"Microsoft.NETCore.App\", \"version\": \"3.1.2\" }]")

    file(READ ${framework}/Microsoft.NETCore.App.deps.json listed)
    foreach(kind IN ITEMS lib native)
        string(REGEX MATCHALL "win-${processor}/${kind}/[^\"]*\\.dll" files "${listed}")
        list(TRANSFORM files REPLACE ".*/" "")
        foreach(file IN LISTS files)
            file(CREATE_LINK ${framework}/${file} ${folder}/${file} COPY_ON_ERROR)
        endforeach()
        list(TRANSFORM files REPLACE "(.+)" "\"\\1\": {}")
        list(JOIN files ", " ${kind})
    endforeach()
    file(CREATE_LINK ${HOSTMEM_DOTNET_31}/host/fxr/3.1.2/hostfxr.dll ${folder}/hostfxr.dll
        COPY_ON_ERROR)
    file(WRITE ${folder}/${name}.deps.json "{
  \"runtimeTarget\": { \"name\": \".NETCoreApp,Version=v3.1/win-${processor}\", \"signature\": \"\" },
  \"targets\": {
    \".NETCoreApp,Version=v3.1\": {},
    \".NETCoreApp,Version=v3.1/win-${processor}\": {
      \"${name}/1.0.0\": {
        \"dependencies\": { \"${pack}\": \"3.1.2\" },
        \"runtime\": { \"${name}.dll\": {} }
      },
      \"${pack}/3.1.2\": {
        \"runtime\": { ${lib} },
        \"native\": { ${native}, \"hostfxr.dll\": {} }
      }
    }
  },
  \"libraries\": {
    \"${name}/1.0.0\": { \"type\": \"project\", \"serviceable\": false, \"sha512\": \"\" },
    \"${pack}/3.1.2\": { \"type\": \"runtimepack\", \"serviceable\": false, \"sha512\": \"\" }
  }
}
")
endfunction()
