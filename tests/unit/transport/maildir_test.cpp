// SPDX-License-Identifier: MIT
// Mail directories: claims, several receivers, scripts.
#include <parley/transport/maildir.hpp>

#include "support/catch.hpp"
#include "support/process.hpp"
#include "support/unique.hpp"
#include "support/watchdog.hpp"

#include <parley/channel.hpp>

#include <cstdlib>
#include <fstream>
#include <set>
#include <sstream>
#include <string>

using namespace parley_test;
using parley::diagnostics;
using parley::errc;
using parley::expired;
using parley::maildir;
using parley::open_receiver;
using parley::open_sender;
using parley::uri;

static_assert(parley::transport<maildir>);

namespace {

std::size_t files_in(const std::string& directory) {
    std::size_t n = 0;
    for (const auto& entry : std::filesystem::directory_iterator(directory)) {
        n += entry.is_regular_file();
    }
    return n;
}

}  // namespace

TEST_CASE("maildir: an address prints back to the uri that it comes from") {
    diagnostics why;
    for (const char* text : {"maildir:///var/spool/x",
                             "maildir://x?messages=7&message_bytes_max=100&shared=yes"
                             "&keep=yes&frame=none&await=synced&mode=640"}) {
        const auto at = maildir::from(uri(text), why);
        REQUIRE(at);
        CHECK(at->to_uri().text() == text);
    }
    for (const char* text : {"maildir://", "maildir://x?keep=maybe", "maildir://x?mode=9"}) {
        CHECK(maildir::from(uri(text), why).error() == errc::invalid_argument);
        CHECK_THAT(why.text(), contains("position"));
    }
}

TEST_CASE("maildir: several receivers share the work, and none gets what another one has") {
    const watchdog dog("shared maildir");
    const temporary_directory dir;
    const maildir at(dir / "mail", {.shared = true});
    constexpr int count = 600;
    int results[2];
    REQUIRE(::pipe(results) == 0);
    std::vector<child> workers;
    for (int w = 0; w < 3; ++w) {
        workers.emplace_back([&] {
            auto in = open_receiver<int>(at).value();
            for (;;) {
                const int got = in.receive().value();
                if (got < 0) return 0;
                if (::write(results[1], &got, sizeof got) != sizeof got) return 1;
            }
        });
    }
    auto out = open_sender<int>(at).value();
    for (int i = 0; i < count; ++i) out.send(i).value();
    for (int w = 0; w < 3; ++w) out.send(-1).value();
    std::set<int> all;
    for (int i = 0; i < count; ++i) {
        int got = 0;
        REQUIRE(::read(results[0], &got, sizeof got) == sizeof got);
        CHECK(all.insert(got).second);
    }
    CHECK(all.size() == count);
    for (auto& w : workers) CHECK(w.wait() == 0);
    diagnostics why;
    CHECK(open_receiver<int>(at));
    auto mine = open_receiver<int>(maildir(at.path)).value();
    CHECK(open_receiver<int>(at, expired, &why).error() == errc::in_use);
    CHECK_THAT(why.text(), contains("?shared=yes"));
    ::close(results[0]);
    ::close(results[1]);
}

TEST_CASE("maildir: shell scripts send and receive, a message a file") {
    const watchdog dog("scripts");
    const temporary_directory dir;
    const maildir at(dir / "mail", {.frame = parley::detail::framing::none});
    auto in = open_receiver<std::string>(at).value();
    const std::string mail = at.path;
    const std::string script =
        "printf 'hello from sh' >" + mail + "/tmp/x && mv " + mail + "/tmp/x " + mail + "/new/7";
    REQUIRE(std::system(script.c_str()) == 0);
    CHECK(in.receive().value() == "hello from sh");
    auto out = open_sender<std::string>(at).value();
    out.send("hello to sh").value();
    const std::string reply = "cat " + mail + "/new/* >" + (dir / "got");
    REQUIRE(std::system(reply.c_str()) == 0);
    std::ostringstream got;
    got << std::ifstream(dir / "got").rdbuf();
    CHECK(got.str() == "hello to sh");
}

TEST_CASE("maildir: received messages go, or stay marked as seen") {
    const temporary_directory dir;
    for (const bool keep : {false, true}) {
        const maildir at(dir / (keep ? "kept" : "gone"), {.keep = keep});
        auto out = open_sender<int>(at).value();
        for (int i = 0; i < 5; ++i) out.send(i).value();
        CHECK(files_in(at.path + "/new") == 5);
        auto in = open_receiver<int>(at).value();
        for (int i = 0; i < 5; ++i) CHECK(in.try_receive().value() == i);
        CHECK(files_in(at.path + "/new") == 0);
        CHECK(files_in(at.path + "/cur") == (keep ? 5 : 0));
        out.close().value();
        in.close().value();
        diagnostics why;
        REQUIRE(at.remove(why));
    }
    CHECK(dir.entries() == 0);
}

TEST_CASE("maildir: what a dead receiver had claimed waits again for the next one") {
    const temporary_directory dir;
    const maildir at(dir / "mail", {.shared = true});
    open_sender<int>(at).value().send(5).value();
    auto alive = open_receiver<int>(at).value();
    std::string name;
    for (const auto& entry : std::filesystem::directory_iterator(at.path + "/new")) {
        if (name.empty() || entry.path().filename().string() < name) {
            name = entry.path().filename().string();
        }
    }
    // As a receiver leaves it that is killed between claim and receipt.
    std::filesystem::rename(at.path + "/new/" + name, at.path + "/cur/" + name + ":parley.77");
    CHECK(alive.try_receive().error() == errc::would_block);
    auto next = open_receiver<int>(at).value();
    CHECK(next.try_receive().value() == 5);
}

TEST_CASE("maildir: messages of other types, strangers' files and too long ones are told") {
    const temporary_directory dir;
    const maildir at(dir / "mail", {.message_bytes_max = 4096});
    auto in = open_receiver<int>(at).value();
    std::ofstream(at.path + "/new/1") << "dear diary";
    CHECK(in.try_receive().error() == errc::corrupt);
    CHECK_THAT(in.why().text(), contains("?frame=none"));
    open_sender<float>(at).value().send(5).value();
    CHECK(in.try_receive().error() == errc::incompatible);
    CHECK_THAT(in.why().text(), contains(std::string(parley::codec<int>::type.description)) &&
                                    contains(std::string(parley::codec<float>::type.description)));
    diagnostics why;
    CHECK(open_sender<int>(maildir(dir / "a/b"), expired, &why).error() == errc::not_found);
    CHECK_THAT(why.text(), contains("a/b"));
    std::ofstream(dir / "file") << "x";
    CHECK(!open_sender<int>(maildir(dir / "file"), expired, &why));
    CHECK(!why.empty());
    std::ofstream(at.path + "/new/2") << std::string(5000, 'x');
    in.close().value();
    auto next = open_receiver<int>(at).value();
    CHECK(next.try_receive().error() == errc::corrupt);
    CHECK_THAT(next.why().text(), contains("?message_bytes_max="));
    CHECK(next.try_receive().error() == errc::closed);
    CHECK(next.try_receive().error() == errc::would_block);
}
