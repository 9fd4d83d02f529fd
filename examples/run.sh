#!/bin/sh
# SPDX-License-Identifier: MIT
# Builds the tool (build/parley) and the examples (beside it), then shows them at work:
# `sh examples/run.sh` on a bare Debian 12 is enough.
#   --build      only build
#   --jobs N     compilers at once (default: one per processor)
# Everything else is handed to the tour.
set -eu
cd "$(dirname "$0")/.."
. cmake/debian_packages.sh

only_build='' jobs=$(nproc)
while [ $# -gt 0 ]; do
    case $1 in
        --build) only_build=1; shift ;;
        --jobs) [ $# -ge 2 ] || { echo "examples/run.sh: --jobs wants a number" >&2; exit 2; }
            jobs=$2; shift 2 ;;
        -h | --help) sed -n '3,7p' examples/run.sh | cut -c 3-; exit 0 ;;
        *) break ;;
    esac
done

debian_packages cmake g++ ninja-build libboost1.81-dev libfmt-dev libcli11-dev libssl-dev openssl

generator=
if [ ! -e build/CMakeCache.txt ] && command -v ninja >/dev/null; then generator='-G Ninja'; fi
# shellcheck disable=SC2086
cmake --preset examples $generator
cmake --build build --parallel "$jobs"
[ -z "$only_build" ] || exit 0

if [ -e examples/tour.sh ]; then
    exec sh examples/tour.sh "$@"
fi
echo "examples: built under build/; there is no tour yet"
