// SPDX-License-Identifier: MIT
// What a program that defines PARLEY_SEPARATE_COMPILATION compiles once: include it in exactly one
// source. The target parley::separate of CMake is such a source.
#pragma once

#include <parley/transport/all_list.hpp>

namespace parley {
inline namespace v1 {

template class any_transport<all_transports>;

}  // namespace v1
}  // namespace parley
