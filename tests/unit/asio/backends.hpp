// SPDX-License-Identifier: MIT
// The same channel over every backend, and what the tests of asynchronous ends share.
#pragma once

#include <parley/asio.hpp>
#include <parley/transport/all.hpp>
#include <parley/transport/uds.hpp>

#include "support/catch.hpp"
#include "support/unique.hpp"
#include "support/watchdog.hpp"

#include <boost/asio/io_context.hpp>

#include <cstdint>
#include <string>
#include <utility>

namespace parley_test {

namespace asio = boost::asio;

/// A channel whose two ends are open, and what has to live as long.
template <class T, class Address>
struct opened {
    parley::sender<T, Address> tx;
    parley::receiver<T, Address> rx;
};

template <class T, class Address>
opened<T, Address> opened_at(const Address& at) {
    auto rx = parley::open_receiver<T>(at).value();
    auto tx = parley::open_sender<T>(at).value();
    return {std::move(tx), std::move(rx)};
}
template <class T, class Address>
opened<T, Address> opened_pair(const Address& at) {
    auto c = parley::make_channel<T>(at).value();
    return {std::move(c.tx), std::move(c.rx)};
}

/// Each makes channels; Catch names the test after the type. Those that differ only in what a
/// run-time value says are one type: a test of coroutines is long to compile.
struct over_pipe {
    template <class T>
    auto open() {
        return opened_pair<T>(parley::pipe({.capacity_bytes = 4096}));
    }
};
struct over_shm {
    unique_name name{"asio"};
    bool pair;
    over_shm() : pair(GENERATE(false, true)) {}
    explicit over_shm(bool as_pair) : pair(as_pair) {}
    template <class T>
    auto open() {
        const parley::shm::options options{.capacity_bytes = 4096};
        if (pair) return opened_pair<T>(parley::shm(options));
        return opened_at<T>(parley::shm{name.text(), options});
    }
};
struct over_inproc {
    unique_name name{"asio"};
    template <class T>
    auto open() {
        return opened_at<T>(parley::inproc{name.text(), {.capacity_bytes = 4096}});
    }
};
struct over_uds {
    enum place { pair, stream, seqpacket, datagram };
    temporary_directory dir;
    place at;
    over_uds() : at(GENERATE(pair, stream, seqpacket, datagram)) {}
    explicit over_uds(place p) : at(p) {}
    template <class T>
    auto open() {
        if (at == pair) return opened_pair<T>(parley::uds{});
        const auto type = at == stream      ? parley::uds::stream
                          : at == seqpacket ? parley::uds::seqpacket
                                            : parley::uds::datagram;
        return opened_at<T>(parley::uds{dir / "s", {.type = type}});
    }
};
struct over_shm_pair : over_shm {
    over_shm_pair() : over_shm(true) {}
};
struct over_uds_pair : over_uds {
    over_uds_pair() : over_uds(pair) {}
};
struct over_uds_stream : over_uds {
    over_uds_stream() : over_uds(GENERATE(pair, stream)) {}
};
/// Before main: every thread of the tests is to block the numbers that ends may claim.
inline const bool signals_reserved = (parley::reserve_signals(), true);
struct over_signals {
    unique_name name{"asio"};
    template <class T>
    auto open() {
        return opened_at<T>(parley::signals{name.text(), {.window = 128}});
    }
};
struct over_uri {
    temporary_directory dir;
    template <class T>
    auto open() {
        using address = parley::any_transport<parley::transport_list<parley::shm, parley::uds>>;
        return opened_at<T>(address(parley::uri{"unix://" + (dir / "s")}));
    }
};

#define PARLEY_EVERY_BACKEND                                                 \
    parley_test::over_pipe, parley_test::over_shm, parley_test::over_inproc, \
        parley_test::over_uds, parley_test::over_uri, parley_test::over_signals

}  // namespace parley_test
