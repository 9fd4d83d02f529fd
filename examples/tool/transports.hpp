// SPDX-License-Identifier: MIT
// The transports that the tool knows. Their list stands in transports_list.hpp and is compiled in
// one source: the others only open ends by URI.
#pragma once

#include <parley/transport/any.hpp>

namespace tool {

struct transports;
using any_address = parley::any_transport<transports>;

}  // namespace tool

extern template class parley::any_transport<tool::transports>;
