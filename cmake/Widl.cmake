# hostmem_widl(IDL HEADER <path> [GUIDS <path>] [TYPELIB <path>])
#
# Makes C headers, GUID definitions and a type library from idl/<IDL> with widl. Every output depends
# on all of HOSTMEM_IDL, because widl writes no dependency files and our IDL files import each other.

find_program(HOSTMEM_WIDL ${HOSTMEM_TRIPLE}-widl REQUIRED)
set(HOSTMEM_IDL_DIR ${PROJECT_SOURCE_DIR}/idl)
set(HOSTMEM_IDL # what is installed
    ${HOSTMEM_IDL_DIR}/unknwn.idl
    ${HOSTMEM_IDL_DIR}/clrhosting.idl
    ${HOSTMEM_IDL_DIR}/hostmem.idl
)

function(hostmem_widl idl)
    cmake_parse_arguments(PARSE_ARGV 1 arg "" "HEADER;GUIDS;TYPELIB" "")
    set(commands COMMAND ${HOSTMEM_WIDL} -h -o ${arg_HEADER} ${idl}
        # widl turns the import of our own IDL into an #include; <hostmem/hostmem.h> decides whether
        # that header is needed, since some SDKs declare the same interfaces.
        COMMAND sed -i "/#include <clrhosting.h>/d" ${arg_HEADER}
    )
    if(arg_GUIDS)
        list(APPEND commands COMMAND ${HOSTMEM_WIDL} -u -o ${arg_GUIDS} ${idl})
    endif()
    if(arg_TYPELIB)
        # Beside it the stdole2.tlb that it imports; see stdole2.idl.
        cmake_path(GET arg_TYPELIB PARENT_PATH folder)
        list(APPEND commands COMMAND ${HOSTMEM_WIDL} -t -o ${folder}/stdole2.tlb stdole2.idl
            COMMAND ${HOSTMEM_WIDL} -t -D HOSTMEM_TYPELIB -L ${folder} -o ${arg_TYPELIB} ${idl}
            # widl notes when it ran, as text and as a number: the same sources shall give the same DLL.
            COMMAND perl -0777 -pi -e
                [[s/(Created by WIDL .*? at ).{24}(.*?\x13\0).{4}/$1Thu Jan  1 00:00:00 1970$2\0\0\0\0/s]]
                ${arg_TYPELIB}
        )
    endif()

    foreach(output IN ITEMS ${arg_HEADER} ${arg_GUIDS} ${arg_TYPELIB})
        cmake_path(GET output PARENT_PATH folder)
        file(MAKE_DIRECTORY ${folder})
    endforeach()

    # Relative names, from the IDL folder: widl writes the name it was given into the header.
    add_custom_command(
        OUTPUT ${arg_HEADER} ${arg_GUIDS} ${arg_TYPELIB}
        ${commands}
        DEPENDS ${HOSTMEM_IDL} ${HOSTMEM_IDL_DIR}/stdole2.idl
        WORKING_DIRECTORY ${HOSTMEM_IDL_DIR}
        COMMENT "widl ${idl}"
        VERBATIM
    )
endfunction()
