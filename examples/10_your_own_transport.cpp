// SPDX-License-Identifier: MIT
// A transport of your own: named pipes, made of the library's anonymous ones. The contract stands
// in parley/transport/transport.hpp; types, deadlines, ends and pollable() come with the parts.
#include <parley/channel.hpp>
#include <parley/transport/pipe.hpp>

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <string>

using parley::errc, parley::result, parley::uri;
struct fifo {
    std::string path;

    using sink = parley::pipe::sink;
    using source = parley::pipe::source;
    static constexpr std::string_view scheme = "fifo";

    static result<fifo> from(const uri& text, parley::diagnostics& why) {
        parley::uri_reader r(text, why);
        if (r.body().empty()) r.fail_body("wants a path, as in fifo:///tmp/x");
        if (auto ok = r.finish(); !ok) return ok.error();
        return fifo{r.body()};
    }
    uri to_uri() const { return parley::uri_writer(scheme, path).done(); }
    /// Each side waits in open(2) for the other one; then nobody needs the name any more.
    result<source> open_source(const parley::open_request& r) const {
        if (mkfifo(path.c_str(), 0600) != 0) return r.why->fail(errc::in_use, path + " exists");
        const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
        unlink(path.c_str());
        return parley::pipe{fd}.open_source(r);
    }
    result<sink> open_sink(const parley::open_request& r) const {
        const auto try_open = [&] { return open(path.c_str(), O_WRONLY | O_CLOEXEC); };
        int fd = try_open();
        for (; fd < 0 && parley::clock::now() < r.until; fd = try_open()) usleep(1000);
        if (fd < 0) return r.why->fail(errc::timed_out, "nobody made " + path);
        return parley::pipe{fd}.open_sink(r);
    }
    friend bool operator==(const fifo&, const fifo&) = default;
};
static_assert(parley::transport<fifo>);

int main() {
    const uri at{"fifo:///tmp/parley-10-" + std::to_string(getpid())};
    if (fork() == 0) {
        auto out = parley::open_sender<std::string>(at, parley::transport_list<fifo>{}).value();
        _exit(out.send("written to " + at.text()) && out.close() ? 0 : 1);
    }
    auto in = parley::open_receiver<std::string>(at, parley::transport_list<fifo>{}).value();
    while (auto text = in.receive()) std::printf("%s\n", text->c_str());
    wait(nullptr);
}
