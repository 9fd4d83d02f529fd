// SPDX-License-Identifier: MIT
// The list of every transport of the library, with all of their headers. <parley/transport/all.hpp>
// is what programs include; this one is for sources of separately compiled programs that need the
// list itself: those that open a URI with delivery policies, say.
#pragma once

#include <parley/transport/any.hpp>
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
#include <parley/transport/snapshot.hpp>
#include <parley/transport/sysv.hpp>
#include <parley/transport/tcp.hpp>
#include <parley/transport/udp.hpp>
#include <parley/transport/udp_multicast.hpp>
#include <parley/transport/uds.hpp>

namespace parley {
inline namespace v1 {

/// What a URI may name in open_sender, open_receiver and make_channel when the program names no
/// list of its own.
struct all_transports {
    using list = transport_list<shm, uds, tcp, udp, udp_multicast, pipe, fifo, inproc, mq, sysv,
                                boost_mq, signals, file, mmap, snapshot, maildir>;
};

}  // namespace v1
}  // namespace parley
