// SPDX-License-Identifier: MIT
// TLS, for programs that link parley::tls: the address, and the list of transports with it.
#pragma once

#include <parley/transport/all.hpp>
#include <parley/transport/tls.hpp>

namespace parley {
inline namespace v1 {
namespace detail {

template <class List, class... More>
struct longer_list;
template <class... Transports, class... More>
struct longer_list<transport_list<Transports...>, More...> {
    using type = transport_list<Transports..., More...>;
};

}  // namespace detail

/// Every transport and TLS, for URIs that the user of a program names:
/// `open_sender<T>(uri{argv[1]}, until, &why, transports_with_tls{})`.
using transports_with_tls = detail::longer_list<all_transports::list, tls>::type;

}  // namespace v1
}  // namespace parley
