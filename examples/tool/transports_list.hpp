// SPDX-License-Identifier: MIT
// The transports that the tool knows, by their types: TLS is among them where OpenSSL was found.
#pragma once

#if TOOL_WITH_TLS
#include <parley/tls.hpp>

namespace tool {
struct transports : parley::transports_with_tls {};
using tls = parley::tls;
}  // namespace tool
#else
#include <parley/transport/all_list.hpp>

namespace tool {
struct transports : parley::all_transports {};
using tls = void;
}  // namespace tool
#endif
