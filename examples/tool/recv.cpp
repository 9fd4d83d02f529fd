// SPDX-License-Identifier: MIT
// parley recv: messages of any type, as bytes, into a file or stdout.
#include "taking.hpp"

#include <cstring>

namespace tool {

int run_recv(const recv_options& o) {
    file to;
    if (const int e = to.open_to_write(o.out); e != 0) {
        return fail(file_failed, fmt::format("opening {}: {}", o.out, strerror(e)));
    }
    taking how;
    how.opened = [&]() -> int {
        const int e = to.truncate();
        return e == 0 ? ok : fail(file_failed, fmt::format("emptying {}: {}", o.out, strerror(e)));
    };
    how.message = [&](taker&, parley::bytes payload) -> int {
        const int e = to.write_all(payload);
        if (e == 0 || signal_caught() != 0) return e == 0 ? ok : file_failed;
        return fail(file_failed, fmt::format("writing {}: {}", to.name(), strerror(e)));
    };
    const int code = take_messages(o, "received", how);
    if (const int e = to.close(); e != 0) {
        return fail(file_failed, fmt::format("writing {}: {}", o.out, strerror(e)));
    }
    return code;
}

}  // namespace tool
