// SPDX-License-Identifier: MIT
// Taking messages of any type from an address until there are no more: recv, echo, hz and record.
#pragma once

#include "tool.hpp"
#include "transports.hpp"

#include <parley/channel.hpp>

#include <functional>

namespace tool {

/// A channel has one receiver: this is it. It takes messages of any type.
using taker = parley::receiver<parley::any_message, any_address>;

/// What is done with messages. Whoever does not want to go on returns another code than ok.
struct taking {
    std::function<int()> opened = [] { return int{ok}; };
    std::function<int(taker&, parley::bytes)> message;
    std::function<void()> idle = [] {};  ///< now and then, also while messages flow
};

/// Opens the address, hands out what comes and tells how it ended, as exit code and in words.
int take_messages(const take_options& o, std::string_view verb, const taking& how);

}  // namespace tool
