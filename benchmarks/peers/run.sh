#!/bin/sh
# SPDX-License-Identifier: MIT
# parley beside others, as Debian 12 ships them: installs what is missing, builds, runs, draws.
# `sh benchmarks/peers/run.sh` on a quiet machine; everything else is handed to compare_peers:
#   --rounds N     so many runs of each, in turn (default 15)
#   --seconds S    of one run (default 0.2)
#   --patience S   wait at most so long before each pair while others keep the machine busy (default 2)
#   --peer NAME    only boost, zeromq, nng, iceoryx, grpc or capnp
#   --json         a line for each ratio
set -eu
cd "$(dirname "$0")/../.."
. cmake/debian_packages.sh
case ${1:-} in -h | --help) sed -n '3,9p' benchmarks/peers/run.sh | cut -c 3-; exit 0 ;; esac

debian_packages cmake g++ ninja-build pkgconf libboost1.81-dev libfmt-dev
for peer in libzmq3-dev libnng-dev "libiceoryx-posh-dev libiceoryx-hoofs-dev iceoryx" \
    "libgrpc++-dev protobuf-compiler-grpc protobuf-compiler libprotobuf-dev" \
    "capnproto libcapnp-dev"; do
    # shellcheck disable=SC2086
    debian_packages $peer || echo "-- goes without $peer" >&2
done
cmake -S . -B build/peers -G Ninja -DCMAKE_BUILD_TYPE=Release -DPARLEY_PEERS=ON -DPARLEY_TESTS=OFF \
    -DPARLEY_EXAMPLES=OFF -DPARLEY_BENCHMARKS=OFF -DPARLEY_VERIFY_HEADERS=OFF >build/peers.log ||
    { cat build/peers.log; exit 1; }
cmake --build build/peers --target peers >>build/peers.log || { tail -n 30 build/peers.log; exit 1; }
chart=build/peers/peers.svg
build/peers/benchmarks/peers/compare_peers --chart "$chart" "$@"
echo "-- drawn: $chart" >&2
