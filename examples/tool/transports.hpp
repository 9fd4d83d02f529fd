// SPDX-License-Identifier: MIT
// The transports that the tool knows: TLS is among them where OpenSSL was found.
#pragma once

#if TOOL_WITH_TLS
#include <parley/tls.hpp>

namespace tool {
using transports = parley::transports_with_tls;
using tls = parley::tls;
}  // namespace tool
#else
#include <parley/transport/all.hpp>

namespace tool {
using transports = parley::all_transports::list;
using tls = void;
}  // namespace tool
#endif
