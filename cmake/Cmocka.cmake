# The target cmocka: the system's own for Linux, the one ./dev setup builds for Windows.
if(WIN32)
    set(cmocka_dir ${HOSTMEM_DEPS}/cmocka-${HOSTMEM_TRIPLE})
    add_library(cmocka STATIC IMPORTED)
    set_target_properties(cmocka PROPERTIES
        IMPORTED_LOCATION ${cmocka_dir}/lib/libcmocka-static.a
        INTERFACE_INCLUDE_DIRECTORIES ${cmocka_dir}/include
    )
    if(NOT EXISTS ${cmocka_dir}/lib/libcmocka-static.a)
        message(FATAL_ERROR "No CMocka in ${cmocka_dir}: run ./dev setup, or set HOSTMEM_BUILD_TESTS=OFF")
    endif()
else()
    find_library(HOSTMEM_CMOCKA cmocka REQUIRED)
    add_library(cmocka UNKNOWN IMPORTED)
    set_target_properties(cmocka PROPERTIES IMPORTED_LOCATION ${HOSTMEM_CMOCKA})
endif()
