#!/bin/sh
# SPDX-License-Identifier: MIT
# check.sh ROOT RULE...   prints `file:line: rule: words` per offence and ends with 1 if there is one.
#   layers     includes go down only; Asio, fmt, system headers and clocks stay where they belong
#   umbrella   every header can be reached from parley.hpp (or asio.hpp, format.hpp, testing/)
#   sizes      headers <= 400 lines, lines <= 100 columns, at most two folders deep
#   functions  at most 70 lines each
#   words      banned words: the wall clock, random_device, sleeps in tests, notes to self
#   marks      licence line, #pragma once, no relative includes
# A line that ends with `// tidy: allow <reason>` is excused from `words`.
set -eu
LC_ALL=C  # the same bytes for every awk; columns are counted as UTF-8 characters below
export LC_ALL
here=$(cd "$(dirname "$0")" && pwd)
[ $# -ge 2 ] || { sed -n '3,10p' "$0"; exit 2; }
cd "$1"
shift

sources() {  # sources FOLDER...: the C++ files below those folders that exist
    for folder in "$@"; do
        [ ! -d "$folder" ] || find "$folder" -type f \( -name '*.hpp' -o -name '*.cpp' \)
    done | sort
}

found=$(mktemp)
trap 'rm -f "$found"' EXIT
for rule in "$@"; do
    case $rule in
        layers | umbrella | marks) files=$(sources include) ;;
        sizes | functions | words) files=$(sources include tests examples benchmarks) ;;
        *) echo "check.sh: no rule '$rule'" >&2; exit 2 ;;
    esac
    [ "$rule" != marks ] || files="$files $(sources tests examples benchmarks)"
    [ -n "$files" ] || { echo "check.sh: no sources below $PWD" >&2; exit 2; }
    # File names of this project have no blanks, so the list may be split into words.
    # shellcheck disable=SC2086
    awk -v rule="$rule" -f "$here/$rule.awk" $files >>"$found"
done
if [ -s "$found" ]; then
    cat "$found"
    exit 1
fi
