# SPDX-License-Identifier: MIT
# Every header is reached from the umbrella, so that nobody has to know where a thing lies. What
# needs Asio, fmt, OpenSSL or Boost.JSON is reached from asio.hpp, format.hpp, tls.hpp or jsonrpc.hpp
# instead; testing/ and separate.hpp stand beside.
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
/^[ \t]*#[ \t]*include[ \t]*<(boost\/asio|boost\/json|fmt\/|openssl\/)/ { heavy[path] }
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
    walk("parley.hpp", any); walk("asio.hpp", any); walk("format.hpp", any); walk("tls.hpp", any)
    walk("jsonrpc.hpp", any)
    for (to in listed) if (!(to in file)) {
        printf "%s:%d: umbrella: <parley/%s> does not exist\n", file["parley.hpp"], listed[to], to
    }
    for (path in file) {
        if (path ~ /^testing\/|^separate.hpp$/ || path in light) continue
        # A header that reaches one of those may be left to those who ask for it.
        split("", below)
        walk(path, below)
        where = "parley.hpp"
        for (to in below) if (to in heavy) where = "asio.hpp, format.hpp, tls.hpp or jsonrpc.hpp"
        if (where == "parley.hpp" || !(path in any)) missing[path] = where
    }
    # Of what is missing together only the headers that nobody else includes are worth naming.
    for (path in missing) {
        n = split(edges[path], list, " ")
        for (i = 1; i <= n; i++) if (list[i] != path) inner[list[i]]
    }
    named = 0
    for (path in missing) named += !(path in inner)
    for (path in missing) if (!(path in inner) || !named) {  # none: they include each other
        printf "%s:1: umbrella: add '#include <parley/%s>' to include/parley/%s\n", file[path],
               path, missing[path]
    }
}
