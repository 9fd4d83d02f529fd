// SPDX-License-Identifier: MIT
// What both ways of calling a service from the command line share.
#pragma once

#include "tool.hpp"

#include <parley/rpc/method.hpp>

#include <boost/json.hpp>

#include <cstdint>
#include <string>
#include <vector>

namespace tool {

/// What `parley serve` serves.
struct demo {
    parley::method<"add(a, b)", double(double, double)> add;
    parley::method<"sum(numbers...)", std::int64_t(std::vector<std::int64_t>)> sum;
    parley::method<"echo(text)", std::string(std::string)> echo;
    parley::method<"fail(words)", void(std::string)> fail;
};

int call_natively(const call_options&, const boost::json::value& params);
int serve_natively(const std::string& address, demo);

}  // namespace tool
