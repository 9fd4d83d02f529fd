// SPDX-License-Identifier: MIT
// Between threads of one process: a file is copied by a thread that reads and one that writes.
// 11_threads IN OUT copies IN to OUT; without arguments it counts the bytes of its own program.
#include <parley/channel.hpp>
#include <parley/transport/inproc.hpp>

#include <algorithm>
#include <cstdio>
#include <memory>
#include <thread>

using block = std::span<const std::byte>;
using file = std::unique_ptr<std::FILE, int (*)(std::FILE*)>;

void read_into(parley::sender<block, parley::inproc> out, std::FILE* from) {
    const std::size_t most = std::min<std::size_t>(128 * 1024, out.limits().message_bytes_max);
    for (;;) {
        auto l = out.loan_bytes(most).value();  // read to where the other looks
        const auto n = std::fread(l.bytes().data(), 1, most, from);
        if (n == 0) break;
        l.shrink(n);
        out.send(std::move(l)).value();
    }
    out.close().value();
}

int main(int argc, char** argv) {
    const file from(std::fopen(argc > 1 ? argv[1] : "/proc/self/exe", "rb"), &std::fclose);
    file to(std::fopen(argc > 2 ? argv[2] : "/dev/null", "wb"), &std::fclose);
    if (!from || !to) return std::perror("11_threads"), 2;

    auto [tx, rx] = parley::make_channel<block>(parley::inproc{}).value();
    std::jthread reader(read_into, std::move(tx), from.get());
    std::size_t bytes = 0, blocks = 0;
    auto m = rx.borrow();
    for (; m; m = rx.borrow()) {
        const block seen = **m;
        bytes += std::fwrite(seen.data(), 1, seen.size(), to.get());
        ++blocks;
    }
    std::printf("%zu bytes in %zu blocks, then: %s\n", bytes, blocks, m.error().message().c_str());
    return m.error() == parley::errc::closed && bytes > 0 && std::fflush(to.get()) == 0 ? 0 : 1;
}
