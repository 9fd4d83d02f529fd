// SPDX-License-Identifier: MIT
// Calls of methods that are implemented here, where a stream outlives the call.
#pragma once

#include <parley/rpc/remote.hpp>
#include <parley/rpc/stream.hpp>

#include <memory>
#include <utility>

namespace parley {
inline namespace v1 {
namespace rpc {

/// What the handler of a call looks at.
template <class Arguments>
struct near_call {
    near_call(time_point until, Arguments a) : context(until), arguments(std::move(a)) {}

    call_context context;
    Arguments arguments;
};

template <class T, class Kept>
class keeping_source final : public stream_source<T> {
public:
    keeping_source(stream<T> from, std::shared_ptr<Kept> kept)
        : kept_(std::move(kept)), from_(std::move(from)) {}

    result<T> pull() override { return from_.try_next(); }
    result<void> wait(deadline& d) override { return from_.wait(d); }

private:
    std::shared_ptr<Kept> kept_;  // goes last
    stream<T> from_;
};

/// The same stream, with what it looks at.
template <class T, class Kept>
[[nodiscard]] stream<T> keeping(stream<T> from, std::shared_ptr<Kept> kept) {
    return stream<T>(std::make_shared<keeping_source<T, Kept>>(std::move(from), std::move(kept)));
}

}  // namespace rpc
}  // namespace v1
}  // namespace parley
