// SPDX-License-Identifier: MIT
// Opening the ends of a transport and moving texts through them, for tests below the channel.
#pragma once

#include <parley/transport/transport.hpp>

#include <string>
#include <string_view>
#include <utility>

namespace parley_test {

inline constexpr parley::message_type text_type{0x7465787400000001, "raw text of tests / 1", 8};
inline constexpr parley::message_type other_type{0x7465787400000002, "raw of another kind {u32}",
                                                 8};

/// An opened end, or its error with the words.
template <class Address>
parley::result<typename Address::sink> open_sink(const Address& at, parley::diagnostics& why,
                                                 parley::time_point until = parley::never,
                                                 const parley::message_type& type = text_type) {
    return at.open_sink({type, until, &why});
}
template <class Address>
parley::result<typename Address::source> open_source(const Address& at, parley::diagnostics& why,
                                                     const parley::message_type& type = text_type) {
    return at.open_source({type, parley::never, &why});
}
template <class Address>
typename Address::sink sink_at(const Address& at) {
    parley::diagnostics why;
    return open_sink(at, why).value();
}
template <class Address>
typename Address::source source_at(const Address& at) {
    parley::diagnostics why;
    return open_source(at, why).value();
}

/// Loan, fill, commit, flush; waits for room until `until`.
template <class Sink>
parley::result<void> send(Sink& s, std::string_view text,
                          parley::time_point until = parley::never) {
    for (;;) {
        auto l = s.try_loan(text.size());
        if (l) {
            const auto from = parley::as_bytes(text);
            std::copy(from.begin(), from.end(), l->bytes().begin());
            if (auto r = s.try_commit(std::move(*l)); !r) return r;
            return s.flush(until);
        }
        if (l.error() != parley::errc::would_block) return l.error();
        if (auto r = s.wait(until); !r) return r;
    }
}

/// The next message as text, waiting until `until`.
template <class Source>
parley::result<std::string> receive(Source& s, parley::time_point until = parley::never) {
    for (;;) {
        auto v = s.try_receive();
        if (v) return std::string(parley::as_text(v->bytes()));
        if (v.error() != parley::errc::would_block) return v.error();
        if (auto r = s.wait(until); !r) return r.error();
    }
}

}  // namespace parley_test
