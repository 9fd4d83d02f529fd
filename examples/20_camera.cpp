// SPDX-License-Identifier: MIT
// A camera and a viewer: frames of 1 MiB that nobody copies, and ends that die. demo.sh shows it.
//   20_camera film URI FIRST COUNT PER_SECOND    20_camera show URI COUNT    20_camera other URI
#include <parley/channel.hpp>
#include <parley/transport/all.hpp>

#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

using std::chrono::steady_clock;

struct picture {
    std::uint64_t number;
    std::int64_t taken_ns;
    std::array<std::uint8_t, (1 << 20) - 16> pixels;
};
template <>
struct parley::codec<picture>
    : parley::fields<&picture::number, &picture::taken_ns, &picture::pixels> {};

std::int64_t now_ns() { return steady_clock::now().time_since_epoch().count(); }
int film(const parley::uri& at, std::uint64_t number, std::uint64_t count, double per_second) {
    const auto apart = std::chrono::duration<double>(1 / per_second);
    const std::uint64_t end = number + count;
    while (number < end) {
        auto out = parley::open_sender<picture>(at).value();
        for (; number < end; ++number) {
            auto shot = out.loan();
            if (!shot) break;
            (*shot)->number = number;
            (*shot)->pixels[0] = static_cast<std::uint8_t>(number);
            std::this_thread::sleep_for(apart);  // exposure: whoever is killed is killed in a loan
            (*shot)->pixels.back() = static_cast<std::uint8_t>(number);
            (*shot)->taken_ns = now_ns();
            if (!out.send(std::move(*shot))) break;
        }
        if (number == end) return out.close() ? 0 : 1;
        std::printf("camera %d: %s\n", getpid(), out.why().text().c_str());
        std::fflush(stdout);
    }
    return 0;
}

/// How many came, and how late, since it was printed last.
class figures {
public:
    void add(std::int64_t taken_ns) {
        late_us_.push_back(static_cast<double>(now_ns() - taken_ns) / 1e3);
        if (std::chrono::duration<double>(steady_clock::now() - began_).count() > 0.5) print();
    }
    void print() {
        if (late_us_.empty()) return;
        const std::chrono::duration<double> took = steady_clock::now() - began_;
        std::sort(late_us_.begin(), late_us_.end());
        const auto n = static_cast<double>(late_us_.size());
        std::printf("viewer %d: %.0f pictures/s, %.2f GB/s, p50 %.0f us, p99 %.0f us\n", getpid(),
                    n / took.count(), n / took.count() * sizeof(picture) / 1e9,
                    late_us_[late_us_.size() / 2], late_us_[late_us_.size() * 99 / 100]);
        std::fflush(stdout);
        late_us_.clear();
        began_ = steady_clock::now();
    }

private:
    std::vector<double> late_us_;
    steady_clock::time_point began_ = steady_clock::now();
};

int show(const parley::uri& at, std::uint64_t count) {
    parley::diagnostics why;
    auto in = parley::open_receiver<picture>(at, parley::never, &why);
    if (!in) return std::printf("viewer: %s\n", why.text().c_str()), 2;
    std::uint64_t last = 0;
    figures rate;
    for (std::uint64_t seen = 0; seen < count; ++seen) {
        auto p = in->borrow();
        while (!p && p.error() == parley::errc::peer_lost) {  // for the next camera
            std::printf("viewer %d: %s (at %lld ms) after picture %llu\n", getpid(),
                        p.error().message().c_str(), (long long)now_ns() / 1'000'000,
                        (unsigned long long)last);
            std::fflush(stdout);
            p = in->borrow();
        }
        if (!p) return rate.print(), p.error() == parley::errc::closed ? 0 : 1;
        rate.add((*p)->taken_ns);
        const auto low = static_cast<std::uint8_t>((*p)->number);
        if ((*p)->pixels[0] != low || (*p)->pixels.back() != low) return std::puts("torn"), 1;
        if (last != 0 && (*p)->number != last + 1) {
            std::printf("viewer %d: picture %llu follows %llu\n", getpid(),
                        (unsigned long long)(*p)->number, (unsigned long long)last);
        }
        last = (*p)->number;
    }
    return rate.print(), 0;
}

/// A viewer that was compiled with another struct.
int other(const parley::uri& at) {
    struct thumbnail {
        std::uint32_t number;
        float brightness;
    };
    parley::diagnostics why;
    auto out = parley::open_sender<thumbnail>(at, std::chrono::seconds(10), &why);
    std::printf("%s: %s\n", out ? "let in" : out.error().message().c_str(), why.text().c_str());
    return !out && out.error() == parley::errc::incompatible ? 0 : 1;
}

int main(int argc, char** argv) {
    const std::string_view what = argc > 2 ? argv[1] : "";
    const auto number = [&](int i) { return std::strtoull(argc > i ? argv[i] : "1", nullptr, 10); };
    if (what == "film") return film(parley::uri{argv[2]}, number(3), number(4), std::atof(argv[5]));
    if (what == "show") return show(parley::uri{argv[2]}, number(3));
    if (what == "other") return other(parley::uri{argv[2]});

    const parley::uri at{"shm://20_camera-" + std::to_string(getpid())};
    const pid_t camera = fork();
    if (camera == 0) _exit(film(at, 1, 200, 2000));
    const int code = show(at, ~0ULL);  // until the camera closes
    int status = 0;
    waitpid(camera, &status, 0);
    return code != 0 ? code : status;
}
