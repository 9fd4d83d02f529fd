// SPDX-License-Identifier: MIT
// A segment that somebody else wrote: its header is taken or refused with words, and a lane of any
// bytes gives messages within its ring, or an error, and ends.
//
//   input   8 bytes: lanes, capacity, alignment, start of the reader, as the fuzzer likes
//           then the header's bytes, then the ring's, repeated to fill it
#include <parley/base/assert.hpp>
#include <parley/shm/lane.hpp>
#include <parley/shm/layout.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <span>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

namespace {

namespace layout = parley::shm_layout;
using input = std::span<const std::uint8_t>;

constexpr parley::message_type own{0x5eed, "fuzzed {u32 @0} 4/4", 8};

/// A header of these bytes over a right one: the nearer to right, the deeper it goes.
void read_header(input from, std::uint8_t mode) {
    layout::segment_header h{};
    layout::write_header(h, {4, 8192, 8}, own);
    const std::size_t start = mode % 3 == 0 ? 0 : mode % sizeof h;
    const std::size_t n = std::min(from.size(), sizeof h - start);
    if (n > 0) std::memcpy(reinterpret_cast<char*>(&h) + start, from.data(), n);
    parley::diagnostics why;
    const std::size_t file = mode % 2 == 0 ? layout::shape{4, 8192, 8}.segment_bytes()
                                           : std::size_t{mode} << (mode % 30);
    layout::shape s;
    if (!layout::check_header(h, file, own, "fuzzed", s, why)) {
        PARLEY_ASSERT(!why.empty());
        return;
    }
    PARLEY_ASSERT(s.sane() && s.segment_bytes() == file);
    PARLEY_ASSERT(s.message_bytes_max() < s.capacity);
}

/// The ring as a reader maps it: twice, back to back, and nothing behind it.
void drain_lane(input from, std::uint8_t shaped, std::uint16_t start) {
    const layout::shape s{1, std::size_t{4096} << (shaped % 3), std::size_t{8} << (shaped % 5)};
    PARLEY_ASSERT(s.sane());
    const auto ring = std::make_unique<std::uint64_t[]>(s.capacity / 4);
    auto* bytes = reinterpret_cast<std::byte*>(ring.get());
    for (std::size_t i = 0; i < s.capacity && !from.empty(); ++i) {
        bytes[i] = static_cast<std::byte>(from[i % from.size()]);
    }
    std::memcpy(bytes + s.capacity, bytes, s.capacity);
    layout::lane_cursor cursor{};
    layout::lane_page other_side{};
    layout::reader_state reader_side{};
    cursor.head = s.first() + std::uint64_t{start} * s.alignment;
    // What a dead reader left may be anything too.
    cursor.taken = cursor.head + std::uint64_t{shaped} * start % (2 * s.capacity);
    cursor.batch = start;
    (void)parley::detail::succession<parley::detail::std_atomics>::take_over(cursor, s, bytes);
    parley::detail::lane_reader<parley::detail::std_atomics> reader(s, bytes, cursor, other_side);
    std::size_t sum = 0;
    std::byte many[64];
    sum += reader.take_many_into({many, sizeof many}, 1 + shaped % 16);
    reader.release();
    for (std::size_t taken = 0; taken <= s.capacity; ++taken) {  // a ring may go round for ever
        const auto item = reader.take();
        if (item.kind == parley::detail::taken::message) {
            PARLEY_ASSERT(item.payload.size() <= s.message_bytes_max());
            PARLEY_ASSERT(item.payload.data() >= bytes &&
                          item.payload.data() + item.payload.size() <= bytes + 2 * s.capacity);
            if (!item.payload.empty()) {
                sum += static_cast<std::size_t>(item.payload.front()) +
                       static_cast<std::size_t>(item.payload.back());
            }
            reader.release();
            continue;
        }
        if (item.kind != parley::detail::taken::end) break;
    }
    PARLEY_ASSERT(sum < s.capacity * 512);
    // A writer that takes the lane over trusts the cursor no more than that.
    parley::detail::lane_writer<parley::detail::std_atomics> writer(s, bytes, cursor, reader_side,
                                                                    other_side);
    for (int i = 0; i < 3; ++i) {
        const auto room = writer.try_loan(shaped);
        if (room.data() == nullptr) break;
        PARLEY_ASSERT(room.data() >= bytes && room.data() + room.size() <= bytes + 2 * s.capacity);
        std::fill(room.begin(), room.end(), std::byte{1});
        (void)writer.commit(room.size());
        cursor.head = cursor.head * 3 + start;  // a reader that lies
    }
    PARLEY_ASSERT(writer.unread() <= s.capacity);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    if (size < 4) return 0;
    const input rest(data + 4, size - 4);
    if (data[0] % 2 == 0) {
        read_header(rest, data[1]);
    } else {
        drain_lane(rest, data[1],
                   static_cast<std::uint16_t>(data[2] | static_cast<unsigned>(data[3]) << 8));
    }
    return 0;
}
