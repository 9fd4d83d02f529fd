# SPDX-License-Identifier: MIT
# What holds for targets of this repository and is never exported to users: warnings as errors,
# sanitizers, ccache.
include_guard(GLOBAL)

set(PARLEY_SANITIZE "" CACHE STRING "Sanitizers for our own targets: address,undefined or thread")

set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)

if(PARLEY_SANITIZE)
  add_compile_options(-fsanitize=${PARLEY_SANITIZE} -fno-sanitize-recover=all
                      -fno-omit-frame-pointer)
  add_link_options(-fsanitize=${PARLEY_SANITIZE})
  if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
    # Instrumented code confuses the flow analysis of g++ even more (see below).
    add_compile_options(-Wno-maybe-uninitialized)
  elseif(CMAKE_CXX_COMPILER_VERSION VERSION_LESS 17)
    # Its check of function types puts data into coroutines that the assembler refuses.
    add_compile_options(-fno-sanitize=function)
  endif()
  if(PARLEY_SANITIZE MATCHES "thread")
    # The thread sanitizer knows no fences. Those around Asio's handlers guard nothing that its
    # locks do not; one is left, where a large executor is dropped. Ours has none: a test looks.
    add_compile_definitions(BOOST_ASIO_DISABLE_FENCED_BLOCK)
    if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
      add_compile_options(-Wno-tsan)
    endif()
  endif()
endif()

# ccache is used where it is found and never required. Precompiled headers are cached only if
# their time stamps and macros are left out of the comparison.
find_program(PARLEY_CCACHE ccache)
if(PARLEY_CCACHE AND NOT CMAKE_CXX_COMPILER_LAUNCHER)
  set(CMAKE_CXX_COMPILER_LAUNCHER "${CMAKE_COMMAND}" -E env
      CCACHE_SLOPPINESS=pch_defines,time_macros,include_file_mtime,include_file_ctime
      "${PARLEY_CCACHE}")
  if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
    add_compile_options(-fpch-preprocess)
  elseif(CMAKE_CXX_COMPILER_ID MATCHES "Clang")
    add_compile_options("SHELL:-Xclang -fno-pch-timestamp")
  endif()
endif()

# parley_own_target(<target>): links the library and turns every warning into an error.
function(parley_own_target target)
  target_link_libraries(${target} PRIVATE parley::parley)
  target_compile_options(${target} PRIVATE -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Werror)
  if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 14)
    # Inlined strings and vectors of the standard library make these warn of impossible sizes.
    target_compile_options(${target} PRIVATE -Wno-stringop-overread -Wno-stringop-overflow
                                             -Wno-restrict -Wno-array-bounds
                                             -Wno-maybe-uninitialized)
  endif()
endfunction()
