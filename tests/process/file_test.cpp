// SPDX-License-Identifier: MIT
// A file of real data goes from process to process, of many writers a part each, over every
// reliable backend: 4 MiB, in the long campaign 1 GiB.
#include "conformance/transport.hpp"

#include <parley/store/crc32c.hpp>

#include "support/process.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>

#include <algorithm>
#include <span>

using namespace conformance;
using parley_test::child;

namespace {

/// The bytes of this machine's own programs and libraries, one file behind the other: mapped from
/// a file that has no name any more.
class real_data {
public:
    explicit real_data(std::size_t n) : size_(n), fd_(::open(dir_.path().c_str(), flags, 0600)) {
        REQUIRE(fd_.get() >= 0);
        for (std::size_t at = 0; at < n;) {
            const auto before = at;
            for (const char* folder : {"/usr/bin", "/usr/lib", "/usr/include"}) append(folder, at);
            REQUIRE(at > before);
        }
        void* mapped = ::mmap(nullptr, n, PROT_READ, MAP_SHARED, fd_.get(), 0);
        REQUIRE(mapped != MAP_FAILED);
        memory_ = static_cast<const std::byte*>(mapped);
    }
    real_data(const real_data&) = delete;
    real_data& operator=(const real_data&) = delete;
    ~real_data() { ::munmap(const_cast<std::byte*>(memory_), size_); }

    [[nodiscard]] bytes all() const noexcept { return {memory_, size_}; }

private:
    static constexpr int flags = O_TMPFILE | O_RDWR | O_CLOEXEC;

    void append(const char* folder, std::size_t& at) {
        std::error_code ec;
        using walk = std::filesystem::recursive_directory_iterator;
        for (const auto& entry : walk(folder, ec)) {
            if (at == size_ || !entry.is_regular_file(ec) || entry.is_symlink(ec)) continue;
            const parley::detail::unique_fd in(::open(entry.path().c_str(), O_RDONLY | O_CLOEXEC));
            while (at < size_) {
                std::byte buffer[64 << 10];
                const auto n = ::read(in.get(), buffer, std::min(sizeof buffer, size_ - at));
                if (n <= 0) break;
                REQUIRE(::pwrite(fd_.get(), buffer, static_cast<std::size_t>(n),
                                 static_cast<off_t>(at)) == n);
                at += static_cast<std::size_t>(n);
            }
        }
    }

    parley_test::temporary_directory dir_;
    std::size_t size_;
    parley::detail::unique_fd fd_;
    const std::byte* memory_ = nullptr;
};

/// A message: the number of its writer, what it is, and a piece; the last one is the sum of all.
struct head {
    std::uint32_t writer;
    std::uint32_t last;
};
struct sum {
    std::uint64_t length = 0;
    std::uint32_t crc = 0;

    void add(bytes piece) noexcept {
        length += piece.size();
        crc = parley::detail::crc32c(std::as_bytes(std::span(&crc, 1)), piece);
    }
    bool operator==(const sum&) const = default;
};

constexpr std::size_t least = 4 << 20;

/// Sends a part of the file; where all of it would take too long, what passes in 20 s.
int send_part(any_sink out, std::uint32_t writer, bytes part, std::size_t piece, bool all) {
    sum total;
    const auto until = parley::clock::now() + 20s;
    const auto send = [&out](head h, bytes payload) {
        parley::deadline d = parley::never;
        auto l = parley::drive::loan(out, sizeof h + payload.size(), d);
        if (!l) return false;
        std::memcpy(l->bytes().data(), &h, sizeof h);
        std::copy(payload.begin(), payload.end(), l->bytes().begin() + sizeof h);
        return parley::drive::commit(out, std::move(*l), d).has_value();
    };
    while (!part.empty() && (all || total.length < least || parley::clock::now() < until)) {
        const bytes next = part.first(std::min(piece, part.size()));
        if (!send({writer, 0}, next)) return 3;
        total.add(next);
        part = part.subspan(next.size());
    }
    if (!send({writer, 1}, std::as_bytes(std::span(&total, 1)))) return 4;
    return out.close(parley::never) ? 0 : 5;
}

/// Receives all parts; each must have the checksum that its writer found.
std::uint64_t receive_parts(any_source& in, std::size_t writers) {
    std::vector<sum> got(writers);
    std::uint64_t whole = 0;
    for (std::size_t open = writers; open > 0;) {
        const auto v = receive(in);
        if (!v && v.error() == errc::closed) continue;  // one writer was done before another came
        REQUIRE(v);
        head h;
        REQUIRE(v->bytes().size() >= sizeof h);
        std::memcpy(&h, v->bytes().data(), sizeof h);
        REQUIRE(h.writer < writers);
        const bytes payload = v->bytes().subspan(sizeof h);
        if (h.last == 0) {
            got[h.writer].add(payload);
            continue;
        }
        sum sent;
        REQUIRE(payload.size() == sizeof sent);
        std::memcpy(&sent, payload.data(), sizeof sent);
        CHECK(got[h.writer].length == sent.length);
        CHECK(got[h.writer].crc == sent.crc);
        whole += sent.length;
        --open;
    }
    return whole;
}

void move_over(const model& m, bytes file) {
    auto at = m.make();
    std::optional<ends> both;
    std::optional<any_source> in;
    parley::diagnostics why;
    if (m.named) {
        in.emplace(at->receiver(apples, why).value());
    } else {
        both.emplace(at->open());
    }
    const auto limits = both ? both->sink.limits() : in->limits();
    const std::size_t piece = std::min<std::size_t>(limits.message_bytes_max, 64 << 10) - 64;
    const auto writers = m.named ? std::clamp<std::size_t>(limits.writers_max, 1, 3) : 1;
    const std::size_t part = file.size() / writers;
    std::vector<child> all;
    for (std::size_t w = 0; w < writers; ++w) {
        all.emplace_back([&, w] {
            ::prctl(PR_SET_PDEATHSIG, SIGKILL);
            if (both) (void)both->source.close(parley::never);
            return send_part(
                both ? std::move(both->sink) : at->sender(apples, parley::never, why).value(),
                static_cast<std::uint32_t>(w),
                w + 1 < writers ? file.subspan(w * part, part) : file.subspan(w * part), piece,
                m.quick);
        });
    }
    if (both) {
        (void)both->sink.close(parley::never);
        in.emplace(std::move(both->source));
    }
    const auto whole = receive_parts(*in, writers);
    CHECK((m.quick ? whole == file.size() : whole >= std::min(least, file.size())));
    CHECK(error_of(receive(*in)) == errc::closed);
    for (auto& c : all) CHECK(c.wait() == 0);
    if (parley_test::campaign()) {
        std::printf("%s: %zu writers, %llu bytes\n", m.name.c_str(), writers,
                    static_cast<unsigned long long>(whole));
    }
}

}  // namespace

TEST_CASE("content: a file of real data arrives whole, over every backend") {
    const real_data file(parley_test::campaign() ? std::size_t{1} << 30 : least);
    for (const auto& m : models()) {
        if (!m.across || (m.variation && m.name.find("abstract") == m.name.npos)) continue;
        if (m.make()->open().sink.limits().lossy) continue;
        DYNAMIC_SECTION(m.name) {
            const parley_test::watchdog dog("a file / " + m.name, std::chrono::seconds(600));
            move_over(m, file.all());
        }
    }
}
