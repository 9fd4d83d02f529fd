// SPDX-License-Identifier: MIT
// Runs a fuzzer without libFuzzer: replays the files of a corpus, then mutations of them by a
// seeded generator. It finds less than libFuzzer does, but in every build and every time the same.
#include <parley/base/random.hpp>

#include "support/watchdog.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

namespace {

using input = std::vector<std::uint8_t>;

/// A copy of exactly the input's size, so that a sanitizer sees a read behind its end.
void run(const input& in) {
    const input exact(in.begin(), in.end());
    (void)LLVMFuzzerTestOneInput(exact.data(), exact.size());
}

std::vector<input> read_corpus(const std::filesystem::path& folder) {
    std::vector<input> corpus;
    std::error_code ec;
    for (const auto& entry : std::filesystem::directory_iterator(folder, ec)) {
        std::ifstream file(entry.path(), std::ios::binary);
        corpus.emplace_back(std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>());
    }
    std::sort(corpus.begin(), corpus.end());  // the order of a directory is no order
    return corpus;
}

void mutate(input& in, const std::vector<input>& corpus, parley::random& r) {
    constexpr std::uint8_t telling[] = {0, 1, 2, 0x7f, 0x80, 0xff, '%', '?', '&', '='};
    const auto at = [&] { return static_cast<std::ptrdiff_t>(r.below(in.size())); };
    switch (r.below(in.empty() ? 1 : 6)) {
        case 0: in.insert(in.begin(), 1 + r.below(8), static_cast<std::uint8_t>(r())); break;
        case 1: in[r.below(in.size())] ^= static_cast<std::uint8_t>(1U << r.below(8)); break;
        case 2: in[r.below(in.size())] = telling[r.below(std::size(telling))]; break;
        case 3: in.resize(r.below(in.size())); break;
        case 4: in.erase(in.begin() + at()); break;
        case 5: {
            const auto& other = corpus[r.below(corpus.size())];
            in.insert(in.begin() + at(), other.begin(), other.end());
            break;
        }
    }
}

}  // namespace

int main(int argc, char** argv) {
    auto corpus = read_corpus(argc > 1 ? argv[1] : ".");
    std::printf("%zu inputs from the corpus\n", corpus.size());
    for (const auto& in : corpus) run(in);
    corpus.emplace_back();
    const std::uint64_t rounds = parley_test::campaign() ? 20'000'000 : 50'000;
    parley::random r(1);
    for (std::uint64_t i = 0; i < rounds; ++i) {
        input in = corpus[r.below(corpus.size())];
        for (auto n = 1 + r.below(4); n > 0; --n) mutate(in, corpus, r);
        if (in.size() > 65536) in.resize(65536);
        run(in);
    }
    std::printf("%llu mutations by seed 1\n", static_cast<unsigned long long>(rounds));
}
