#!/bin/sh
# SPDX-License-Identifier: MIT
# A rule that cannot fail is no rule: feeds check.sh a small clean tree, then the same tree with one
# bad file at a time, and wants the offence at its line.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
tree=$work/tree
failures=0
mark='// SPDX-License-Identifier: MIT'

put() {  # put FILE: standard input becomes a file of the tree, below the licence line
    mkdir -p "$tree/$(dirname "$1")"
    { echo "$mark"; cat; } >"$tree/$1"
}
header() { printf '#pragma once\n'; cat; }
lines() { awk -v n="$1" -v text="$2" 'BEGIN { for (i = 0; i < n; i++) print text }'; }

make_clean() {
    printf '#include <vector>\n' | header | put include/parley/base/bytes.hpp
    printf '#include <parley/base/bytes.hpp>\n#include <poll.h>\n' | header |
        put include/parley/detail/posix.hpp
    printf '#include <parley/detail/posix.hpp>\n' | header | put include/parley/transport/pipe.hpp
    printf '#include <parley/base/bytes.hpp>\n' | header | put include/parley/delivery/batched.hpp
    printf '#include <parley/transport/pipe.hpp>\n#include <parley/delivery/batched.hpp>\n' |
        header | put include/parley/channel.hpp
    printf '#include <parley/channel.hpp>\n#include <boost/asio/post.hpp>\n' | header |
        put include/parley/drive/asio.hpp
    sed -i '/channel/d' "$tree/include/parley/drive/asio.hpp"
    printf '#include <parley/drive/asio.hpp>\n' | header | put include/parley/asio.hpp
    printf '#include <fmt/format.h>\n' | header | put include/parley/format.hpp
    printf '#include <parley/channel.hpp>\n' | header | put include/parley/testing/faulty.hpp
    printf '#include <parley/channel.hpp>\n' | header | put include/parley/parley.hpp
    printf 'int main() {}\n' | put tests/unit/base/bytes_test.cpp
}
clean() {
    rm -rf "$tree"
    cp -R "$work/clean" "$tree"
}

accepts() {  # accepts RULE NAME: the tree as it stands keeps the rule
    if ! out=$(sh "$here/check.sh" "$tree" "$1" 2>&1); then
        echo "self-test: $1 should accept: $2"
        echo "$out"
        failures=$((failures + 1))
    fi
}
refuses() {  # refuses RULE FILE:LINE: the tree breaks the rule there, and nowhere else
    if out=$(sh "$here/check.sh" "$tree" "$1" 2>&1) ||
        [ "$(echo "$out" | grep -c .)" != 1 ] || ! echo "$out" | grep -q "^$2: $1: "; then
        echo "self-test: $1 should refuse $2 and said:"
        echo "$out"
        failures=$((failures + 1))
    fi
    clean
}

make_clean
mv "$tree" "$work/clean"
clean
for rule in layers umbrella sizes functions words marks; do accepts $rule "a clean tree"; done

# layers
bad_include() {  # bad_include FILE INCLUDED: one more include, on line 3
    printf '#include %s\n' "$2" | header | put "include/parley/$1"
    refuses layers "include/parley/$1:3"
}
bad_include base/uri.hpp '<parley/detail/posix.hpp>'
bad_include detail/posix.hpp '<parley/transport/pipe.hpp>'
bad_include shm/lane.hpp '<parley/codec/raw.hpp>'
bad_include transport/pipe.hpp '<parley/drive/blocking.hpp>'
bad_include transport/pipe.hpp '<parley/delivery/batched.hpp>'
bad_include transport/pipe.hpp '<parley/wire/frame.hpp>'
bad_include delivery/batched.hpp '<parley/transport/pipe.hpp>'
bad_include group/view.hpp '<parley/transport/pipe.hpp>'
bad_include codec/raw.hpp '<parley/channel.hpp>'
bad_include drive/blocking.hpp '<parley/channel.hpp>'
bad_include channel.hpp '<parley/testing/faulty.hpp>'
bad_include channel.hpp '<parley/asio.hpp>'
bad_include channel.hpp '<parley/drive/asio.hpp>'
bad_include channel.hpp '<parley/format.hpp>'
bad_include channel.hpp '<boost/asio/post.hpp>'
bad_include drive/blocking.hpp '<boost/asio.hpp>'
bad_include base/uri.hpp '<fmt/core.h>'
bad_include transport/pipe.hpp '<openssl/ssl.h>'
bad_include transport/all.hpp '<parley/transport/tls.hpp>'
bad_include delivery/batched.hpp '<thread>'
bad_include group/view.hpp '<mutex>'
bad_include wire/frame.hpp '<sys/socket.h>'
bad_include wire/frame.hpp '<unistd.h>  // with words behind it'
bad_include base/limits.hpp '   <parley/channel.hpp>'
printf 'auto t = clock::now();\n' | header | put include/parley/group/view.hpp
refuses layers include/parley/group/view.hpp:3
printf '\n' | header | put include/parley/unheard_of/a.hpp
refuses layers include/parley/unheard_of/a.hpp:1
printf '#include <parley/delivery/batched.hpp>\n#include <parley/codec/raw.hpp>\n' | header |
    put include/parley/group/view.hpp
accepts layers "protocol folders that include each other and the codec"
clean

# umbrella
printf '\n' | header | put include/parley/codec/raw.hpp
refuses umbrella include/parley/codec/raw.hpp:1
printf '\n' | header | put include/parley/codec/raw.hpp
printf '#include <parley/codec/raw.hpp>\n' | header | put include/parley/codec/codec.hpp
refuses umbrella include/parley/codec/codec.hpp:1
printf '#include <parley/codec/raw.hpp>\n' | header | put include/parley/codec/raw.hpp
refuses umbrella include/parley/codec/raw.hpp:1
printf '#include <parley/drive/asio.hpp>\n' | header | put include/parley/server.hpp
refuses umbrella include/parley/server.hpp:1
printf '#include <parley/channel.hpp>\n#include <parley/gone.hpp>\n' | header |
    put include/parley/parley.hpp
refuses umbrella include/parley/parley.hpp:4
printf '#include <parley/channel.hpp>\nstruct a;\n' | header | put include/parley/parley.hpp
refuses umbrella include/parley/parley.hpp:4

# sizes
lines 398 '' | header | put include/parley/base/bytes.hpp
accepts sizes "a header of 400 lines"
lines 399 '' | header | put include/parley/base/bytes.hpp
refuses sizes include/parley/base/bytes.hpp:401
{ printf '// '; lines 97 x | tr -d '\n'; echo; } | put tests/unit/base/bytes_test.cpp
accepts sizes "a line of 100 columns"
{ printf '// '; lines 98 x | tr -d '\n'; echo; } | put tests/unit/base/bytes_test.cpp
refuses sizes tests/unit/base/bytes_test.cpp:2
{ printf '// '; lines 97 é | tr -d '\n'; echo; } | put tests/unit/base/bytes_test.cpp
accepts sizes "a line of 100 columns and more bytes"
clean
printf '\n' | header | put include/parley/a/b/c.hpp
accepts sizes "two folders deep"
printf '\n' | header | put include/parley/a/b/c/d.hpp
rm "$tree/include/parley/a/b/c.hpp"
refuses sizes include/parley/a/b/c/d.hpp:1

# functions: HEAD starts on line 2 and the function has N + 2 lines, or more if the head has more
long_function() {  # long_function HEAD [FOOT]
    for n in 68 69; do
        { printf '%s {\n' "$1"; lines $n '    if (x) { y("}"); }  // }'; printf '}%s\n' "${2-}"; } |
            put tests/unit/base/bytes_test.cpp
        [ $n != 68 ] || accepts functions "70 lines of $1"
    done
    refuses functions tests/unit/base/bytes_test.cpp:2
}
long_function 'void f()'
long_function 'template <class T, class F = std::function<void(T)>> auto f(T a) -> result<T>'
long_function 'template <class T> requires (sizeof(T) < 8) bool operator<(const T& a, const T& b)'
long_function 'namespace a { class b : c<d> { e(int f = {}) : g_{f}, h_(f)' '};}'
long_function 'struct alignas(64) a { void b() const noexcept(true)' '};'
long_function 'TEST_CASE("a: a name with { and ( in it", "[a]")'
long_function 'auto f = [](int x) -> int' ';'
long_function '/* namespace */ char g = 123; static bool f(const char* a = R"(struct {)")'
not_a_function() {  # not_a_function HEAD FOOT
    { printf '%s {\n' "$1"; lines 200 '    void g() { f(); }'; printf '}%s\n' "$2"; } |
        put tests/unit/base/bytes_test.cpp
    accepts functions "200 lines of $1"
    clean
}
not_a_function 'namespace a' ''
not_a_function 'struct alignas(64) a : b<decltype(c())>' ';'
not_a_function 'template <class T> requires (sizeof(T) < 8) class a' ';'
not_a_function 'enum class a : b' ';'
not_a_function 'constexpr row rows[] =' ';'

# words
word() {  # word TEXT: refused on line 3 of a test
    printf 'int a;\n%s\n' "$1" | put tests/unit/base/bytes_test.cpp
    refuses words tests/unit/base/bytes_test.cpp:3
}
word 'auto t = std::chrono::system_clock::now();'
word 'std::random_device seed;'
word 'std::atomic_thread_fence(std::memory_order_acquire);'
word 'std::this_thread::sleep_for(1ms);'
word 'std::this_thread::sleep_until(when);'
word 'usleep (3);'
word '::sleep(3);'
word '// TODO: more'
word '/* FIXME */'
printf 'system_clock::now();  // tidy: allow the file carries the date\n// no system_clock here\n' |
    put tests/unit/base/bytes_test.cpp
accepts words "an excused line and a comment"
clean

# marks
{ echo '// Licence: another'; echo '#pragma once'; } >"$tree/include/parley/base/bytes.hpp"
refuses marks include/parley/base/bytes.hpp:1
printf 'int a;\n' | put include/parley/base/bytes.hpp
refuses marks include/parley/base/bytes.hpp:1
printf '#include "error.hpp"\n' | header | put include/parley/base/bytes.hpp
refuses marks include/parley/base/bytes.hpp:3

[ $failures = 0 ] || { echo "self-test: $failures failures"; exit 1; }
