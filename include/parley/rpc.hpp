// SPDX-License-Identifier: MIT
// Services: a struct of methods, called as if it were here, over any two-way transport.
#pragma once

#include <parley/drive/answerer.hpp>
#include <parley/drive/far_service.hpp>
#include <parley/request.hpp>
#include <parley/rpc/dispatch.hpp>
#include <parley/rpc/method.hpp>
#include <parley/rpc/service.hpp>

#include <cstddef>
#include <memory>
#include <utility>

namespace parley {
inline namespace v1 {

/// The calling end of a service: a `Service` whose methods are the server's.
///
///     auto c = parley::open_client<calculator>(parley::uds{"/run/calculator"}).value();
///     double sum = c->add(1, 2, 20ms).value();             // c->add: see method
///     use(*c);                                             // void use(const calculator&)
///     {
///         const auto together = c.batch();                 // one message there, one back
///         for (auto& p : pending) p = c->add.start(1, 2).value();
///     }
///     for (auto& p : pending) sum += p.finish().value();
///
/// After a loss the next call looks for a server again; what was under way ends with peer_lost and
/// outcome::unknown, except that calls of idempotent methods, and of those that run once, are made
/// again until their deadline. One that runs once is not made again at another server, nor later
/// than five minutes: its outcome is unknown then.
///
/// Thread safety: a client, its methods and pending calls belong to one thread at a time.
/// Lifetime: pending calls and copies of the service must not outlive it.
/// Blocking, cancellation, errors: those of requester; words in why().
template <class Service>
class client {
    static_assert(rpc::require_service<Service>::value);

public:
    using service_type = Service;
    struct options {
        std::size_t in_flight_max = 4096;
        bool reconnect = true;
    };

    explicit client(std::unique_ptr<drive::service_link> far) : far_(std::move(far)) {
        detail::each_member(service_, [this](auto& m) {
            rpc::access::connect(m, far_.get());
            return true;
        });
    }

    [[nodiscard]] const Service& operator*() const noexcept { return service_; }
    [[nodiscard]] const Service* operator->() const noexcept { return &service_; }

    /// Calls that are started while it lives leave together: when it dies, when there are many, or
    /// when one is finished. Its death does not wait for room; finish() does.
    class held {
    public:
        explicit held(drive::service_link& far) noexcept : far_(&far) { far.hold(true); }
        held(const held&) = delete;
        held& operator=(const held&) = delete;
        ~held() {
            far_->hold(false);
            (void)far_->send_held(expired);
        }

    private:
        drive::service_link* far_;
    };
    [[nodiscard]] held batch() noexcept { return held(*far_); }
    /// Sends what a batch could not. Errors: timed_out, would_block; those of a send.
    result<void> flush(deadline d = never) { return far_->send_held(d); }

    [[nodiscard]] std::size_t under_way() const { return far_->under_way(); }
    [[nodiscard]] const diagnostics& why() const noexcept { return far_->why(); }
    result<void> close(deadline d = never) { return far_->close(d); }
    /// What carries the calls, for drivers.
    [[nodiscard]] drive::service_link& link() noexcept { return *far_; }

private:
    std::unique_ptr<drive::service_link> far_;
    Service service_;
};

/// The answering end of a service. It owns the address.
///
///     auto s = parley::open_server(parley::uds{"/run/calculator"},
///                                  calculator{.add = [](double a, double b) { return a + b; }});
///     s.value().serve();
///
/// A method without a handler is none. Calls run one after another, callers take turns; a call
/// whose time ran out, or that was given up, before its turn came is not run.
///
/// Thread safety: one thread at a time. Blocking: `serve_one` and `serve` wait for a call, handlers
/// take as long as they do; an answer is never waited for. Lifetime: not to be moved while calls
/// that stream, or wait in a coroutine, are open: they know where it is.
/// Errors: timed_out, would_block; those of accepting (out_of_resources). What a caller does wrong
/// is told to that caller.
template <class Service, class Address>
class server {
public:
    server(typename Address::listener door, Service implementation)
        : desk_(std::move(door)), calls_(std::move(implementation), detail::fresh_id()) {}

    /// Answers one call.
    result<void> serve_one(deadline d = never) {
        for (bool looked = false;; looked = d.is_try()) {
            auto r = desk_.next([this](const ticket& t, bytes call) { run(t, call); }, why_);
            desk_.go_on([this](const ticket& t) { return sink(*this, t); });
            if (r || r.error() != errc::would_block || looked) return r;
            if (auto w = desk_.wait(d.at()); !w && !d.is_try()) return w.error();
        }
    }
    result<void> try_serve() { return serve_one(expired); }
    /// Answers until a handler says stop(), or the address fails.
    result<void> serve() {
        for (stopped_ = false; !stopped_;) {
            if (auto r = serve_one(); !r) return r;
        }
        return {};
    }
    void stop() noexcept { stopped_ = true; }

    /// The implementation.
    [[nodiscard]] Service& service() noexcept { return calls_.service(); }
    [[nodiscard]] std::size_t callers() const { return desk_.callers(); }
    [[nodiscard]] std::uint64_t callers_lost() const { return desk_.callers_lost(); }
    /// Calls whose time was over before their turn came.
    [[nodiscard]] std::uint64_t too_late() const noexcept { return desk_.too_late(); }
    result<void> close(deadline d = never) { return desk_.close(d.at()); }
    [[nodiscard]] const diagnostics& why() const noexcept { return why_; }
    [[nodiscard]] uri address() { return desk_.door().address(); }

private:
    using desk = drive::answerer<Address>;
    using ticket = typename desk::ticket;

    class context final : public call_context {
    public:
        context(server& s, const ticket& t) : call_context(t.until), server_(s), ticket_(t) {}
        [[nodiscard]] bool is_wanted() override {
            return ticket_.notice || server_.desk_.is_wanted(ticket_);
        }
        [[nodiscard]] peer_id caller() override { return server_.desk_.who(ticket_); }
        void stop() override { server_.stop(); }

    private:
        server& server_;
        const ticket ticket_;
    };
    class sink final : public rpc::answer_sink {
    public:
        sink(server& s, const ticket& t) : server_(s), ticket_(t) {}
        void send(rpc::header h, std::size_t n, rpc::filler fill) override {
            (void)server_.desk_.answer(ticket_, h, n, fill, server_.why_);
        }
        void keep(std::unique_ptr<rpc::running> call) override {
            server_.desk_.keep(ticket_, std::move(call));
        }
        [[nodiscard]] std::unique_ptr<call_context> lasting(time_point) override {
            return std::make_unique<context>(server_, ticket_);
        }

    private:
        server& server_;
        const ticket ticket_;
    };

    void run(const ticket& t, bytes call) {
        context c(*this, t);
        sink out(*this, t);
        calls_.run(call, c, out, [] { return clock::now(); });
    }

    desk desk_;
    rpc::dispatcher<Service> calls_;
    diagnostics why_;
    bool stopped_ = false;
};

/// Opens the calling end, waiting for the server until the deadline. Errors: those of
/// open_requester. A server of another version meets it; what it cannot do it refuses.
template <class Service, class Address>
[[nodiscard]] result<client<Service>> open_client(const Address& at, deadline d = never,
                                                  diagnostics* why = nullptr,
                                                  typename client<Service>::options o = {}) {
    diagnostics unasked;
    const auto both = detail::two_way(at);
    const duplex_request r{rpc::questions_type, rpc::answers_type, d.at(),
                           why != nullptr ? why : &unasked};
    auto l = both.open_link(r);
    if (!l) return l.error();
    using far = drive::far_service<detail::two_way_t<Address>>;
    return client<Service>(
        std::make_unique<far>(both, r, std::move(*l), o.in_flight_max, o.reconnect));
}

/// Opens the answering end, and with it creates the address. Errors: those of open_replier.
template <class Service, class Address>
[[nodiscard]] auto open_server(const Address& at, Service implementation, deadline d = never,
                               diagnostics* why = nullptr) {
    using end = server<Service, detail::two_way_t<Address>>;
    diagnostics unasked;
    auto door = detail::two_way(at).open_listener(
        {rpc::answers_type, rpc::questions_type, d.at(), why != nullptr ? why : &unasked});
    if (!door) return result<end>(door.error());
    return result<end>(end(std::move(*door), std::move(implementation)));
}

}  // namespace v1
}  // namespace parley
