# SPDX-License-Identifier: MIT
# Install rules: headers, the CMake package and the pkg-config file. Everything lands under
# include/ and share/, since nothing of it depends on the architecture.
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

set(package_dir "${CMAKE_INSTALL_DATADIR}/cmake/parley")

install(TARGETS parley EXPORT parleyTargets
        FILE_SET HEADERS DESTINATION "${CMAKE_INSTALL_INCLUDEDIR}"
        FILE_SET inner DESTINATION "${CMAKE_INSTALL_INCLUDEDIR}")
install(EXPORT parleyTargets NAMESPACE parley:: DESTINATION "${package_dir}")
# Components come in files of their own, so that only who asks needs what they link.
install(TARGETS parley_tls EXPORT parleyTlsTargets
        FILE_SET HEADERS DESTINATION "${CMAKE_INSTALL_INCLUDEDIR}")
install(EXPORT parleyTlsTargets NAMESPACE parley:: DESTINATION "${package_dir}")

configure_package_config_file(
  "${CMAKE_CURRENT_LIST_DIR}/parleyConfig.cmake.in" "${PROJECT_BINARY_DIR}/parleyConfig.cmake"
  INSTALL_DESTINATION "${package_dir}" NO_SET_AND_CHECK_MACRO)
# Before 1.0 a minor version may break: what asks for 0.1 gets 0.1.x and nothing else.
write_basic_package_version_file(
  "${PROJECT_BINARY_DIR}/parleyConfigVersion.cmake"
  VERSION "${PROJECT_VERSION}" COMPATIBILITY SameMinorVersion ARCH_INDEPENDENT)
install(FILES "${PROJECT_BINARY_DIR}/parleyConfig.cmake"
              "${PROJECT_BINARY_DIR}/parleyConfigVersion.cmake"
              "${CMAKE_CURRENT_LIST_DIR}/parley_separate.cmake"
        DESTINATION "${package_dir}")

# The prefix is found from where the file lies, so that an install tree can be moved.
set(pc_dir "${CMAKE_INSTALL_DATADIR}/pkgconfig")
file(RELATIVE_PATH pc_to_prefix "${CMAKE_INSTALL_PREFIX}/${pc_dir}" "${CMAKE_INSTALL_PREFIX}")
string(REGEX REPLACE "/$" "" pc_to_prefix "${pc_to_prefix}")
configure_file("${CMAKE_CURRENT_LIST_DIR}/parley.pc.in" "${PROJECT_BINARY_DIR}/parley.pc" @ONLY)
install(FILES "${PROJECT_BINARY_DIR}/parley.pc" DESTINATION "${pc_dir}")
install(FILES "${PROJECT_SOURCE_DIR}/LICENSE" DESTINATION "${CMAKE_INSTALL_DOCDIR}")
