# The runtimes of the processor that is built for: an old one, and 3.1. Of each version
#   dotnet_<version>     its root; the folder does not exist if it was not fetched
#   framework_<version>  the folder of its coreclr.dll
# And what differs between the processors:
#   server_reserve       less than what a server collector reserves, and more than any other
#   smallest_churn       MiB in which churn.exe completes, whatever the runtime
#   too_small            a limit in which no runtime starts, in KiB
#   almost_enough        one in which 3.1 gets as far as its first domain

set(HOSTMEM_DOTNET_20 ${HOSTMEM_DEPS}/dotnet-2.0 CACHE PATH
    "A .NET Core 2.0 for Windows x64; programs are compiled against it, for every processor")
if(CMAKE_SIZEOF_VOID_P EQUAL 8)
    set(processor x64)
    math(EXPR server_reserve "4096 * 1024 * 1024")
    set(smallest_churn 20)
    set(too_small 1024)
    set(almost_enough 1900)
    set(old 2.0)
    set(old_patch 2.0.0)
    set(HOSTMEM_DOTNET_31 ${HOSTMEM_DEPS}/dotnet-3.1 CACHE PATH "A .NET Core 3.1 for Windows x64")
    set(dotnet_2.0 ${HOSTMEM_DOTNET_20})
else()
    set(processor x86)
    math(EXPR server_reserve "100 * 1024 * 1024")
    set(smallest_churn 24)
    set(too_small 512)
    set(almost_enough 1200)
    set(old 2.1)
    set(old_patch 2.1.8)
    set(HOSTMEM_DOTNET_31 ${HOSTMEM_DEPS}/dotnet-3.1-x86 CACHE PATH "A .NET Core 3.1 for Windows x86")
    set(HOSTMEM_DOTNET_21 ${HOSTMEM_DEPS}/dotnet-2.1-x86 CACHE PATH "A .NET Core 2.1 for Windows x86")
    set(dotnet_2.1 ${HOSTMEM_DOTNET_21})
endif()
set(dotnet_3.1 ${HOSTMEM_DOTNET_31})
set(versions ${old} 3.1)
set(framework_${old} ${dotnet_${old}}/shared/Microsoft.NETCore.App/${old_patch})
set(framework_3.1 ${dotnet_3.1}/shared/Microsoft.NETCore.App/3.1.2)
