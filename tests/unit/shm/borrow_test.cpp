// SPDX-License-Identifier: MIT
#include <parley/channel.hpp>
#include <parley/transport/shm.hpp>

#include "support/catch.hpp"
#include "support/process.hpp"
#include "support/unique.hpp"

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace {

auto small_channel() {
    return parley::make_channel<std::string_view>(parley::shm{{.capacity_bytes = 4096}}).value();
}

}  // namespace

TEST_CASE("shm: a reader that always holds one message does not starve its writer", "[shm]") {
    auto [tx, rx] = small_channel();
    const std::string text(1000, 'x');
    CHECK(tx.try_send(text));
    auto held = rx.try_borrow();
    for (int i = 0; i < 100; ++i) {
        REQUIRE(tx.try_send(text));
        held = rx.try_borrow();  // the next one is borrowed before the last one is let go
        REQUIRE(held);
        REQUIRE(**held == text);
    }
}

TEST_CASE("shm: messages let go out of order stay until the oldest is let go", "[shm]") {
    auto [tx, rx] = small_channel();
    const std::string text(1000, 'x');
    using borrowed = decltype(rx)::borrowed_type;
    std::vector<std::optional<borrowed>> held;
    while (tx.try_send(text)) held.emplace_back(rx.try_borrow().value());
    REQUIRE(held.size() >= 3);
    held.back().reset();
    held[1].reset();
    CHECK(tx.try_send(text).error() == parley::errc::would_block);
    held[0].reset();
    CHECK(tx.try_send(text));
    held.clear();
    CHECK(rx.try_borrow());
}

TEST_CASE("shm: a forked child that drops its copy of a borrow gives nothing back", "[shm]") {
    const parley_test::unique_name name("borrow-fork");
    const parley::shm at(name.text(), {.capacity_bytes = 4096});
    auto rx = parley::open_receiver<std::string_view>(at).value();
    auto tx = parley::open_sender<std::string_view>(at).value();
    const std::string text(1000, 'x');
    REQUIRE(tx.try_send(text));
    std::optional held = rx.try_borrow().value();
    while (tx.try_send(text)) {
    }
    parley_test::child c([&] {
        held.reset();
        return 0;
    });
    REQUIRE(c.wait() == 0);
    CHECK(tx.try_send(text).error() == parley::errc::would_block);
    CHECK(**held == text);
    held.reset();
    CHECK(tx.try_send(text));
}
