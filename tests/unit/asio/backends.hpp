// SPDX-License-Identifier: MIT
// The same channel over every backend, and what the tests of asynchronous ends share.
#pragma once

#include <parley/asio.hpp>
#include <parley/transport/any.hpp>
#include <parley/transport/inproc.hpp>
#include <parley/transport/pipe.hpp>
#include <parley/transport/shm.hpp>
#include <parley/transport/signals.hpp>
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
/// Every backend behind one type.
struct over_uri {
    using address =
        parley::any_transport<parley::transport_list<parley::pipe, parley::shm, parley::inproc,
                                                     parley::uds, parley::signals>>;
    temporary_directory dir;
    unique_name name{"asio"};
    parley::uri at;

    explicit over_uri(std::string text) : at(std::move(text)) {}
    over_uri() {
        std::string text = GENERATE(
            as<std::string>{}, "pipe:?capacity_bytes=4096", "shm:?capacity_bytes=4096",
            "unix:", "shm://#?capacity_bytes=4096", "inproc://#?capacity_bytes=4096", "unix://%/s",
            "unix://%/s?type=seqpacket", "unix://%/s?type=datagram", "signals://#?window=128");
        const auto is_mark = [](char c) { return c == '#' || c == '%'; };
        if (const auto mark = std::find_if(text.begin(), text.end(), is_mark); mark != text.end()) {
            const std::string own = *mark == '#' ? name.text() : dir.path().string();
            text.replace(mark, mark + 1, own);
        }
        at = parley::uri{text};
    }
    template <class T>
    auto open() {
        const bool pair = at.text().find("://") == std::string::npos;
        return pair ? opened_pair<T>(address(at)) : opened_at<T>(address(at));
    }
};

struct over_uds_uri : over_uri {
    over_uds_uri() : over_uri("unix://@" + unique_name{"asio"}.text()) {}
};

// Behind each type there is a test to compile: what loses messages is tried with all of them, the
// rest with one that lies in memory, and with all behind the erased type.
#define PARLEY_EVERY_BACKEND                                                 \
    parley_test::over_pipe, parley_test::over_shm, parley_test::over_inproc, \
        parley_test::over_uds, parley_test::over_uds_uri, parley_test::over_signals
#define PARLEY_ERASED_BACKENDS parley_test::over_shm, parley_test::over_uri

}  // namespace parley_test
