// SPDX-License-Identifier: MIT
// A seeded world for delivery stacks: one sender, one receiver, and a network between them that
// drops, delays, duplicates, reorders, damages and cuts, as far as the way that it plays may. A
// checker that knows everything says what went wrong. The same seed makes the same run.
#pragma once

#include <parley/base/random.hpp>
#include <parley/delivery/machine.hpp>

#include <cstddef>
#include <cstdint>
#include <deque>
#include <queue>
#include <string>
#include <utility>
#include <vector>

namespace parley {
inline namespace v1 {
namespace testing {

/// How often what happens, of a thousand; drawn from the seed, so each run has other weather.
struct weather {
    std::uint64_t drop = 0, duplicate = 0, damage = 0, late = 0, cut = 0, full = 0;

    static weather of(random& dice) {
        const auto some = [&](std::uint64_t most) {
            return dice.below(3) == 0 ? 0 : dice.below(most + 1);
        };
        return {some(300), some(200), some(200), some(400), some(10), some(800)};
    }
};

/// What a run saw, for tests that want to know that something happened.
struct simulation_report {
    std::string wrong;  ///< empty: every promise was kept
    std::uint64_t handed_out = 0, again = 0, frames = 0, cuts = 0;
    delivery::counters sender, receiver;
};

/// One run of a stack over a way.
///
///     auto seen = simulate<delivery::facts{.two_way = true}>(exactly_once{} | checksum{}, 7,
///     1000); if (!seen.wrong.empty()) … seed 7 shows it
template <delivery::facts Way, class Stack>
class simulation {
    using out_side = delivery::sending<Stack, Way>;
    using in_side = delivery::receiving<Stack, Way>;
    using todo = delivery::plan<Stack, Way>;

public:
    static constexpr std::size_t frame_bytes_max = 256;
    static constexpr std::size_t levels = 3;

    simulation(const Stack& policies, std::uint64_t seed, std::size_t messages)
        : policies_(policies),
          dice_(seed),
          sky_(weather::of(dice_)),
          messages_(messages),
          out_(policies, dice_(), frame_bytes_max),
          in_(policies),
          seen_(messages, 0),
          arrived_(messages, false) {
        // Numbers that run round, often.
        if (dice_.below(2) == 0) {
            out_ = out_side(policies, (dice_() | 0xffffffffU) - dice_.below(50), frame_bytes_max);
        }
    }

    [[nodiscard]] simulation_report run() {
        std::size_t steps = 0;  // since the last message was submitted, when the cuts ended
        for (; !is_over() && report_.wrong.empty(); steps += submitted_ == messages_ ? 1 : 0) {
            if (steps > 100'000) {
                fail("it does not come to an end: " + std::to_string(out_.unfinished()) +
                     " left unfinished");
            }
            step();
        }
        if (report_.wrong.empty()) check_end();
        report_.sender = out_.counters();
        report_.receiver = lost_counters_;
        add(report_.receiver, in_.counters());
        return report_;
    }

private:
    using frame = std::vector<std::byte>;
    struct packet {
        time_point at;
        std::uint64_t order;
        bool back;
        frame body;
        bool operator<(const packet& other) const {
            return other.at < at || (other.at == at && other.order < order);
        }
    };

    [[nodiscard]] bool chance(std::uint64_t of_thousand) { return dice_.below(1000) < of_thousand; }
    void fail(std::string words) {
        if (report_.wrong.empty()) report_.wrong = std::move(words);
    }
    static void add(delivery::counters& to, const delivery::counters& c) {
        to.duplicates += c.duplicates;
        to.lost += c.lost;
        to.corrupt += c.corrupt;
    }

    [[nodiscard]] bool is_over() const {
        return submitted_ == messages_ && out_.idle() && network_.empty() && inbox_.empty() &&
               !handing_out_;
    }
    void step() {
        now_ += std::chrono::microseconds(dice_.below(100));
        const bool waits = network_.empty() && inbox_.empty() && submitted_ == messages_;
        if (waits && !handing_out_ && out_.wants(now_) == 0) {
            now_ = std::max(now_, out_.next_deadline() == never ? now_ : out_.next_deadline());
        }
        arrive();
        for (auto n = dice_.below(4); n > 0 && submitted_ < messages_; --n) submit();
        if (submitted_ == messages_) out_.hurry();
        while (!chance(sky_.full)) {
            const std::size_t n = out_.wants(now_);
            if (n == 0) break;
            if (n > frame_bytes_max) return fail("a frame that is too long is announced");
            frame f(n);
            f.resize(out_.transmit(f, now_));
            if (f.empty() && out_side::header_bytes > 0) return fail("a frame without a header");
            ++report_.frames;
            send(std::move(f), false);
        }
        receive();
        if (todo::acknowledges && submitted_ < messages_ && chance(sky_.cut) && chance(100)) cut();
    }
    void arrive() {
        while (!network_.empty() && network_.top().at <= now_) {
            packet p = network_.top();
            network_.pop();
            if (p.back) {
                out_.on_frame(p.body, now_);
                check_receipts();
            } else if (inbox_.size() < 64 || Way.lossless) {
                inbox_.push_back(std::move(p.body));
            }
        }
    }
    void submit() {
        if constexpr (todo::ranks) out_.priority(level_of(submitted_));
        switch (out_.admits(now_)) {
            case delivery::admission::taken: break;
            case delivery::admission::wait: return;
            case delivery::admission::refused: ++refused_; return;
        }
        out_.submit(text_of(submitted_++), now_);
    }
    void receive() {
        for (auto n = dice_.below(6); n > 0; --n) {
            holds_ = false;
            if (const auto m = in_.next()) {
                handing_out_ = true;
                take(*m);
            } else if (handing_out_ = false; !inbox_.empty()) {
                current_ = std::move(inbox_.front());
                inbox_.pop_front();
                in_.on_frame(current_);
                note_arrival(current_);
                if (in_side::tells_arrival) acknowledge(false);
                handing_out_ = true;
            } else {
                return acknowledge(true);
            }
        }
        acknowledge(false);
    }
    void acknowledge(bool quiet) {
        const std::size_t n = in_.wants(quiet);
        if (n == 0) return;
        frame f(n);
        f.resize(in_.transmit(f));
        send(std::move(f), true);
    }

    void send(frame f, bool back) {
        if (!Way.lossless && chance(sky_.drop)) return;
        if (!Way.intact && !f.empty() && chance(sky_.damage)) {
            if (chance(300))
                f.resize(dice_.below(f.size()));
            else
                f[dice_.below(f.size())] ^= std::byte(1 + dice_.below(255));
        }
        const bool twice = !Way.once && chance(sky_.duplicate);
        if (twice) post(f, back);
        post(std::move(f), back);
    }
    void post(frame f, bool back) {
        duration delay = std::chrono::microseconds(50 + dice_.below(50));
        if (chance(sky_.late)) delay += std::chrono::microseconds(dice_.below(40'000));
        time_point at = now_ + delay;
        time_point& last = last_[back ? 1 : 0];
        if (Way.ordered) at = last = std::max(at, last);
        network_.push({at, order_++, back, std::move(f)});
    }
    /// The connection is lost with all that is under way; another one is made.
    void cut() {
        ++report_.cuts;
        if (Way.connected) {
            while (!network_.empty()) network_.pop();
            inbox_.clear();
            handing_out_ = false;
            if (in_side::remembers) {
                while (const auto m = in_.next()) take(*m);
            } else {
                add(lost_counters_, in_.counters());
                in_ = in_side(policies_);
            }
        } else if (handing_out_) {
            return;
        }
        in_.on_link();
        out_.on_link(now_);
    }

    /// Its priority, where there are any.
    [[nodiscard]] static std::size_t level_of(std::uint64_t number) noexcept {
        return todo::ranks ? number * 7 / 3 % levels : 0;
    }
    /// A message that tells its number and can be checked: of any length that the stack takes.
    [[nodiscard]] frame text_of(std::uint64_t number) const {
        random own(number * 2 + 1);
        const std::size_t most = todo::in_parts ? 1500 : out_.message_bytes_max();
        const std::size_t n =
            8 + own.below(own.below(4) == 0 ? most - 7 : std::min<std::size_t>(most - 7, 40));
        frame f(n);
        store_le(f.data(), number);
        for (std::size_t i = 8; i < n; ++i) f[i] = std::byte(own() & 0xff);
        return f;
    }
    void take(bytes m) {
        const std::uint64_t number = m.size() < 8 ? messages_ : load_le<std::uint64_t>(m.data());
        if (number >= submitted_) return fail("a message that nobody sent");
        const frame sent = text_of(number);
        if (!std::equal(sent.begin(), sent.end(), m.begin(), m.end())) {
            return fail("message " + std::to_string(number) + " came damaged");
        }
        ++report_.handed_out;
        holds_ = true;
        in_hand_ = number;
        const bool again = seen_[number] > 0;
        report_.again += again ? 1 : 0;
        if (seen_[number] < 255) ++seen_[number];
        const bool may_repeat =
            todo::promise == delivery::guarantee::at_least_once && Way.connected;
        if (again && !may_repeat) fail("message " + std::to_string(number) + " came twice");
        const bool in_order =
            todo::in_order && (todo::promise != delivery::guarantee::none || Way.ordered);
        std::uint64_t& next = next_[level_of(number)];
        if (in_order && !again && number < next) {
            fail("message " + std::to_string(number) + " came behind " + std::to_string(next - 1));
        }
        next = std::max(next, number + 1);
    }
    /// Frames that hold one message each tell which one arrived.
    void note_arrival(bytes f) {
        if (todo::batches || todo::in_parts || f.size() < out_side::header_bytes + 8) return;
        const auto number = load_le<std::uint64_t>(f.data() + out_side::header_bytes);
        if (number >= submitted_) return;
        const frame sent = text_of(number);
        const bytes m = f.subspan(out_side::header_bytes);
        if (std::equal(sent.begin(), sent.end(), m.begin(), m.end())) arrived_[number] = true;
    }
    /// What the sender believes of messages for the first time is looked at.
    void check_receipts() {
        if constexpr (todo::acknowledges) {
            const auto consumed = out_.reached(receipt::consumed);
            const auto delivered = out_.reached(receipt::delivered);
            const auto c = out_.counters();
            for (; consumed_ < consumed; ++consumed_) {
                missing_ += seen_[consumed_] == 0 ? 1 : 0;
                if (holds_ && consumed_ == in_hand_ && seen_[consumed_] == 1) {
                    fail("message " + std::to_string(consumed_) + " is consumed and in hand");
                }
            }
            if (missing_ > c.dropped + c.expired) fail("consumed is what nobody got");
            if (delivered < consumed) fail("more is consumed than delivered");
            for (; delivered_ < delivered && !todo::batches && !todo::in_parts; ++delivered_) {
                absent_ += arrived_[delivered_] ? 0 : 1;
            }
            if (absent_ > c.dropped + c.expired) fail("delivered is what did not arrive");
        }
    }
    void check_end() {
        if constexpr (todo::acknowledges) {
            if (out_.reached(receipt::consumed) != messages_) fail("a receipt is missing");
        }
        std::uint64_t came = 0;
        for (std::size_t i = 0; i < messages_; ++i) came += seen_[i] > 0;
        const auto c = out_.counters();
        if (c.submitted != messages_) fail("the sender counts other messages than it was given");
        const bool complete = todo::acknowledges || Way.lossless;
        if (complete && came + c.dropped + c.expired != messages_) {
            fail(std::to_string(messages_ - came) + " messages never came, " +
                 std::to_string(c.dropped + c.expired) + " are accounted for");
        }
    }

    Stack policies_;
    random dice_;
    weather sky_;
    std::size_t messages_, submitted_ = 0;
    out_side out_;
    in_side in_;
    time_point now_{std::chrono::seconds(1)};
    std::priority_queue<packet> network_;
    std::deque<frame> inbox_;
    frame current_;
    bool handing_out_ = false;
    time_point last_[2]{};
    std::uint64_t order_ = 0, refused_ = 0;
    std::uint64_t next_[levels]{};  // the first of each priority that did not come
    std::vector<std::uint8_t> seen_;
    std::vector<bool> arrived_;
    bool holds_ = false;                          // it is looked at still,
    std::uint64_t in_hand_ = 0;                   // the message handed out last
    std::uint64_t consumed_ = 0, delivered_ = 0;  // what the sender believes
    std::uint64_t missing_ = 0, absent_ = 0;      // of these, what is not true
    delivery::counters lost_counters_;
    simulation_report report_;
};

template <delivery::facts Way, class Policies>
[[nodiscard]] simulation_report simulate(const Policies& policies, std::uint64_t seed,
                                         std::size_t messages) {
    const auto s = delivery::as_stack(policies);
    return simulation<Way, std::remove_cvref_t<decltype(s)>>(s, seed, messages).run();
}

}  // namespace testing
}  // namespace v1
}  // namespace parley
