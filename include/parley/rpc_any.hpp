// SPDX-License-Identifier: MIT
// Services at an address that is chosen at run time.
#pragma once

#include <parley/rpc.hpp>
#include <parley/transport/any.hpp>
#include <parley/transport/inproc.hpp>
#include <parley/transport/shm.hpp>
#include <parley/transport/tcp.hpp>
#include <parley/transport/uds.hpp>

#include <memory>
#include <string>
#include <type_traits>
#include <utility>

namespace parley {
inline namespace v1 {

/// The transports over which a service is called, if the program names no others.
using service_transports = transport_list<uds, tcp, shm, inproc>;

namespace detail {

/// Calls `open(address)` with the transport of the list that has the scheme.
template <class Result, class Open, class... Ts>
Result open_named(const uri& at, transport_list<Ts...>, diagnostics& why, Open open) {
    std::string known;
    ((((known += known.empty() ? "" : ", ") += Ts::scheme)), ...);
    Result out = why.fail(errc::unsupported,
                          "address '" + at.text() + "': a service is not called over scheme '" +
                              std::string(at.scheme()) + "' here, but over " + known);
    const auto attempt = [&]<class A>(std::type_identity<A>) {
        if (at.scheme() != A::scheme) return false;
        why.clear();
        auto real = A::from(at, why);
        out = real ? open(*real) : Result(real.error());
        return true;
    };
    (void)(attempt(std::type_identity<Ts>{}) || ...);
    return out;
}

}  // namespace detail

/// A server of which only the service is known: what open_server gives for a URI. As server.
template <class Service>
class any_server {
public:
    template <class Address>
    explicit any_server(server<Service, Address> s)
        : real_(std::make_unique<real<server<Service, Address>>>(std::move(s))) {}

    result<void> serve_one(deadline d = never) { return real_->serve_one(d); }
    result<void> try_serve() { return serve_one(expired); }
    result<void> serve() { return real_->serve(); }
    void stop() noexcept { real_->stop(); }
    [[nodiscard]] Service& service() noexcept { return real_->service(); }
    result<void> close(deadline d = never) { return real_->close(d); }
    [[nodiscard]] const diagnostics& why() const noexcept { return real_->why(); }
    [[nodiscard]] uri address() { return real_->address(); }

private:
    struct any {
        any() = default;
        any(const any&) = delete;
        any& operator=(const any&) = delete;
        virtual ~any() = default;
        virtual result<void> serve_one(deadline) = 0;
        virtual result<void> serve() = 0;
        virtual void stop() noexcept = 0;
        virtual Service& service() noexcept = 0;
        virtual result<void> close(deadline) = 0;
        [[nodiscard]] virtual const diagnostics& why() const noexcept = 0;
        virtual uri address() = 0;
    };
    template <class Server>
    struct real final : any {
        explicit real(Server s) : is(std::move(s)) {}
        result<void> serve_one(deadline d) override { return is.serve_one(d); }
        result<void> serve() override { return is.serve(); }
        void stop() noexcept override { is.stop(); }
        Service& service() noexcept override { return is.service(); }
        result<void> close(deadline d) override { return is.close(d); }
        [[nodiscard]] const diagnostics& why() const noexcept override { return is.why(); }
        uri address() override { return is.address(); }
        Server is;
    };

    std::unique_ptr<any> real_;
};

/// Opens the calling end of a service at a URI. Errors: unsupported (no transport of the list has
/// the scheme); invalid_argument; those of open_client.
template <class Service, transport... Ts>
[[nodiscard]] result<client<Service>> open_client(const uri& at, transport_list<Ts...> list,
                                                  deadline d = never, diagnostics* why = nullptr) {
    diagnostics unasked;
    diagnostics& words = why != nullptr ? *why : unasked;
    return detail::open_named<result<client<Service>>>(
        at, list, words, [&](const auto& real) { return open_client<Service>(real, d, &words); });
}
template <class Service>
[[nodiscard]] result<client<Service>> open_client(const uri& at, deadline d = never,
                                                  diagnostics* why = nullptr) {
    return open_client<Service>(at, service_transports{}, d, why);
}
/// Opens the answering end of a service at a URI: an any_server. Errors: likewise.
template <class Service, transport... Ts>
[[nodiscard]] result<any_server<Service>> open_server(const uri& at, transport_list<Ts...> list,
                                                      Service implementation, deadline d = never,
                                                      diagnostics* why = nullptr) {
    diagnostics unasked;
    diagnostics& words = why != nullptr ? *why : unasked;
    using end = any_server<Service>;
    return detail::open_named<result<end>>(at, list, words, [&](const auto& real) -> result<end> {
        auto s = open_server(real, std::move(implementation), d, &words);
        if (!s) return s.error();
        return end(std::move(*s));
    });
}
template <class Service>
[[nodiscard]] result<any_server<Service>> open_server(const uri& at, Service implementation,
                                                      deadline d = never,
                                                      diagnostics* why = nullptr) {
    return open_server(at, service_transports{}, std::move(implementation), d, why);
}

}  // namespace v1
}  // namespace parley
