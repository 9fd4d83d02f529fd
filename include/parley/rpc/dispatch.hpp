// SPDX-License-Identifier: MIT
// The answering side of a service: bytes of a call in, what to answer out.
//
//   byte    0             8                16 or 48
//           +-------------+----------------+----------------- - -
//   call    | method u64  | signature u64  | arguments
//           +-------------+----------------+----------------- - -
//
//   method     the fingerprint of "method NAME", or `greeting`: who is this server? (its number),
//              or `describing`: what does it offer? (a list of described_method, portable)
//   signature  the fingerprint of "(types of the arguments that travel) -> type of the answer"
//
// A call of a method that is to run once has a once_header between signature and arguments.
#pragma once

#include <parley/base/error.hpp>
#include <parley/rpc/answer.hpp>
#include <parley/rpc/frame.hpp>
#include <parley/rpc/method.hpp>
#include <parley/rpc/once.hpp>
#include <parley/rpc/running.hpp>
#include <parley/rpc/service.hpp>

#include <cstring>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace parley {
inline namespace v1 {
namespace rpc {

struct call_header {
    static constexpr std::size_t bytes = 16;
    static constexpr std::uint64_t greeting = 1, describing = 2;

    std::uint64_t method = 0, signature = 0;

    void write(std::byte* to) const noexcept {
        store_le(to, method);
        store_le(to + 8, signature);
    }
    [[nodiscard]] bool read(parley::bytes from) noexcept {
        if (from.size() < bytes) return false;
        method = load_le<std::uint64_t>(from.data());
        signature = load_le<std::uint64_t>(from.data() + 8);
        return true;
    }
};

/// What a server says of a method, for callers that do not know its service.
struct described_method {
    std::string name;
    std::vector<std::string> parameters;  ///< their names, if they have any
    std::string signature;                ///< "(types of the arguments) -> type of the answer"
    std::uint64_t method = 0, print = 0;  ///< what a call with all arguments is made with
    std::uint8_t how = 0;                 ///< a manner
    bool is_live = false;                 ///< has streams or callbacks
};

/// What both ends of any service say of themselves.
inline constexpr message_type questions_type = named_type("calls of a parley service, version 1");
inline constexpr message_type answers_type = named_type("answers of a parley service, version 1");

/// Answers the calls of an implementation of S. Decides and does nothing else: it is handed bytes
/// and hands bytes out; what it runs is the implementation's.
template <class S>
class dispatcher {
    static_assert(require_service<S>::value);

public:
    /// `number`: a number that no other server has.
    dispatcher(S implementation, std::uint64_t number)
        : service_(std::make_unique<S>(std::move(implementation))), number_(number) {}

    /// Answers one call, whose bytes come from outside. `now`: a clock, for what is to run once.
    void run(bytes call, call_context& c, answer_sink& out, time_point (*now)()) {
        call_header h;
        if (!h.read(call)) return out.refuse(errc::corrupt, "no call");
        if (h.method == call_header::greeting) return greet(out);
        if (h.method == call_header::describing) return send_answer(describe(), c, out);
        call = call.subspan(call_header::bytes);
        bool found = false;
        parley::detail::each_member(*service_, [&](auto& m) {
            if (m.number != h.method || !m) return true;
            found = true;
            run_method(m, h, call, c, out, now);
            return false;
        });
        if (!found) out.refuse(errc::unsupported, "no such method; it has " + names());
    }
    [[nodiscard]] S& service() noexcept { return *service_; }

private:
    class kept_sink final : public answer_sink {
    public:
        kept_sink(answer_sink& to, std::vector<std::byte>& kept) : to_(to), kept_(kept) {}
        void send(header h, std::size_t n, filler f) override {
            kept_.resize(header::bytes + n);
            h.write(kept_.data());
            f(mutable_bytes(kept_).subspan(header::bytes));
            resend(to_, kept_);
        }
        static void resend(answer_sink& to, bytes kept) {
            header h;
            if (!h.read(kept)) return;
            const bytes body = kept.subspan(header::bytes);
            const auto write = [body](mutable_bytes at) {
                if (!body.empty()) std::memcpy(at.data(), body.data(), body.size());
            };
            to.send(h, body.size(), filler(write));
        }

    private:
        answer_sink& to_;
        std::vector<std::byte>& kept_;
    };

    void greet(answer_sink& out) const {
        const auto write = [this](mutable_bytes to) { store_le(to.data(), number_); };
        out.send({0, 0, kind::value, family::none}, 8, filler(write));
    }
    template <class Method>
    void run_method(Method& m, const call_header& h, bytes call, call_context& c, answer_sink& out,
                    [[maybe_unused]] time_point (*now)()) {
        using arguments = typename Method::arguments;
        std::size_t count = arguments::least;
        while (count <= arguments::most && Method::description.prints[count] != h.signature) {
            ++count;
        }
        if (count > arguments::most) {
            return out.refuse(errc::incompatible,
                              std::string(Method::name) + " of the server is " +
                                  std::string(Method::description.words.words()));
        }
        if constexpr (Method::how == manner::once) {
            run_once(m, count, call, c, out, now);
        } else {
            (void)answer(m, count, call, c, out);
        }
    }
    /// False: refused before it ran.
    template <class Method>
    bool answer(Method& m, std::size_t count, bytes in, call_context& c, answer_sink& out) {
        using R = typename Method::answer_type;
        typename Method::values values{};
        if (!Method::arguments::read(count, in, values)) {
            out.refuse(errc::corrupt, "these are not the arguments that the call says");
            return false;
        }
        if constexpr (Method::is_live) {
            using call = running_call<Method>;
            out.keep(std::make_unique<call>(m, std::move(values), out.lasting(c.until())));
        } else {
            const auto r = run_guarded<R>(c, [&] {
                return std::apply([&](const auto&... a) { return access::handler(m)(c, a...); },
                                  values);
            });
            send_answer(r, c, out);
        }
        return true;
    }
    template <class Method>
    void run_once(Method& m, std::size_t count, bytes call, call_context& c, answer_sink& out,
                  time_point (*now)()) {
        once_header o;
        if (!o.read(call)) return out.refuse(errc::corrupt, "no call that is to run once");
        if (o.server != number_) {
            return out.refuse(errc::peer_lost, "the call was meant for a server that is gone");
        }
        switch (seen_.begin(o, now())) {
            case answers::verdict::fresh: {
                kept_sink keeping(out, kept_);
                if (answer(m, count, call.subspan(once_header::bytes), c, keeping)) {
                    seen_.keep(o, kept_);
                }
                return;
            }
            case answers::verdict::answered: return kept_sink::resend(out, *seen_.find(o));
            case answers::verdict::over:
                return out.refuse(errc::invalid_argument, "the call was answered and is over");
            case answers::verdict::full:
                return out.refuse(errc::out_of_resources,
                                  "the server keeps no more answers to calls that run once");
        }
    }
    [[nodiscard]] result<std::vector<described_method>> describe() {
        std::vector<described_method> all;
        parley::detail::each_member(*service_, [&](auto& m) {
            using method = std::remove_cvref_t<decltype(m)>;
            if (!m) return true;
            described_method d;
            d.name = m.name;
            for (std::size_t i = 0; i < method::spelling.count; ++i) {
                d.parameters.emplace_back(method::spelling.parameters[i]);
            }
            d.signature = method::description.words.words();
            d.method = method::number;
            d.print = method::description.prints[method::arguments::most];
            d.how = static_cast<std::uint8_t>(method::how);
            d.is_live = method::is_live;
            all.push_back(std::move(d));
            return true;
        });
        return all;
    }
    [[nodiscard]] std::string names() {
        std::string all;
        parley::detail::each_member(*service_, [&](auto& m) {
            if (m) ((all += all.empty() ? "" : ", ") += m.name);
            return true;
        });
        return all.empty() ? "none" : all;
    }

    std::unique_ptr<S> service_;  // calls under way know where it is
    std::uint64_t number_;
    answers seen_;
    std::vector<std::byte> kept_;
};

}  // namespace rpc
}  // namespace v1
}  // namespace parley
