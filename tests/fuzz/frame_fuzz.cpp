// SPDX-License-Identifier: MIT
// Any bytes, cut anywhere, may come out of a stream: frames, or an error with words that stays.
//
//   input   1 byte: how the stream is cut; then the stream, with or without a right hello before it
#include <parley/base/assert.hpp>
#include <parley/transport/frame_reader.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

namespace {

constexpr parley::message_type own{0x5eed, "fuzzed {u32 @0} 4/4", 8};
constexpr std::size_t most = 5000;

std::vector<std::byte> stream_of(const std::uint8_t* data, std::size_t size, bool greeted) {
    std::vector<std::byte> all(greeted ? parley::frame::hello_bytes_max : 0);
    if (greeted) all.resize(parley::frame::write_hello(all.data(), own, 1, 2));
    const auto* from = reinterpret_cast<const std::byte*>(data);
    all.insert(all.end(), from, from + size);
    return all;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    if (size < 1) return 0;
    const std::uint8_t cut = data[0];
    const auto all = stream_of(data + 1, size - 1, cut % 2 == 0);
    parley::frame_reader reader(own, most);
    std::size_t given = 0, taken = 0;
    parley::error_code failed;
    while (given < all.size()) {
        const auto room = reader.room();
        PARLEY_ASSERT(!room.empty());
        const std::size_t n = std::min({room.size(), all.size() - given, std::size_t{cut} / 2 + 1});
        std::memcpy(room.data(), all.data() + given, n);
        reader.filled(n);
        given += n;
        for (;;) {
            parley::diagnostics why;
            const bool spoke = reader.ready();
            const auto m = reader.next(why);
            if (m) {
                PARLEY_ASSERT(spoke && !failed && m->size() <= most && reader.greeted());
                taken += m->size() + parley::frame::header_bytes;
                PARLEY_ASSERT(taken <= given);
                if (!m->empty()) PARLEY_ASSERT(m->front() == m->data()[0]);
                continue;
            }
            if (m.error() == parley::errc::would_block) {
                PARLEY_ASSERT(!failed);
                break;
            }
            PARLEY_ASSERT(!why.empty());
            PARLEY_ASSERT(!failed || failed == m.error());  // it stays
            failed = m.error();
            break;
        }
        if (failed) break;
    }
    const auto end = reader.at_end();
    PARLEY_ASSERT(end == parley::errc::closed || end == parley::errc::peer_lost);
    return 0;
}
