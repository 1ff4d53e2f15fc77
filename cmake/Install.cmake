include(CMakePackageConfigHelpers)

set(package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/hostmem)

target_include_directories(hostmem_uuid INTERFACE $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>)
install(TARGETS hostmem hostmem_static hostmem_uuid EXPORT hostmem)
install(TARGETS hostmem-run hostmem-replay)
install(TARGETS hostmem-agent RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR}) # no import library: nobody links it
install(
    FILES
        ${PROJECT_SOURCE_DIR}/include/hostmem/hostmem.h
        ${PROJECT_BINARY_DIR}/generated/include/hostmem/clrhosting.h
        ${PROJECT_BINARY_DIR}/generated/include/hostmem/hostmem_interfaces.h
    DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/hostmem
)
# For other languages, and for IDL that imports ours.
install(FILES ${PROJECT_BINARY_DIR}/generated/hostmem.tlb ${HOSTMEM_IDL}
    DESTINATION ${CMAKE_INSTALL_DATADIR}/hostmem
)

install(EXPORT hostmem NAMESPACE hostmem:: FILE hostmem-config.cmake DESTINATION ${package_dir})
write_basic_package_version_file(${PROJECT_BINARY_DIR}/hostmem-config-version.cmake
    COMPATIBILITY SameMinorVersion # before 1.0 a minor version may break
)
install(FILES ${PROJECT_BINARY_DIR}/hostmem-config-version.cmake DESTINATION ${package_dir})

configure_file(${CMAKE_CURRENT_LIST_DIR}/hostmem.pc.in ${PROJECT_BINARY_DIR}/hostmem.pc @ONLY)
install(FILES ${PROJECT_BINARY_DIR}/hostmem.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
