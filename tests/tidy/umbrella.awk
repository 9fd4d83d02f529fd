# SPDX-License-Identifier: MIT
# Every header is reached from the umbrella, so that nobody has to know where a thing lies. What
# needs Asio or fmt is reached from asio.hpp or format.hpp instead; testing/ stands beside.
FNR == 1 {
    path = FILENAME
    sub(/^.*include\/parley\//, "", path)
    file[path] = FILENAME
}
/^[ \t]*#[ \t]*include[ \t]*<parley\// {
    to = $0
    sub(/^[^<]*<parley\//, "", to)
    sub(/>.*$/, "", to)
    edges[path] = edges[path] " " to
    if (path == "parley.hpp" && !(to in listed)) listed[to] = FNR
}
/^[ \t]*#[ \t]*include[ \t]*<(boost\/asio|fmt\/)/ { heavy[path] }
path == "parley.hpp" && !/^[ \t]*($|\/\/|#pragma once|#include <parley\/)/ {
    printf "%s:%d: umbrella: parley.hpp only includes\n", FILENAME, FNR
}

function walk(from, seen,    list, i, n) {
    if (from in seen) return
    seen[from]
    n = split(edges[from], list, " ")
    for (i = 1; i <= n; i++) walk(list[i], seen)
}

END {
    walk("parley.hpp", light)
    walk("parley.hpp", any); walk("asio.hpp", any); walk("format.hpp", any)
    for (to in listed) if (!(to in file)) {
        printf "%s:%d: umbrella: <parley/%s> does not exist\n", file["parley.hpp"], listed[to], to
    }
    for (path in file) {
        if (path ~ /^testing\// || path in light) continue
        # A header that reaches Asio or fmt may be left to those who ask for it.
        split("", below)
        walk(path, below)
        needs_more = 0
        for (to in below) if (to in heavy) needs_more = 1
        if (needs_more && path in any) continue
        printf "%s:1: umbrella: add '#include <parley/%s>' to include/parley/%s\n", file[path],
               path, needs_more ? "asio.hpp or format.hpp" : "parley.hpp"
    }
}
