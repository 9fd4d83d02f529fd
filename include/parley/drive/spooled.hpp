// SPDX-License-Identifier: MIT
// Between a spool and the sending side of a delivery stack.
#pragma once

#include <parley/delivery/outbox.hpp>
#include <parley/delivery/receipts.hpp>
#include <parley/store/spool.hpp>

#include <cstddef>
#include <cstdint>
#include <deque>
#include <new>
#include <string>

namespace parley {
inline namespace v1 {
namespace drive {

/// Messages that lie in a file: those that the sending side was not given yet, and those that it
/// was given and that are not consumed. `kept`: how many there were since it was opened.
struct spooled {
    store::spool file;
    std::uint64_t kept = 0;

    /// Gives what there is room for; how many that were. Errors: corrupt,
    /// message_too_large (kept while nobody knew what the way takes; it stays), out_of_resources.
    template <class Sending, class Address>
    result<std::size_t> feed(Sending& out, time_point now, Address address, diagnostics& why) {
        std::size_t given = 0;
        while (out.admits(now) == delivery::admission::taken) {
            const auto m = file.next(why);
            if (!m && m.error() == errc::would_block) break;
            if (!m) return m.error();
            if (m->size() > out.message_bytes_max()) {
                return why.fail(errc::message_too_large,
                                file.path() + " keeps a message of " + std::to_string(m->size()) +
                                    " bytes; " + address() + " takes at most " +
                                    std::to_string(out.message_bytes_max()) +
                                    ": let its receiver take more");
            }
            given_.push_back(file.place());
            try {
                out.submit(*m, now);
            } catch (const std::bad_alloc&) {  // its number would pass for its delivery
                return why.fail(errc::out_of_resources, "there is no memory to send from");
            }
            ++given;
        }
        return given;
    }
    /// Lets go of what was consumed.
    template <class Sending>
    result<void> settle(const Sending& out, diagnostics& why) {
        const std::uint64_t done = out.reached(receipt::consumed);
        if (settled_ == done) return {};
        std::uint64_t place = 0;
        for (; settled_ < done; ++settled_) {
            place = given_.front();
            given_.pop_front();
        }
        return file.let_go(place, why);
    }

private:
    std::deque<std::uint64_t> given_;  // the places behind them
    std::uint64_t settled_ = 0;
};
struct not_spooled {};

}  // namespace drive
}  // namespace v1
}  // namespace parley
