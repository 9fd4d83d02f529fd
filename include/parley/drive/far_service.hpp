// SPDX-License-Identifier: MIT
// The calling side of a service over a link: what its methods need, and when a call is sent again.
#pragma once

#include <parley/detail/posix.hpp>
#include <parley/drive/caller.hpp>
#include <parley/drive/redial.hpp>
#include <parley/rpc/dispatch.hpp>
#include <parley/rpc/remote.hpp>

#include <algorithm>
#include <cstring>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace parley {
inline namespace v1 {
namespace drive {

/// A service as its client sees it, whatever transport lies between.
class service_link : public rpc::remote {
public:
    [[nodiscard]] virtual std::size_t under_way() const = 0;
    virtual void hold(bool) noexcept = 0;
    virtual result<void> send_held(deadline) = 0;
    virtual result<void> close(deadline) = 0;
    /// Takes what answers are there.
    virtual void look() = 0;
    /// Readable when look() may find something; writable when is_unflushed() and look() may flush.
    [[nodiscard]] virtual result<int> descriptor() = 0;
    [[nodiscard]] virtual bool is_unflushed() const = 0;
    /// Another one after each loss.
    [[nodiscard]] virtual std::uint64_t links() const = 0;
    [[nodiscard]] virtual time_point until(std::uint64_t id) const = 0;
};

template <class Address>
class far_service final : public service_link {
public:
    far_service(Address at, const duplex_request& r, typename Address::link l,
                std::size_t in_flight_max, bool reconnects)
        : caller_(std::move(at), r, std::move(l), in_flight_max, reconnects) {}

    result<std::uint64_t> start(const rpc::called& what, std::size_t n, rpc::filler fill,
                                std::span<const rpc::taken> takes, deadline d) override {
        if (takes.empty()) return start_by(what, n, fill, d, nullptr);
        how_ = outcome::not_sent;
        if (what.how == rpc::manner::once && server_ == 0) {  // which sends what is packed
            if (auto r = greet(d); !r) return r.error();
        }
        if (auto r = put_in(n, fill, takes, d); !r) return r.error();
        for (const auto& t : left_) caller_.keep(t.call);
        const auto whole = [this](mutable_bytes to) {
            if (!to.empty()) std::memcpy(to.data(), arguments_.data(), to.size());
        };
        return start_by(what, arguments_.size(), rpc::filler(whole), d, nullptr, left_);
    }
    result<bytes> finish(std::uint64_t id, deadline d) override {
        auto answer = caller_.finish(id, d, why_);
        how_ = caller_.how();
        if (!caller_.book().is_known(id)) end_once(id);
        return answer;
    }
    result<bytes> call(const rpc::called& what, std::size_t n, rpc::filler fill,
                       deadline d) override {
        const bool again = what.how == rpc::manner::idempotent || what.how == rpc::manner::once;
        rpc::once_header same{};
        error_code lost;
        redial pause;
        const auto begun = what.how == rpc::manner::once ? clock::now() : time_point{};
        for (;;) {
            auto id = start_by(what, n, fill, d, &same);
            if (!id && lost) {
                // Who took the new connection may have been dying too; the next one may know more.
                if (id.error() == condition::gone && !is_forgotten(begun) && rests(pause, d)) {
                    continue;
                }
                std::erase_if(open_, [&](const auto& c) { return c.sequence == same.sequence; });
                how_ = outcome::unknown;
                return lost;
            }
            if (!id) return id.error();
            auto answer = caller_.finish(*id, wait_, why_);
            how_ = caller_.how();
            if (how_ == outcome::not_started && answer.error() == errc::peer_lost) {
                // Another server is there. Nothing was lost if the call was not with the first.
                end_once(*id);
                server_ = 0;
                if (!lost) {
                    same = {};
                    continue;
                }
                how_ = outcome::unknown;
                return why_.fail(lost,
                                 "the server was lost, and the one that is there now cannot "
                                 "know whether the call ran");
            }
            const bool retry = again && how_ == outcome::unknown && !is_forgotten(begun) &&
                               answer.error() == condition::gone;
            if (!retry) {
                end_once(*id);
                return with_words(what, answer);
            }
            lost = answer.error();
        }
    }
    result<void> notify(const rpc::called& what, std::size_t n, rpc::filler fill,
                        deadline d) override {
        auto r = caller_.notify(
            rpc::call_header::bytes + n, d,
            [&](mutable_bytes to) {
                rpc::call_header{what.method, what.signature}.write(to.data());
                fill(to.subspan(rpc::call_header::bytes));
            },
            why_);
        how_ = caller_.how();
        return r;
    }
    void cancel(std::uint64_t id) override {
        caller_.cancel(id);
        end_once(id);
    }
    [[nodiscard]] bool is_known(std::uint64_t id) const override {
        return caller_.book().is_known(id);
    }
    [[nodiscard]] outcome how() const noexcept override { return how_; }
    [[nodiscard]] std::size_t under_way() const override { return caller_.book().under_way(); }
    [[nodiscard]] const diagnostics& why() const noexcept override { return why_; }
    void hold(bool on) noexcept override { caller_.hold(on); }
    result<void> send_held(deadline d) override { return caller_.send_pack(d, why_); }
    result<void> close(deadline d) override { return caller_.close(d.at()); }
    void look() override { caller_.look(why_); }
    [[nodiscard]] bool is_settled(std::uint64_t id) const override {
        return caller_.book().is_settled(id);
    }
    void join(std::uint64_t id, rpc::talker& t) override { caller_.talkers().join(id, t); }
    void leave(std::uint64_t id) noexcept override { caller_.talkers().leave(id); }
    result<void> pump(std::uint64_t id, deadline& d) override { return caller_.pump(id, d, why_); }
    [[nodiscard]] result<int> descriptor() override {
        auto* way = caller_.way();
        if (way == nullptr) return errc::closed;
        return descriptor_of(way->in());
    }
    [[nodiscard]] bool is_unflushed() const override { return caller_.is_unflushed(); }
    [[nodiscard]] std::uint64_t links() const override { return caller_.links(); }
    [[nodiscard]] time_point until(std::uint64_t id) const override {
        return caller_.book().until(id);
    }

private:
    /// Puts the answers that have come into the arguments, and leaves those that are to be put in
    /// over there: of calls that did not leave yet. Waits for the others.
    result<void> put_in(std::size_t n, rpc::filler fill, std::span<const rpc::taken> takes,
                        deadline& d) {
        gaps_.resize(n);
        fill(gaps_);
        for (bool packed = true;; packed = false) {
            for (bool again = true; std::exchange(again, false);) {
                for (const auto& t : takes) {
                    if (is_settled(t.call) || (packed && goes_along(t.call))) continue;
                    if (auto r = caller_.await_answer(t.call, d, why_); !r) return r;
                    again = true;  // what was packed has left
                }
            }
            arguments_.clear();
            left_.clear();
            std::size_t from = 0;
            const auto put = [this](bytes b) {
                arguments_.insert(arguments_.end(), b.begin(), b.end());
            };
            for (const auto& t : takes) {
                put(bytes(gaps_).subspan(from, t.at - from));
                from = t.at;
                if (!is_settled(t.call)) {
                    left_.push_back({t.call, static_cast<std::uint32_t>(arguments_.size())});
                    continue;
                }
                const auto answer = caller_.book().peek(t.call);
                if (!answer) {
                    return why_.fail(answer.error(),
                                     "an argument is the answer to a call that "
                                     "ended in this error");
                }
                put(*answer);
            }
            put(bytes(gaps_).subspan(from));
            const std::size_t heads = rpc::call_header::bytes + rpc::once_header::bytes;
            if (left_.empty() ||
                caller_.fits_pack(rpc::taken::bytes_of(left_.size()) + heads + arguments_.size())) {
                return {};
            }
        }
    }
    /// Whether the answer to a call can be put in over there. One that talks is answered later.
    [[nodiscard]] bool goes_along(std::uint64_t call) noexcept {
        return caller_.is_packed(call) && !caller_.talkers().contains(call);
    }
    /// `same`: the numbers of a call that is to run once, 0 before it is sent.
    result<std::uint64_t> start_by(const rpc::called& what, std::size_t n, rpc::filler fill,
                                   deadline& d, rpc::once_header* same,
                                   std::span<const rpc::taken> takes = {}) {
        rpc::once_header own{};
        rpc::once_header& o = same != nullptr ? *same : own;
        const std::size_t taken = rpc::taken::bytes_of(takes.size());
        std::size_t head = rpc::call_header::bytes;
        if (what.how == rpc::manner::once) {
            head += rpc::once_header::bytes;
            if (o.sequence == 0) {
                if (server_ == 0) {
                    if (auto r = greet(d); !r) return r.error();
                }
                o = {server_, self_, next_++, 0};
            }
            o.first_open = std::min(first_open(), o.sequence);
        }
        auto id = caller_.start(
            taken + head + n, d,
            [&](mutable_bytes to) {
                rpc::write_taken(takes, head, to.data());
                to = to.subspan(taken);
                rpc::call_header{what.method, what.signature}.write(to.data());
                if (what.how == rpc::manner::once) {
                    o.write(to.data() + rpc::call_header::bytes);
                }
                fill(to.subspan(head));
            },
            why_, !takes.empty());
        how_ = caller_.how();
        if (id && what.how == rpc::manner::once) begin_once(*id, o.sequence);
        return id;
    }
    /// Asks the server who it is. A server that comes after it has another number.
    result<void> greet(deadline& d) {
        const auto id = caller_.start(
            rpc::call_header::bytes, d,
            [](mutable_bytes to) {
                rpc::call_header{rpc::call_header::greeting, 0}.write(to.data());
            },
            why_);
        if (!id) return id.error();
        deadline until = never;
        const auto answer = caller_.finish(*id, until, why_);
        how_ = outcome::not_sent;
        if (!answer) return answer.error();
        if (answer->size() != 8) return errc::corrupt;
        server_ = load_le<std::uint64_t>(answer->data());
        return {};
    }
    struct open_call {
        std::uint64_t id, sequence;
    };
    void begin_once(std::uint64_t id, std::uint64_t sequence) {
        for (auto& c : open_) {
            if (c.sequence == sequence) {
                c.id = id;
                return;
            }
        }
        open_.push_back({id, sequence});
    }
    void end_once(std::uint64_t id) {
        if (!open_.empty()) std::erase_if(open_, [id](const auto& c) { return c.id == id; });
    }
    [[nodiscard]] std::uint64_t first_open() const noexcept {
        std::uint64_t first = next_;
        for (const auto& c : open_) first = std::min(first, c.sequence);
        return first;
    }
    /// Waits until the next connection may be tried; false if there is no time for it.
    [[nodiscard]] static bool rests(redial& pause, deadline& d) {
        if (d.is_try()) return false;
        pause.later();
        (void)detail::poll_until(nullptr, 0, earlier(d.at(), pause.next()));
        return !d.has_passed();
    }
    /// Whether the server may have forgotten the call by now.
    [[nodiscard]] static bool is_forgotten(time_point begun) noexcept {
        return begun != time_point{} && clock::now() - begun > rpc::answers::lease / 2;
    }
    result<bytes> with_words(const rpc::called& what, result<bytes> answer) {
        if (!answer && answer.error() == errc::incompatible) {
            return why_.fail(errc::incompatible,
                             why_.text() + "; its caller has it as " + std::string(what.words));
        }
        if (!answer && how_ == outcome::not_started && answer.error() == errc::unsupported) {
            return why_.fail(errc::unsupported, std::string(what.name) + ": " + why_.text());
        }
        return answer;
    }

    caller<Address> caller_;
    diagnostics why_;
    deadline wait_ = never;
    outcome how_ = outcome::done;
    std::uint64_t self_ = detail::fresh_id(), server_ = 0, next_ = 1;
    std::vector<open_call> open_;              // of those that run once
    std::vector<std::byte> gaps_, arguments_;  // of a call that takes answers
    std::vector<rpc::taken> left_;
};

}  // namespace drive
}  // namespace v1
}  // namespace parley
