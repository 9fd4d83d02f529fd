// SPDX-License-Identifier: MIT
// Any text may be given as an address: it is read, or refused with a position within it, and what
// was read survives being written and read again.
#include <parley/base/assert.hpp>
#include <parley/base/uri.hpp>

#include <cstddef>
#include <cstdint>
#include <string>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const parley::uri address(std::string(reinterpret_cast<const char*>(data), size));
    parley::diagnostics diag;
    parley::uri_reader reader(address, diag);
    std::uint32_t slots = 0;
    reader.number("slots", slots, 1, 1024);
    const auto* name = reader.option("name");
    const std::string value = name == nullptr ? "" : *name;
    if (!reader.finish()) {
        PARLEY_ASSERT(diag.text().find("position ") != std::string::npos);
        return 0;
    }
    PARLEY_ASSERT(slots <= 1024);
    const auto again =
        parley::uri_writer(reader.scheme(), reader.body()).option("name", value).done();
    parley::uri_reader second(again, diag);
    const auto* same = second.option("name");
    PARLEY_ASSERT(second.body() == reader.body() && same != nullptr && *same == value);
    PARLEY_ASSERT(second.finish().has_value());
    return 0;
}
