// SPDX-License-Identifier: MIT
// A seeded world for the correlation of request and reply: one caller, one desk, both ways in
// order, answers in any order, calls given up, and an end now and then. It tells what went wrong.
#pragma once

#include <parley/base/random.hpp>
#include <parley/rpc/correlation.hpp>

#include <deque>
#include <map>
#include <string>
#include <utility>
#include <vector>

namespace parley_test {

class world_of_calls {
public:
    explicit world_of_calls(std::uint64_t seed) : dice_(seed), book_(1 + dice_.below(6)) {}

    /// Empty if all went well.
    std::string run(int steps) {
        for (int i = 0; i < steps && wrong_.empty(); ++i) {
            now_ += std::chrono::microseconds(dice_.below(300));
            switch (dice_.below(7)) {
                case 0:
                case 1: ask(); break;
                case 2: hear(); break;
                case 3: answer(); break;
                case 4: take(); break;
                case 5: finish(); break;
                default: give_up(); break;
            }
        }
        for (int i = 0; i < 1000 && !calls_.empty() && wrong_.empty(); ++i) {
            now_ += std::chrono::microseconds(500);
            while (!there_.empty()) hear();
            while (!questions_.empty()) answer();
            while (!back_.empty()) take();
            for (std::size_t n = calls_.size(); n > 0; --n) finish();
        }
        while (!there_.empty()) hear();
        while (!questions_.empty()) answer();
        if (wrong_.empty() && !calls_.empty()) wrong_ = "a call never ended";
        if (wrong_.empty() && book_.under_way() != 0) wrong_ = "the book has calls that are over";
        if (wrong_.empty() && desk_.open() != 0) wrong_ = "the desk has questions that are over";
        if (wrong_.empty() && (book_.corrupt() > 0 || desk_.corrupt() > 0)) wrong_ = "corrupt";
        return wrong_;
    }
    [[nodiscard]] std::uint64_t answered() const noexcept { return answered_; }
    [[nodiscard]] std::uint64_t too_late() const noexcept { return too_late_; }

private:
    using frame = std::vector<std::byte>;
    using bytes = parley::bytes;
    using header = parley::rpc::header;
    struct under_way {
        std::uint64_t number;
        parley::time_point until;
    };

    static frame message(header h, std::uint64_t number) {
        frame f(header::bytes + 8);
        h.write(f.data());
        parley::store_le(f.data() + header::bytes, number);
        return f;
    }
    void fail(std::string words) {
        if (wrong_.empty()) wrong_ = std::move(words);
    }
    void ask() {
        const bool timed = dice_.below(3) == 0;
        const auto until =
            timed ? now_ + std::chrono::nanoseconds(1 + dice_.below(2'000'000)) : parley::never;
        const auto id = book_.begin(until);
        if (!id) return;
        if (calls_.contains(*id) || given_up_.contains(*id)) return fail("a number came twice");
        calls_[*id] = {++numbers_, until};
        const auto h = book_.header_of(*id, now_);
        if (timed != (h.number != 0)) fail("a deadline does not travel, or nobody's does");
        there_.push_back(message(h, numbers_));
    }
    void hear() {
        if (there_.empty()) return;
        const frame f = std::move(there_.front());
        there_.pop_front();
        const auto q = desk_.on_frame(f, now_);
        header h;
        if (h.read(f) && h.what == parley::rpc::kind::cancel && desk_.is_open(h.id)) {
            fail("what was given up is to be answered still");
        }
        if (q) questions_.push_back({q->id, parley::load_le<std::uint64_t>(q->body.data())});
    }
    void answer() {
        if (questions_.empty()) return;
        const auto at =
            questions_.begin() + static_cast<std::ptrdiff_t>(dice_.below(questions_.size()));
        const auto [id, number] = *at;
        questions_.erase(at);
        const bool wanted = desk_.is_open(id);
        if (desk_.close(id) != wanted) fail("a question is open and is not");
        if (!wanted && !given_up_.contains(id)) fail("a question was withdrawn by nobody");
        if (!wanted) return;
        header h{id, 0, parley::rpc::kind::value, parley::rpc::family::none};
        if (number % 5 == 0) parley::rpc::write_error(h, parley::errc::denied);
        back_.push_back(message(h, number));
    }
    void take() {
        if (back_.empty()) return;
        if (!book_.on_frame(back_.front())) fail("an answer is refused");
        back_.pop_front();
    }
    void finish() {
        expire();
        if (calls_.empty()) return;
        auto at = calls_.begin();
        std::advance(at, static_cast<std::ptrdiff_t>(dice_.below(calls_.size())));
        const auto [id, c] = *at;
        if (now_ >= c.until && !book_.is_settled(id)) fail("a call outlived its time");
        if (!book_.is_settled(id)) return;
        const auto r = book_.settle(id);
        calls_.erase(at);
        given_up_[id] = true;
        if (!r && r.error() == parley::errc::timed_out) {
            ++too_late_;
            if (now_ < c.until) fail("a call ended before its time");
        } else if (r.has_error() != (c.number % 5 == 0)) {
            fail("a value for an error, or the other way round");
        } else if (r && parley::load_le<std::uint64_t>(r->data()) != c.number) {
            fail("a call got the answer to another one");
        } else {
            ++answered_;
        }
    }
    void expire() {
        while (const auto late = book_.expire(now_)) {
            given_up_[*late] = true;
            there_.push_back(
                message({*late, 0, parley::rpc::kind::cancel, parley::rpc::family::none}, 0));
        }
    }
    void give_up() {
        if (calls_.empty() || dice_.below(4) != 0) return;
        const auto id = calls_.begin()->first;
        calls_.erase(calls_.begin());
        given_up_[id] = true;
        book_.forget(id);
        there_.push_back(message({id, 0, parley::rpc::kind::cancel, parley::rpc::family::none}, 0));
    }

    parley::random dice_;
    parley::rpc::calls book_;
    parley::rpc::desk desk_;
    parley::time_point now_{std::chrono::seconds(1)};
    std::deque<frame> there_, back_;
    std::vector<std::pair<std::uint64_t, std::uint64_t>> questions_;
    std::map<std::uint64_t, under_way> calls_;
    std::map<std::uint64_t, bool> given_up_;
    std::uint64_t numbers_ = 0, answered_ = 0, too_late_ = 0;
    std::string wrong_;
};

}  // namespace parley_test
