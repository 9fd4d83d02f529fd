// SPDX-License-Identifier: MIT
// Everything that needs nothing but Boost headers and the standard library. <parley/asio.hpp>,
// <parley/format.hpp> and <parley/jsonrpc.hpp> stand apart: who includes them pays for Asio, fmt or
// Boost.JSON.
#pragma once

#include <parley/ast.hpp>
#include <parley/base/assert.hpp>
#include <parley/base/bytes.hpp>
#include <parley/base/delivery.hpp>
#include <parley/base/error.hpp>
#include <parley/base/limits.hpp>
#include <parley/base/random.hpp>
#include <parley/base/time.hpp>
#include <parley/base/type.hpp>
#include <parley/base/uri.hpp>
#include <parley/channel.hpp>
#include <parley/codec/codec.hpp>
#include <parley/delivered.hpp>
#include <parley/latest.hpp>
#include <parley/objects.hpp>
#include <parley/pubsub.hpp>
#include <parley/push.hpp>
#include <parley/request.hpp>
#include <parley/rpc.hpp>
#include <parley/rpc/json_stream.hpp>
#include <parley/rpc_any.hpp>
#include <parley/shm/inspect.hpp>
#include <parley/transport/all.hpp>
#include <parley/transport/duplex_pair.hpp>
#include <parley/transport/uds_descriptor.hpp>
#include <parley/version.hpp>
