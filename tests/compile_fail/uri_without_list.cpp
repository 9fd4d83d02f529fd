// SPDX-License-Identifier: MIT
// Whoever opens by URI has said which transports there are to choose from.
// expect: to open by URI, include <parley/transport/all.hpp> or name a transport_list<
#include <parley/channel.hpp>
#include <parley/transport/inproc.hpp>

bool use();
bool use() {
    const parley::uri at{"inproc://ticks"};
#ifdef BAD
    return parley::open_sender<int>(at).has_value();
#else
    return parley::open_sender<int>(at, parley::transport_list<parley::inproc>{}).has_value();
#endif
}
