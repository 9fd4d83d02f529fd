# SPDX-License-Identifier: MIT
# parley::separate: opening by URI, compiled once for all targets that link it, with the flags of
# the project that uses it. It is built only if somebody links it.
if(NOT TARGET parley_separate)
  set(parley_separate_source "${CMAKE_CURRENT_BINARY_DIR}/parley_separate.cpp")
  file(CONFIGURE OUTPUT "${parley_separate_source}"
       CONTENT "#include <parley/separate.hpp>\n")
  add_library(parley_separate STATIC EXCLUDE_FROM_ALL "${parley_separate_source}")
  unset(parley_separate_source)  # a package leaves no variables with who looks for it
  add_library(parley::separate ALIAS parley_separate)
  target_link_libraries(parley_separate PUBLIC parley::parley)
  target_compile_definitions(parley_separate PUBLIC PARLEY_SEPARATE_COMPILATION)
  set_target_properties(parley_separate PROPERTIES POSITION_INDEPENDENT_CODE ON)
endif()
