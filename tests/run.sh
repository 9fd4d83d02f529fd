#!/bin/sh
# SPDX-License-Identifier: MIT
# Builds and runs all tests: `sh tests/run.sh` on a bare Debian 12 is enough.
#   --preset NAME      check (default), dev, tsan, release, coverage, tidy (builds only)
#   --compiler NAME    g++ or clang++-14 (default: the system's)
#   --only REGEX       tests whose names match
#   --skip REGEX       leave out labels: unit, conformance, process, compile_fail, tidy, install
#   --campaign         the long campaigns: hours instead of minutes
#   --jobs N           compilers at once, and one test more (default: one per processor)
# Ends with 0 if everything passed, 1 if something failed, 2 if it was called wrongly.
set -eu
cd "$(dirname "$0")/.."
. cmake/debian_packages.sh

usage() { sed -n '3,10p' tests/run.sh | cut -c 3-; }

preset=check compiler='' only='' skip='' campaign='' jobs=$(nproc)
while [ $# -gt 0 ]; do
    case $1 in
        --campaign) campaign=1; shift; continue ;;
        -h | --help) usage; exit 0 ;;
        --preset | --compiler | --only | --skip | --jobs) ;;
        *) usage >&2; exit 2 ;;
    esac
    [ $# -ge 2 ] || { usage >&2; exit 2; }
    case $1 in
        --preset) preset=$2 ;;
        --compiler) compiler=$2 ;;
        --only) only=$2 ;;
        --skip) skip=$2 ;;
        --jobs) jobs=$2 ;;
    esac
    shift 2
done

packages='cmake g++ ninja-build libboost1.81-dev libfmt-dev libssl-dev openssl catch2 libcli11-dev
pkgconf e2fsprogs'
case $preset-$compiler in
    tidy-*) packages="$packages clang-14 clang-tidy-14" ;;
    *-clang*-14 | *-clang++) packages="$packages clang-14 libclang-rt-14-dev" ;;
esac
# shellcheck disable=SC2086
debian_packages $packages

start=$(date +%s)
folder=build/$preset
set -- --preset "$preset"
if [ -n "$compiler" ]; then
    folder=$folder-$(basename "$compiler")
    set -- "$@" "-DCMAKE_CXX_COMPILER=$compiler"
    [ "$preset" != check ] || set -- "$@" -DPARLEY_VERIFY_INNER_HEADERS=ON  # who has the time
fi
if [ ! -e "$folder/CMakeCache.txt" ] && command -v ninja >/dev/null; then
    set -- "$@" -G Ninja
fi
if [ -n "$campaign" ]; then
    export PARLEY_CAMPAIGN=1
    set -- "$@" -DPARLEY_VERIFY_INNER_HEADERS=ON
    timeout=86400
else
    timeout=900
fi
cmake "$@" -B "$folder" "-DPARLEY_TEST_TIMEOUT=$timeout"
# All that does not compile is told at once.
keep_going=
! grep -q '^CMAKE_GENERATOR:.*Ninja' "$folder/CMakeCache.txt" || keep_going='-- -k 0'
# shellcheck disable=SC2086
cmake --build "$folder" --parallel "$jobs" $keep_going
built=$(date +%s)
[ "$preset" != tidy ] || { echo "tests: clang-tidy is content ($((built - start)) s)"; exit 0; }

# One more at once than there are processors: the long tests wait more than they compute.
set -- --test-dir "$folder" --output-on-failure --no-tests=error --timeout $timeout \
    -j "$((jobs + 1))"
[ -z "$only" ] || set -- "$@" -R "$only"
[ -z "$skip" ] || set -- "$@" -LE "$skip"
# The thread sanitizer wants its shadow where a kernel with much address randomisation may put
# other things.
wrapper=
if [ "$preset" = tsan ] && setarch "$(uname -m)" -R true 2>/dev/null; then
    wrapper="setarch $(uname -m) -R"
fi
verdict=passed rc=0
$wrapper ctest "$@" || { verdict=FAILED rc=1; }
end=$(date +%s)
echo "tests: $verdict: preset $preset, compiler ${compiler:-default}," \
    "built in $((built - start)) s, run in $((end - built)) s"
exit $rc
