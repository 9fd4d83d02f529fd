// SPDX-License-Identifier: MIT
// Every transport of the library, for programs that open ends by URI.
//
// All transports are much to compile: some 20 s for each source that opens a URI. A program of
// more than one such source has them compiled once: it defines PARLEY_SEPARATE_COMPILATION for all
// its sources and includes <parley/separate.hpp> in one. CMake does both for who links
// parley::separate. This header then only tells that the openings are compiled elsewhere; a source
// that also names a transport by its type includes that transport's header.
#pragma once

#if defined PARLEY_SEPARATE_COMPILATION
#include <parley/transport/any.hpp>

namespace parley {
inline namespace v1 {

struct all_transports;
extern template class any_transport<all_transports>;

}  // namespace v1
}  // namespace parley
#else
#include <parley/transport/all_list.hpp>
#endif
