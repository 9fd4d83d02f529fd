// SPDX-License-Identifier: MIT
// Promise pipelining: a call takes the answer of an earlier one as an argument, before that answer
// has come, so that a chain of calls costs one round trip.
//
// A question that is marked as filled begins with where the answers go:
//
//   byte    0            4            12          16
//           +------------+------------+-----------+--- ... ---+------------------ - -
//   filled  | count u32  | call u64   | at u32    |           | the question
//           +------------+------------+-----------+--- ... ---+------------------ - -
//                        |   once for each answer, `at` ascends   |
//
//   call   the number of the question whose answer is wanted: of one before it, in its message,
//          which is marked as kept
//   at     where in the question the answer is put, counted before anything is put in
//
// The design is that of Cap'n Proto's promises (after E and Mark S. Miller's "Robust Composition",
// 2006), made simple by one rule: an answer is kept to the end of the message that asks for it.
#pragma once

#include <parley/rpc/frame.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace parley {
inline namespace v1 {
namespace rpc {

/// The answer to `call` goes in at byte `at`.
struct taken {
    static constexpr std::size_t bytes = 12;

    std::uint64_t call = 0;
    std::uint32_t at = 0;

    /// What stands before a question that takes n answers.
    [[nodiscard]] static constexpr std::size_t bytes_of(std::size_t n) noexcept {
        return n == 0 ? 0 : 4 + n * bytes;
    }
};

/// Writes the head of a question that takes these, each `behind` bytes later than it says.
inline void write_taken(std::span<const taken> all, std::size_t behind, std::byte* to) noexcept {
    if (all.empty()) return;
    store_le(to, static_cast<std::uint32_t>(all.size()));
    to += 4;
    for (const taken& t : all) {
        store_le(to, t.call);
        store_le(to + 8, static_cast<std::uint32_t>(t.at + behind));
        to += taken::bytes;
    }
}

/// The answers that later questions of one message take, as its server keeps them.
///
///     kept.keep(id, header, body);                      // an answer to a question marked as kept
///     auto whole = kept.fill(question, bytes_max);      // one that is marked as filled
///     kept.clear();                                     // at the end of the message
///
/// Errors of fill, their words in words(): corrupt (no such question), message_too_large (a caller
/// could not have sent that much), out_of_resources (so much is not kept), and the error that one
/// of the answers is.
class promises {
public:
    /// Bytes of answers that are kept at once.
    static constexpr std::size_t kept_bytes_max = std::size_t{64} * 1024 * 1024;

    /// Ids ascend.
    void keep(std::uint64_t id, const header& h, bytes body) {
        const bool fits = body.size() <= kept_bytes_max - bytes_.size();
        answers_.push_back({id, h, bytes_.size(), fits ? body.size() : not_kept});
        if (fits) bytes_.insert(bytes_.end(), body.begin(), body.end());
    }
    [[nodiscard]] result<bytes> fill(bytes question, std::size_t bytes_max) {
        std::uint32_t n = 0;
        if (question.size() >= 4) n = load_le<std::uint32_t>(question.data());
        if (n == 0 || n > (question.size() - 4) / taken::bytes) {
            return fail(errc::corrupt, "it does not say which answers it takes");
        }
        const std::byte* at = question.data() + 4;
        const bytes rest = question.subspan(taken::bytes_of(n));
        std::size_t from = 0;
        filled_.clear();
        for (; n > 0; --n, at += taken::bytes) {
            const taken t{load_le<std::uint64_t>(at), load_le<std::uint32_t>(at + 8)};
            const auto a = std::lower_bound(answers_.begin(), answers_.end(), t.call,
                                            [](const answer& x, auto id) { return x.id < id; });
            if (a == answers_.end() || a->id != t.call || t.at < from || t.at > rest.size()) {
                return fail(errc::corrupt, "it takes an answer that is not there");
            }
            if (a->size == not_kept) {
                return fail(errc::out_of_resources, "it takes an answer too long to be kept");
            }
            const bytes body = bytes(bytes_).subspan(a->at, a->size);
            if (a->head.what != kind::value) return fail(read_error(a->head), as_text(body));
            if (filled_.size() + body.size() + (t.at - from) > bytes_max) {
                return fail(errc::message_too_large, "the answers that it takes are too long");
            }
            put(rest.subspan(from, t.at - from));
            put(body);
            from = t.at;
        }
        put(rest.subspan(from));
        return bytes(filled_);
    }
    [[nodiscard]] std::string_view words() const noexcept { return words_; }
    [[nodiscard]] bool empty() const noexcept { return answers_.empty(); }
    void clear() noexcept {
        answers_.clear();
        bytes_.clear();
    }

private:
    struct answer {
        std::uint64_t id;
        header head;
        std::size_t at, size;
    };
    static constexpr std::size_t not_kept = ~std::size_t{0};

    void put(bytes b) { filled_.insert(filled_.end(), b.begin(), b.end()); }
    error_code fail(error_code ec, std::string_view words) {
        words_ = words;
        return ec;
    }

    std::vector<answer> answers_;
    std::vector<std::byte> bytes_, filled_;
    std::string words_;
};

}  // namespace rpc
}  // namespace v1
}  // namespace parley
