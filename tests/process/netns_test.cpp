// SPDX-License-Identifier: MIT
// Two hosts, as two network namespaces that a veth pair joins. Both belong to processes of the
// test, so they and all that is in them go with those.
#include <parley/channel.hpp>
#include <parley/transport/all.hpp>
#include <parley/transport/udp.hpp>
#include <parley/transport/udp_multicast.hpp>

#include "support/catch.hpp"
#include "support/process.hpp"
#include "support/watchdog.hpp"

#include <sched.h>
#include <sys/prctl.h>

#include <cstdlib>
#include <iostream>
#include <string>

using namespace parley_test;
using namespace std::chrono_literals;
using parley::errc;
using parley::uri;

namespace {

constexpr int no_namespaces = 77;
constexpr std::uint64_t count = 200;

bool run(const std::string& command) {
    return std::system((command + " >/dev/null 2>&1").c_str()) == 0;
}

/// Enters a network namespace of its own, which nothing leads into. Addresses in it need not be
/// asked for first: nobody else has them.
bool enter_namespace() {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    return ::unshare(CLONE_NEWNET) == 0 && run("ip link set lo up") &&
           run("echo 0 >/proc/sys/net/ipv6/conf/default/dad_transmits");
}
bool set_up(const std::string& device, const std::string& number) {
    return run("ip address add 10.77.0." + number + "/24 dev " + device) &&
           run("ip -6 address add fd77::" + number + "/64 dev " + device + " nodad") &&
           run("ip link set " + device + " up");
}
/// The kernel makes the route to groups of IPv6 a while after both sides of the pair are up.
void wait_for_groups(const std::string& device) {
    while (!run("ip -6 route get ff15::77 oif " + device)) {
    }
}
/// Skips with a printed reason where a child said that it had no namespaces.
bool ran(int status) {
    if (status == no_namespaces) {
        std::cout << "skipped: network namespaces want root, the `ip` command and veth\n";
        return false;
    }
    CHECK(status == 0);
    return true;
}

struct way {
    std::string receiver, sender;
};
/// The same place as both hosts name it. Ports are free in a fresh namespace.
std::vector<way> ways() {
    const std::string once = "?delivery=at_most_once";
    std::vector<way> all;
    for (const char* place : {"10.77.0.1:7001", "[fd77::1]:7001"}) {
        all.push_back({std::string("tcp://") + place, std::string("tcp://") + place});
        all.push_back({std::string("udp://") + place + once, std::string("udp://") + place + once});
    }
    for (const char* group : {"239.77.0.1:7400", "[ff15::77]:7400", "[ff02::77]:7400"}) {
        const std::string at = std::string("udp_multicast://") + group + once;
        all.push_back({at + "&interface=here", at + "&interface=there&loopback=off"});
    }
    return all;
}

/// The receiving host: 0 if everything came, or was counted.
int receive_all(gate& ready) {
    int wrong = 0;
    for (const auto& w : ways()) {
        parley::diagnostics why;
        auto in = parley::open_receiver<std::uint64_t>(uri(w.receiver), 0s, &why);
        if (!in) {
            std::cout << w.receiver << ": " << in.error().message() << ": " << why.text() << '\n';
            return 1;
        }
        ready.open();
        std::uint64_t got = 0, next = 0;
        while (const auto v = in->receive(20s)) {
            wrong += *v < next ? 1 : 0;
            next = *v + 1;
            ++got;
        }
        const bool whole = got + in->lost() == count && got > 0;
        if (!whole) std::cout << w.receiver << ": " << got << " came, " << in->lost() << " lost\n";
        wrong += whole ? 0 : 1;
    }
    return wrong == 0 ? 0 : 2;
}
/// The sending host. A member of a group beside a sender without loopback hears nothing.
int send_all(gate& ready) {
    for (const auto& w : ways()) {
        ready.pass();
        parley::diagnostics why;
        const bool in_group = w.sender.find("multicast") != std::string::npos;
        parley::result<
            parley::receiver<std::uint64_t, parley::any_transport<parley::all_transports>>>
            beside = errc::closed;
        if (in_group) beside = parley::open_receiver<std::uint64_t>(uri(w.sender), 0s, &why);
        auto out = parley::open_sender<std::uint64_t>(uri(w.sender), 20s, &why);
        if (!out || (in_group && !beside)) {
            std::cout << w.sender << ": " << why.text() << '\n';
            return 3;
        }
        for (std::uint64_t i = 0; i < count; ++i) {
            if (!out->send(i)) return 4;
        }
        if (!out->close()) return 5;
        if (in_group && beside->try_receive().error() != errc::would_block) return 6;
    }
    return 0;
}

}  // namespace

TEST_CASE("network namespaces: joined by a veth, they talk over tcp, udp and multicast") {
    const watchdog dog("two network namespaces", 100s);
    gate entered, joined, ready;
    child host([&] {
        if (!enter_namespace()) return no_namespaces;
        child other([&] {
            if (!enter_namespace()) return no_namespaces;
            entered.open();
            joined.pass();
            if (!set_up("there", "2")) return no_namespaces;
            wait_for_groups("there");
            return send_all(ready);
        });
        entered.pass();
        const bool made =
            run("ip link add here type veth peer name there netns " + std::to_string(other.pid()));
        if (!made || !set_up("here", "1")) return no_namespaces;
        joined.open();
        const int received = receive_all(ready);
        const int sent = other.wait();
        return received != 0 ? received : sent;
    });
    (void)ran(host.wait());
}

TEST_CASE("network namespaces: where no way leads, the error says what is missing") {
    const watchdog dog("no way");
    child lonely([&] {
        if (!enter_namespace()) return no_namespaces;
        parley::diagnostics why;
        using parley::at_most_once;
        const parley::udp away("10.77.0.1:7001", at_most_once{});
        const auto out = parley::open_sender<int>(away, 0s, &why);
        if (out || why.text().find("ip route") == std::string::npos) return 1;
        const parley::udp_multicast group("239.77.0.1:7400", at_most_once{});
        const auto in = parley::open_receiver<int>(group, 0s, &why);
        if (in || in.error() != errc::not_found) return 2;
        if (why.text().find("name the interface") == std::string::npos) return 3;
        const auto to_group = parley::open_sender<int>(group, 0s, &why);
        if (to_group || to_group.error() != errc::not_found) return 4;
        if (why.text().find("name the interface") == std::string::npos) return 5;
        // A way that goes while a sender is open costs messages, not the sender.
        if (!run("ip address add 10.77.0.2/24 dev lo")) return no_namespaces;
        auto going = parley::open_sender<int>(parley::udp("10.77.0.2:7001", at_most_once{}));
        if (!going || !going->send(1)) return 6;
        if (!run("ip link set lo down")) return no_namespaces;
        const auto refused = going->send(2);
        if (!run("ip link set lo up")) return no_namespaces;
        if (!refused && going->why().empty()) return 7;
        return going->send(3) ? 0 : 8;
    });
    (void)ran(lonely.wait());
}
