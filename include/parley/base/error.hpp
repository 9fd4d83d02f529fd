// SPDX-License-Identifier: MIT
// The errors of the library: one enum, its families, the one map from errno, and the words that
// go with an error for whoever asks.
#pragma once

#include <boost/system/error_code.hpp>
#include <boost/system/result.hpp>

#include <cerrno>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

namespace parley {
inline namespace v1 {

using boost::system::error_code;

/// A value or an error. `.value()` throws boost::system::system_error; `if (r)` does not.
template <class T>
using result = boost::system::result<T>;

/// Every error that parley itself tells apart. Other errors of the system pass through unchanged,
/// in boost::system::system_category().
enum class errc {
    would_block = 1,  ///< nothing to receive, or no room to send, at this moment: flow, not failure
    timed_out,        ///< the deadline passed; of a message that was not sent nothing will arrive
    closed,           ///< the other side closed cleanly, after everything it sent was delivered
    peer_lost,        ///< the other side died, or cut the connection without closing
    message_too_large,  ///< longer than limits().message_bytes_max
    invalid_argument,   ///< an address, option or value that means nothing
    not_found,          ///< no such name, directory or object
    in_use,             ///< another live process owns this address
    denied,             ///< permissions of the system or of a policy forbid it
    incompatible,       ///< the two ends carry different types, or speak different layout versions
    corrupt,            ///< bytes from outside that no end of parley would write
    lagged,             ///< a reader was overtaken and lost messages, which are counted
    not_member,         ///< not a member of the group
    out_of_resources,   ///< memory, disk, descriptors or a limit of the kernel is exhausted
    unsupported,        ///< this transport or kernel cannot do it
};

/// Families of errors, to compare with: `if (r.error() == condition::gone)`.
enum class condition {
    flow = 1,   ///< would_block, timed_out: try again later
    gone,       ///< closed, peer_lost: the conversation is over
    refused,    ///< in_use, denied, incompatible: the other side or the system says no
    bad_input,  ///< invalid_argument, message_too_large, corrupt, not_found: something is wrong
    exhausted,  ///< out_of_resources: make room, then try again
};

}  // namespace v1
}  // namespace parley

template <>
struct boost::system::is_error_code_enum<parley::errc> : std::true_type {};
template <>
struct boost::system::is_error_condition_enum<parley::condition> : std::true_type {};

namespace parley {
inline namespace v1 {

/// What an enumerator means, in words.
[[nodiscard]] constexpr const char* describe(errc e) noexcept {
    switch (e) {
        case errc::would_block: return "would block: nothing to receive or no room to send now";
        case errc::timed_out: return "the deadline passed";
        case errc::closed: return "closed by the other side";
        case errc::peer_lost: return "the other side died without closing";
        case errc::message_too_large: return "the message is larger than the transport allows";
        case errc::invalid_argument: return "an address, option or value that means nothing";
        case errc::not_found: return "no such name";
        case errc::in_use: return "the address is in use by another live process";
        case errc::denied: return "permission denied";
        case errc::incompatible: return "the two ends carry different types or layout versions";
        case errc::corrupt: return "corrupt data from outside";
        case errc::lagged: return "overtaken by the writer: messages were lost and counted";
        case errc::not_member: return "not a member of the group";
        case errc::out_of_resources: return "memory, disk, descriptors or a kernel limit exhausted";
        case errc::unsupported: return "not supported by this transport or kernel";
    }
    return "unknown error of parley";
}

namespace detail {

[[nodiscard]] constexpr bool belongs(errc e, condition family) noexcept {
    switch (e) {
        case errc::would_block:
        case errc::timed_out: return family == condition::flow;
        case errc::closed:
        case errc::peer_lost: return family == condition::gone;
        case errc::in_use:
        case errc::denied:
        case errc::incompatible: return family == condition::refused;
        case errc::invalid_argument:
        case errc::message_too_large:
        case errc::corrupt:
        case errc::not_found: return family == condition::bad_input;
        case errc::out_of_resources: return family == condition::exhausted;
        case errc::lagged:
        case errc::not_member:
        case errc::unsupported: return false;
    }
    return false;
}

class error_category final : public boost::system::error_category {
public:
    constexpr error_category() noexcept : boost::system::error_category(0x70a71e7c0de5a1d1ULL) {}
    const char* name() const noexcept override { return "parley"; }
    std::string message(int ev) const override { return describe(static_cast<errc>(ev)); }
    const char* message(int ev, char*, std::size_t) const noexcept override {
        return describe(static_cast<errc>(ev));
    }
    bool equivalent(int ev, const boost::system::error_condition& c) const noexcept override;
};

class condition_category final : public boost::system::error_category {
public:
    constexpr condition_category() noexcept
        : boost::system::error_category(0x70a71e7c0de5a1d2ULL) {}
    const char* name() const noexcept override { return "parley condition"; }
    std::string message(int ev) const override {
        switch (static_cast<condition>(ev)) {
            case condition::flow: return "try again later";
            case condition::gone: return "the conversation is over";
            case condition::refused: return "refused";
            case condition::bad_input: return "bad input";
            case condition::exhausted: return "resources are exhausted";
        }
        return "unknown condition of parley";
    }
};

inline constexpr error_category error_category_instance{};
inline constexpr condition_category condition_category_instance{};

inline bool error_category::equivalent(int ev,
                                       const boost::system::error_condition& c) const noexcept {
    return c.category() == condition_category_instance &&
           belongs(static_cast<errc>(ev), static_cast<condition>(c.value()));
}

}  // namespace detail

[[nodiscard]] inline error_code make_error_code(errc e) noexcept {
    return {static_cast<int>(e), detail::error_category_instance};
}
[[nodiscard]] inline boost::system::error_condition make_error_condition(condition c) noexcept {
    return {static_cast<int>(c), detail::condition_category_instance};
}

/// The one map from errno: values that a user branches on become an errc, the rest passes through
/// as boost::system::system_category().
[[nodiscard]] inline error_code from_errno(int number) noexcept {
    switch (number) {
        case EAGAIN: return errc::would_block;
        case ETIMEDOUT: return errc::timed_out;
        case EPIPE:
        case ECONNRESET: return errc::peer_lost;
        case EMSGSIZE: return errc::message_too_large;
        case EINVAL:
        case ENAMETOOLONG: return errc::invalid_argument;
        case ENOENT:
        case ENOTDIR:
        case ECONNREFUSED: return errc::not_found;
        case EADDRINUSE: return errc::in_use;
        case EACCES:
        case EPERM:
        case EROFS: return errc::denied;
        case ENOMEM:
        case ENOSPC:
        case EDQUOT:
        case EMFILE:
        case ENFILE:
        case ENOBUFS: return errc::out_of_resources;
        case ENOSYS:
        case EOPNOTSUPP:
        case EAFNOSUPPORT:
        case EPROTONOSUPPORT: return errc::unsupported;
        default: return {number, boost::system::system_category()};
    }
}

/// More words about the last error of an open, or of one end: what was tried, on which path, both
/// type descriptions, and how to mend it. Empty if nothing failed. A regular value.
class diagnostics {
public:
    [[nodiscard]] const std::string& text() const noexcept { return text_; }
    [[nodiscard]] bool empty() const noexcept { return text_.empty(); }
    void clear() noexcept { text_.clear(); }

    /// Records `words` and hands the error on: `return diag.fail(errc::denied, "...")`.
    error_code fail(error_code ec, std::string words) {
        text_ = std::move(words);
        return ec;
    }
    error_code fail(errc e, std::string words) {
        return fail(make_error_code(e), std::move(words));
    }

private:
    std::string text_;
};

}  // namespace v1
}  // namespace parley
