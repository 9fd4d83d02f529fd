// SPDX-License-Identifier: MIT
// Every model of the transport concept, one line each.
#include "conformance/meeting.hpp"
#include "conformance/transport.hpp"

#include <parley/delivered.hpp>
#include <parley/testing/archetypes.hpp>
#include <parley/testing/faulty.hpp>
#include <parley/transport/boost_mq.hpp>
#include <parley/transport/fifo.hpp>
#include <parley/transport/file.hpp>
#include <parley/transport/inproc.hpp>
#include <parley/transport/maildir.hpp>
#include <parley/transport/mmap.hpp>
#include <parley/transport/mq.hpp>
#include <parley/transport/pipe.hpp>
#include <parley/transport/shm.hpp>
#include <parley/transport/signals.hpp>
#include <parley/transport/sysv.hpp>
#include <parley/transport/tcp.hpp>
#include <parley/transport/tls.hpp>
#include <parley/transport/udp.hpp>
#include <parley/transport/udp_multicast.hpp>
#include <parley/transport/uds.hpp>

#include "support/certificates.hpp"
#include "support/ports.hpp"

namespace conformance {
namespace {

// Before main: every thread of the tests is to block the numbers that ends may claim.
const bool reserved = (parley::reserve_signals(), true);

using parley::uri;
using parley::testing::archetype;
using parley::testing::faulty;
using directory = parley_test::temporary_directory;

/// A pipe whose ends are opened by descriptor, as after exec: so each end may have its own type.
class descriptors_place final : public place {
public:
    result<ends> open(parley::message_type out, parley::message_type in,
                      parley::diagnostics& why) override {
        int fds[2];
        REQUIRE(::pipe(fds) == 0);
        const parley::pipe::options o{.message_bytes_max = 110'000};
        auto source = parley::pipe(fds[0], o).open_source({in, parley::expired, &why});
        auto sink = parley::pipe(fds[1], o).open_sink({out, parley::expired, &why});
        REQUIRE((source && sink));
        return ends{any_sink(std::move(*sink)), any_source(std::move(*source))};
    }
};

parley::shm::options small_segment() { return {.capacity_bytes = 1 << 17, .writers_max = 5}; }

template <parley::uds::kind Kind>
parley::uds socket_file(const std::string&, directory& d) {
    return parley::uds(d / "s", {.type = Kind, .message_bytes_max = 70'000});
}
template <parley::uds::kind Kind>
parley::uds abstract_socket(const std::string& n, directory&) {
    return parley::uds("@" + n, {.type = Kind, .message_bytes_max = 70'000});
}
parley::uds uds_pair(parley::uds::kind k) {
    return parley::uds(parley::uds::options{.type = k, .message_bytes_max = 70'000});
}

/// An address at a port of its own, which is kept as long as the address.
template <class Address>
struct at_port {
    std::shared_ptr<const parley_test::reserved_port> port;
    Address at;

    auto open_sink(const parley::open_request& r) const { return at.open_sink(r); }
    auto open_source(const parley::open_request& r) const { return at.open_source(r); }
};
template <int Family>
at_port<parley::tcp> tcp_port(const std::string&, directory&) {
    auto port = std::make_shared<parley_test::reserved_port>(Family);
    // Small buffers, as those of the others: a channel is full soon, and stays so.
    return {port, parley::tcp(port->text(), {.message_bytes_max = 110'000,
                                             .send_buffer_bytes = 65536,
                                             .receive_buffer_bytes = 65536})};
}

at_port<parley::tls> tls_port(const std::string&, directory&) {
    auto port = std::make_shared<parley_test::reserved_port>();
    const auto& c = parley_test::certificates::usual();
    return {port, parley::tls(port->text(), {.ca = c / "ca.pem",
                                             .cert = c / "desk.pem",
                                             .key = c / "desk.key",
                                             .tcp = {.message_bytes_max = 110'000,
                                                     .send_buffer_bytes = 65536,
                                                     .receive_buffer_bytes = 65536}})};
}

std::vector<model> signal_models() {
    const auto whole = [](const std::string& n, directory&) {
        return parley::signals(n, {.message_bytes_max = 8192});
    };
    // As on a kernel that carries no more than POSIX promises.
    const auto narrow = [](const std::string& n, directory&) {
        return parley::signals(n, {.message_bytes_max = 1000, .window = 1024, .payload_bytes = 8});
    };
    const auto doorbell = [](const std::string& n, directory&) {
        return parley::shm(n, {.capacity_bytes = 1 << 14,
                               .writers_max = 5,
                               .wait = parley::waiting::park,
                               .bell = parley::bell_kind::signal});
    };
    std::vector<model> all{by_name("shm, rung by signals", doorbell), by_name("signals", whole),
                           by_name("signals, 8 bytes each", narrow)};
    for (auto& m : all) {
        m.pid_namespaces = false;
        m.quick = !m.name.starts_with("signals");
    }
    all.back().variation = true;
    return all;
}

/// Datagrams at a port of their own.
template <int Family>
at_port<parley::udp> udp_port(const std::string&, directory&) {
    auto port = std::make_shared<parley_test::reserved_port>(Family, SOCK_DGRAM);
    return {port, parley::udp(port->text(), parley::at_most_once{})};
}
/// A group of this process at a port of its own.
at_port<parley::udp_multicast> multicast_port(const std::string&, directory&) {
    auto port = std::make_shared<parley_test::reserved_port>(AF_INET, SOCK_DGRAM);
    const auto pid = static_cast<unsigned>(::getpid());
    const std::string group = "239." + std::to_string(pid >> 16 & 255) + '.' +
                              std::to_string(pid >> 8 & 255) + '.' + std::to_string(pid & 255);
    return {port, parley::udp_multicast(group + ':' + std::to_string(port->number()),
                                        parley::at_most_once{}, {.interface = "lo"})};
}

std::vector<model> network_models() {
    using any = parley::any_transport<parley::transport_list<parley::tcp, parley::udp>>;
    std::vector<model> all{
        by_name("tcp", tcp_port<AF_INET>),
        by_name("tcp, by uri",
                [](const std::string&, directory&) {
                    auto port = std::make_shared<parley_test::reserved_port>();
                    return at_port<any>{port, any(uri("tcp://" + port->text()))};
                }),
        by_meeting("tls", tls_port),
        by_name("udp", udp_port<AF_INET>),
        by_name("udp, by uri",
                [](const std::string&, directory&) {
                    auto port = std::make_shared<parley_test::reserved_port>(AF_INET, SOCK_DGRAM);
                    const std::string at = "udp://" + port->text() + "?delivery=at_most_once";
                    return at_port<any>{port, any(uri(at))};
                }),
        by_name("udp_multicast", multicast_port),
    };
    if (parley_test::has_ipv6()) {
        all.push_back(by_name("tcp, over IPv6", tcp_port<AF_INET6>));
        all.push_back(by_name("udp, over IPv6", udp_port<AF_INET6>));
    }
    return all;
}

/// Those that keep messages in files.
std::vector<model> stored_models() {
    return {by_name("file",
                    [](const std::string&, directory& d) {
                        return parley::file(d / "log", {.capacity_bytes = 1 << 17});
                    }),
            by_name("file, rotating",
                    [](const std::string&, directory& d) {
                        return parley::file(
                            d / "log",
                            {.capacity_bytes = 1 << 17, .rotate_bytes = 1 << 16, .keep = 0});
                    }),
            by_name("mmap",
                    [](const std::string&, directory& d) {
                        return parley::mmap(d / "ring", {.capacity_bytes = 1 << 17});
                    }),
            by_name("mmap, parking",
                    [](const std::string&, directory& d) {
                        return parley::mmap(
                            d / "ring", {.capacity_bytes = 1 << 14, .wait = parley::waiting::park});
                    }),
            by_name("maildir", [](const std::string&, directory& d) {
                return parley::maildir(d / "mail", {.messages = 40});
            })};
}

/// Stacks of delivery policies: what stands on a transport has to be one.
std::vector<model> delivered_models() {
    const auto over = [](auto at, const auto& policies) {
        const auto how = parley::delivery::as_stack(policies);
        return parley::delivered<decltype(at), std::remove_cvref_t<decltype(how)>>{at, how};
    };
    return {by_name("delivered over uds",
                    [over](const std::string& n, directory& d) {
                        return over(socket_file<parley::uds::stream>(n, d),
                                    parley::batched{.messages = 4} |
                                        parley::when_full::block{.messages = 8});
                    }),
            by_name("delivered over shm", [over](const std::string& n, directory&) {
                return over(parley::shm(n, small_segment()),
                            parley::fragmented{.message_bytes_max = 100'000} |
                                parley::when_full::block{.messages = 4});
            })};
}

/// What tests leave out or make short.
void mark(std::vector<model>& all) {
    for (auto& m : all) {
        // What is opened by descriptor belongs to this process from the start.
        m.across = m.name != "archetype" && m.name != "inproc" && m.name != "pipe, by descriptor";
        m.steady = m.name != "file, rotating";  // each file that it makes has a name
        m.quick = m.name != "boost_mq";
        for (const char* part : {"rotating", "faulty", "by uri", "by descriptor", "directory",
                                 "abstract", "IPv6", "delivered"}) {
            m.variation |= m.name.find(part) != std::string::npos;
        }
    }
}

std::vector<model> all_models() {
    const parley::pipe::options piped{.message_bytes_max = 110'000};
    using parley::shm;
    const auto parking = [](const std::string& n, directory&) {
        return shm(n, {.capacity_bytes = 1 << 14, .writers_max = 5, .wait = parley::waiting::park});
    };
    using by_uri = parley::any_transport<parley::transport_list<shm, parley::uds>>;
    std::vector<model> all{
        by_pair("pipe", parley::pipe(piped)),
        {"pipe, by descriptor", [] { return std::make_unique<descriptors_place>(); }, false},
        by_name("shm, named",
                [](const std::string& n, directory&) { return shm(n, small_segment()); }),
        by_name("shm, named, parking", parking),
        by_name("shm, in a directory",
                [](const std::string& n, directory& d) {
                    auto o = small_segment();
                    o.directory = d.path().string();
                    return shm(n, o);
                }),
        by_pair("shm, anonymous", shm(small_segment())),
        by_name("inproc",
                [](const std::string& n, directory&) {
                    return parley::inproc(n, {.capacity_bytes = 1 << 17});
                }),
        by_name("shm, by uri",
                [](const std::string& n, directory&) {
                    return by_uri(uri("shm://" + n + "?capacity_bytes=131072&writers_max=3"));
                }),
        by_name("uds, stream", socket_file<parley::uds::stream>),
        by_name("uds, seqpacket", socket_file<parley::uds::seqpacket>),
        by_name("uds, datagram", socket_file<parley::uds::datagram>),
        by_name("uds, abstract stream", abstract_socket<parley::uds::stream>),
        by_name("uds, abstract datagram", abstract_socket<parley::uds::datagram>),
        by_pair("uds, pair of streams", uds_pair(parley::uds::stream)),
        by_pair("uds, pair of packets", uds_pair(parley::uds::seqpacket)),
        by_pair("uds, pair of datagrams", uds_pair(parley::uds::datagram)),
        by_name("uds, by uri",
                [](const std::string&, directory& d) {
                    return by_uri(uri("unix://" + d / "s" + "?message_bytes_max=70000"));
                }),
        by_name("fifo",
                [](const std::string&, directory& d) {
                    return parley::fifo(d / "f", {.message_bytes_max = 110'000});
                }),
        by_name("mq", [](const std::string& n, directory&) { return parley::mq(n); }),
        by_name("sysv", [](const std::string& n, directory&) { return parley::sysv(n); }),
        by_name("boost_mq", [](const std::string& n, directory&) { return parley::boost_mq(n); }),
        by_name("archetype", [](const std::string& n, directory&) { return archetype{n}; }),
        by_name(
            "faulty shm, without a fault",
            [](const std::string& n, directory&) { return faulty<shm>{shm(n, small_segment())}; }),
        by_pair("faulty pipe, without a fault", faulty<parley::pipe>{parley::pipe(piped)}),
    };
    for (auto& m : network_models()) all.push_back(std::move(m));
    for (auto& m : stored_models()) all.push_back(std::move(m));
    for (auto& m : delivered_models()) all.push_back(std::move(m));
    mark(all);
    return all;
}

}  // namespace

const std::vector<model>& models() {
    static const std::vector<model> all = [] {
        auto both = all_models();
        for (auto& m : signal_models()) both.push_back(std::move(m));
        return both;
    }();
    return all;
}

}  // namespace conformance
