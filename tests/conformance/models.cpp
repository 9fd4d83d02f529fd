// SPDX-License-Identifier: MIT
// Every model of the transport concept, one line each.
#include "conformance/transport.hpp"

#include <parley/testing/archetypes.hpp>
#include <parley/testing/faulty.hpp>
#include <parley/transport/fifo.hpp>
#include <parley/transport/file.hpp>
#include <parley/transport/inproc.hpp>
#include <parley/transport/maildir.hpp>
#include <parley/transport/mmap.hpp>
#include <parley/transport/mq.hpp>
#include <parley/transport/pipe.hpp>
#include <parley/transport/shm.hpp>
#include <parley/transport/sysv.hpp>
#include <parley/transport/tcp.hpp>
#include <parley/transport/uds.hpp>

#include "support/ports.hpp"

namespace conformance {
namespace {

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

/// Those that keep messages in files.
void add_stored(std::vector<model>& all) {
    for (auto& m : std::vector<model>{
             by_name("file",
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
                         return parley::mmap(d / "ring", {.capacity_bytes = 1 << 14,
                                                          .wait = parley::waiting::park});
                     }),
             by_name("maildir", [](const std::string&, directory& d) {
                 return parley::maildir(d / "mail", {.messages = 40});
             })}) {
        all.push_back(std::move(m));
    }
}

/// What tests leave out or make short.
void mark(std::vector<model>& all) {
    for (auto& m : all) {
        // What is opened by descriptor belongs to this process from the start.
        m.across = m.name != "archetype" && m.name != "inproc" && m.name != "pipe, by descriptor";
        m.steady = m.name != "file, rotating";  // each file that it makes has a name
        for (const char* part :
             {"rotating", "faulty", "by uri", "by descriptor", "directory", "abstract", "IPv6"}) {
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
        by_name("tcp", tcp_port<AF_INET>),
        by_name("tcp, by uri",
                [](const std::string&, directory&) {
                    auto port = std::make_shared<parley_test::reserved_port>();
                    using any = parley::any_transport<parley::transport_list<parley::tcp>>;
                    return at_port<any>{port, any(uri("tcp://" + port->text()))};
                }),
        by_name("mq", [](const std::string& n, directory&) { return parley::mq(n); }),
        by_name("sysv", [](const std::string& n, directory&) { return parley::sysv(n); }),
        by_name("archetype", [](const std::string& n, directory&) { return archetype{n}; }),
        by_name(
            "faulty shm, without a fault",
            [](const std::string& n, directory&) { return faulty<shm>{shm(n, small_segment())}; }),
        by_pair("faulty pipe, without a fault", faulty<parley::pipe>{parley::pipe(piped)}),
    };
    add_stored(all);
    if (parley_test::has_ipv6()) all.push_back(by_name("tcp, over IPv6", tcp_port<AF_INET6>));
    mark(all);
    return all;
}

}  // namespace

const std::vector<model>& models() {
    static const std::vector<model> all = all_models();
    return all;
}

}  // namespace conformance
