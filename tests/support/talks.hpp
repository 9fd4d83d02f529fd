// SPDX-License-Identifier: MIT
// A seeded world for what goes to and fro within a call: two sides of a talk, ways in order that
// are full now and then, values of any length in every channel, ends and refusals. It tells what
// went wrong.
#pragma once

#include <parley/base/random.hpp>
#include <parley/rpc/talk.hpp>

#include <array>
#include <deque>
#include <string>
#include <utility>
#include <vector>

namespace parley_test {

class world_of_talks {
public:
    explicit world_of_talks(std::uint64_t seed) : dice_(seed) {}

    /// Empty if all went well.
    std::string run(int steps) {
        for (int i = 0; i < steps && wrong_.empty(); ++i) step(true);
        for (int i = 0; i < 200'000 && wrong_.empty() && !is_over(); ++i) step(false);
        if (wrong_.empty() && !is_over()) wrong_ = "what was sent does not come to an end";
        return wrong_;
    }
    [[nodiscard]] std::uint64_t taken() const noexcept { return taken_; }
    [[nodiscard]] std::uint64_t refused() const noexcept { return refused_; }

private:
    using frame = std::vector<std::byte>;
    static constexpr std::size_t channels = 3;
    /// One direction of a channel, as who knows everything sees it.
    struct flow {
        std::uint64_t sent = 0, taken = 0;
        std::int64_t under_way = 0;  // bytes, counted as credit is
        bool ended = false, enough = false, seen = false;
    };
    class way final : public parley::rpc::line {
    public:
        way(std::deque<frame>& to, parley::random& dice) : to_(to), dice_(dice) {}
        parley::result<void> send(const parley::rpc::header& h, std::size_t n,
                                  parley::rpc::filler fill) override {
            if (dice_.below(4) == 0) return parley::errc::would_block;
            frame f(parley::rpc::header::bytes + n);
            h.write(f.data());
            fill(parley::mutable_bytes(f).subspan(parley::rpc::header::bytes));
            to_.push_back(std::move(f));
            return {};
        }

    private:
        std::deque<frame>& to_;
        parley::random& dice_;
    };

    void fail(const char* words) {
        if (wrong_.empty()) wrong_ = words;
    }
    [[nodiscard]] bool is_over() const {
        for (const auto& side : flows_) {
            for (const flow& f : side) {
                if (!f.enough && f.taken != f.sent) return false;
                if (f.ended && !f.enough && !f.seen) return false;
            }
        }
        return ways_[0].empty() && ways_[1].empty();
    }
    void step(bool sends) {
        const std::size_t side = dice_.below(2), channel = dice_.below(channels);
        switch (dice_.below(sends ? 12 : 6)) {
            case 0:
            case 1: arrive(side); break;
            case 2:
            case 3:
            case 4: take(side, channel); break;
            case 5: {
                way to(ways_[1 - side], dice_);
                (void)sides_[side].settle(to);
                break;
            }
            case 6:
                if (dice_.below(300) == 0) end(side, channel);
                break;
            case 7:
                if (dice_.below(300) == 0) enough(side, channel);
                break;
            default: send(side, channel);
        }
    }
    /// `side` sends: the flow is the other side's to take.
    void send(std::size_t side, std::size_t channel) {
        flow& f = flows_[1 - side][channel];
        if (f.ended || !sides_[side].may_send(channel)) return;
        if (sides_[side].is_unwanted(channel)) {
            if (!f.enough) fail("somebody is told that nothing more is wanted, and nobody said so");
            ++refused_;
            return;
        }
        if (f.under_way >= parley::rpc::talk::window_bytes) fail("more is under way than may be");
        const std::size_t n = 8 + dice_.below(dice_.below(8) == 0 ? 300'000 : 60);
        const auto write = [&](parley::mutable_bytes to) {
            parley::store_le(to.data(), f.sent);
            if (n > 8) to.back() = std::byte(f.sent & 0xff);
        };
        way to(ways_[1 - side], dice_);
        using parley::rpc::kind;
        if (!to.send(sides_[side].header_of(kind::item, channel), n, parley::rpc::filler(write))) {
            return;
        }
        sides_[side].sent(channel, n);
        ++f.sent;
        f.under_way += static_cast<std::int64_t>(n + parley::rpc::header::bytes);
    }
    void end(std::size_t side, std::size_t channel) {
        flow& f = flows_[1 - side][channel];
        if (f.ended) return;
        way to(ways_[1 - side], dice_);
        auto h = sides_[side].header_of(parley::rpc::kind::end, channel);
        if (channel == 1) parley::rpc::write_error(h, parley::errc::denied);
        f.ended = to.send_words(h, {}).has_value();
    }
    void enough(std::size_t side, std::size_t channel) {
        flows_[side][channel].enough = true;
        sides_[side].enough(channel);
    }
    void arrive(std::size_t side) {
        if (ways_[side].empty()) return;
        const frame f = std::move(ways_[side].front());
        ways_[side].pop_front();
        parley::rpc::header h;
        if (!h.read(f) ||
            !sides_[side].on_frame(h, parley::bytes(f).subspan(parley::rpc::header::bytes))) {
            fail("a frame of the other side is refused");
        }
    }
    void take(std::size_t side, std::size_t channel) {
        flow& f = flows_[side][channel];
        const auto i = sides_[side].take(channel);
        if (!i) {
            const auto why = sides_[side].end_of(channel);
            if (why == parley::errc::would_block) return;
            if (!f.ended) fail("an end that nobody sent");
            if (!f.enough && f.taken != f.sent) fail("an end before the last value");
            if ((why == parley::errc::denied) != (channel == 1)) fail("another end than was sent");
            f.seen = true;
            return;
        }
        if (f.enough) fail("what is not wanted is handed out");
        const auto number = parley::load_le<std::uint64_t>(i->body.data());
        if (number != f.taken) fail("values come in another order, or not at all");
        if (i->body.size() > 8 && i->body.back() != std::byte(number & 0xff)) fail("damaged");
        ++f.taken;
        ++taken_;
        f.under_way -= static_cast<std::int64_t>(i->body.size() + parley::rpc::header::bytes);
    }

    parley::random dice_;
    std::array<parley::rpc::talk, 2> sides_{parley::rpc::talk(9, channels),
                                            parley::rpc::talk(9, channels)};
    std::array<std::array<flow, channels>, 2> flows_{};  // by who takes
    std::array<std::deque<frame>, 2> ways_;              // to that side
    std::uint64_t taken_ = 0, refused_ = 0;
    std::string wrong_;
};

}  // namespace parley_test
