// SPDX-License-Identifier: MIT
// What a method needs of the other side, whatever lies between; and what a handler may know of the
// call that it answers.
#pragma once

#include <parley/base/bytes.hpp>
#include <parley/base/error.hpp>
#include <parley/base/peer.hpp>
#include <parley/base/time.hpp>
#include <parley/rpc/promises.hpp>

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>

namespace parley {
inline namespace v1 {
namespace rpc {

/// May a call whose outcome is unknown be sent again?
enum class manner : std::uint8_t {
    at_most_once,  ///< no: it may have run
    idempotent,    ///< yes: to run twice is to run once
    once,          ///< yes: the server knows it again, and gives the answer that it gave before
    one_way,       ///< no: nobody answers
};

/// What is called, and how.
struct called {
    std::uint64_t method = 0, signature = 0;
    manner how = manner::at_most_once;
    std::string_view name, words;  ///< of the method, of its signature
};

/// Writes a message of a known length when there is room for it. Borrowed: for the call it is given
/// to.
class filler {
public:
    template <class F>
    explicit filler(const F& f) noexcept
        : from_(&f),
          write_([](const void* from, mutable_bytes to) { (*static_cast<const F*>(from))(to); }) {}
    void operator()(mutable_bytes to) const { write_(from_, to); }

private:
    const void* from_;
    void (*write_)(const void*, mutable_bytes);
};

class line;

/// The caller's side of a call in which more goes to and fro than question and answer.
class talker {
public:
    /// False: nobody who speaks this writes it.
    virtual bool on_frame(const header&, bytes body) = 0;
    /// Does and sends what can be done and sent now.
    virtual void work(line&) = 0;

protected:
    ~talker() = default;
};

/// The other side of a service. One thread at a time.
class remote {
public:
    remote() = default;
    remote(const remote&) = delete;
    remote& operator=(const remote&) = delete;
    virtual ~remote() = default;

    /// Sends a call with n bytes of arguments, into which go the answers that it takes. Its number.
    virtual result<std::uint64_t> start(const called&, std::size_t n, filler,
                                        std::span<const taken>, deadline) = 0;
    /// The answer; its bytes stay until the next start.
    virtual result<bytes> finish(std::uint64_t id, deadline) = 0;
    /// Both, and again where the manner of the method allows it. What is known of it is how().
    virtual result<bytes> call(const called&, std::size_t n, filler, deadline) = 0;
    /// Sends a call that nobody answers.
    virtual result<void> notify(const called&, std::size_t n, filler, deadline) = 0;
    virtual void cancel(std::uint64_t id) = 0;
    /// Whether a call is neither finished nor cancelled.
    [[nodiscard]] virtual bool is_known(std::uint64_t id) const = 0;
    /// Whether its answer, or the loss of the way, has come.
    [[nodiscard]] virtual bool is_settled(std::uint64_t id) const = 0;
    [[nodiscard]] virtual outcome how() const noexcept = 0;
    /// More words on the last error.
    [[nodiscard]] virtual const diagnostics& why() const noexcept = 0;

    /// The frames of a call go to its talker, which is asked to work, until it leaves.
    virtual void join(std::uint64_t id, talker&) = 0;
    virtual void leave(std::uint64_t id) noexcept = 0;
    /// Lets talkers work, then waits until something has come, or a call is settled.
    virtual result<void> pump(std::uint64_t id, deadline&) = 0;
};

}  // namespace rpc

/// What the handler of a method may know of the call that it answers: a first parameter that it may
/// have or not.
///
///     .quote = [&](parley::call_context& c, const std::string& symbol) -> parley::result<double> {
///         if (!known(symbol)) return c.fail(parley::errc::not_found, "no symbol " + symbol);
///         return exchange->last(symbol, c.until());    // what is left of the time goes on with it
///     }
///
/// It lives as long as the handler runs. Thread safety: the handler's thread.
class call_context {
public:
    explicit call_context(time_point until = never) noexcept : until_(until) {}
    call_context(const call_context&) = delete;
    call_context& operator=(const call_context&) = delete;
    virtual ~call_context() = default;

    /// By when the caller wants the answer: the deadline for calls that this one needs.
    [[nodiscard]] time_point until() const noexcept { return until_; }
    /// Whether the caller still waits: false once it is known here that it gave up or died.
    [[nodiscard]] virtual bool is_wanted() { return true; }
    /// Who calls: kernel-attested over Unix domain sockets, else unknown.
    [[nodiscard]] virtual peer_id caller() { return {}; }
    /// Ends serve() when this call is answered.
    virtual void stop() {}
    /// An error with words of its own for the caller: `return c.fail(errc::denied, "not today")`.
    error_code fail(error_code ec, std::string words) { return why_.fail(ec, std::move(words)); }
    error_code fail(errc e, std::string words) { return why_.fail(e, std::move(words)); }
    [[nodiscard]] const diagnostics& why() const noexcept { return why_; }

private:
    time_point until_;
    diagnostics why_;
};

}  // namespace v1
}  // namespace parley
