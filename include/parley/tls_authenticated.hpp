// SPDX-License-Identifier: MIT
// Frames that only who knows the key can have written, for programs that link parley::tls.
#pragma once

#include <parley/delivery/delivery.hpp>
#include <parley/transport/tls_hmac.hpp>

#include <cstddef>
#include <cstring>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace parley {
inline namespace v1 {

/// A frame that does not bear the seal of the key is dropped and counted (`counters().corrupt`), as
/// if it had been lost: what somebody without the key sends, or changed on the way, never comes
/// through. It hides nothing from who listens; for that take tls.
///
///     const auto sure = parley::exactly_once{} | parley::authenticated{.key = key};
///     const parley::duplex at{parley::udp{"10.0.0.7:7001"}, parley::udp{"10.0.0.9:7002"}};
///     auto out = parley::open_sender<order>(at, sure).value();
///
/// Both ends have the same key, of 16 bytes or more that nobody can guess. HMAC-SHA-256 (RFC 2104),
/// cut to 16 bytes, under a key of its own for each direction, so that no frame can be sent back as
/// if it were an answer. Frames that are recorded and sent again are what a guarantee drops as
/// duplicates, as long as the receiver lives; one that is opened later knows nothing of them.
///
/// Errors of open: invalid_argument (the key is too short).
/// Thread safety: a value. Costs: 16 bytes of each frame, and on each side one to three
/// microseconds.
struct authenticated {
    std::string key;

    static constexpr std::size_t key_bytes_min = 16;
    static constexpr delivery::terms terms{delivery::role::integrity, {}, {.intact = true}};
    class sealing;

    /// Why it cannot be used as it is; empty if it can.
    [[nodiscard]] std::string_view wrong() const noexcept {
        if (key.size() >= key_bytes_min) return {};
        return "authenticated: the key is shorter than 16 bytes; take some from /dev/urandom";
    }
    friend bool operator==(const authenticated&, const authenticated&) = default;
};

//   byte    0                         16
//           +-------------------------+-------------- - -
//   frame   | HMAC-SHA-256, the first | what it is of
//           | 16 bytes                |
//           +-------------------------+-------------- - -

/// How frames are sealed: see delivery.hpp. Copies share nothing.
class authenticated::sealing {
public:
    static constexpr delivery::field header{"hmac", 16};
    static constexpr bool if_intact = true;

    sealing(const authenticated& how, bool sends)
        : own_(derived(how.key, sends ? "parley forth" : "parley back")),
          theirs_(derived(how.key, sends ? "parley back" : "parley forth")) {}

    void seal(mutable_bytes frame) const {
        const auto sum = detail::hmac_sha256(own_, frame.subspan(header.bytes));
        std::memcpy(frame.data(), sum.data(), header.bytes);
    }
    [[nodiscard]] std::optional<bytes> unseal(bytes frame) const {
        if (frame.size() < header.bytes) return std::nullopt;
        const bytes rest = frame.subspan(header.bytes);
        if (!detail::same_sum(frame.first(header.bytes), detail::hmac_sha256(theirs_, rest))) {
            return std::nullopt;
        }
        return rest;
    }

private:
    [[nodiscard]] static detail::hmac_sum derived(const std::string& key,
                                                  std::string_view purpose) {
        return detail::hmac_sha256(std::as_bytes(std::span(key)),
                                   std::as_bytes(std::span(purpose)));
    }

    detail::hmac_sum own_, theirs_;
};

}  // namespace v1
}  // namespace parley
