// SPDX-License-Identifier: MIT
// What programs have that link parley::tls: TLS, the list of transports with it, and frames that
// are authenticated.
#pragma once

#include <parley/tls_authenticated.hpp>
#include <parley/transport/all_list.hpp>
#include <parley/transport/tls.hpp>

namespace parley {
inline namespace v1 {
namespace detail {

template <class... Transports, class... More>
transport_list<Transports..., More...> longer_list(transport_list<Transports...>, More*...);

}  // namespace detail

/// Every transport and TLS, for URIs that the user of a program names:
/// `open_sender<T>(uri{argv[1]}, transports_with_tls{}, until, &why)`.
struct transports_with_tls {
    using list = decltype(detail::longer_list(all_transports::list{}, static_cast<tls*>(nullptr)));
};

}  // namespace v1
}  // namespace parley
