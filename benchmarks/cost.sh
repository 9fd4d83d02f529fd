#!/bin/sh
# SPDX-License-Identifier: MIT
# Instructions (callgrind) and system calls (strace) for each 64-byte message, through parley and
# through the bare mechanism: sh benchmarks/cost.sh BUILD/benchmarks/cost_loop [MECHANISM]...
set -eu
loop=${1:-build/release/benchmarks/cost_loop}
[ $# -eq 0 ] || shift
[ -x "$loop" ] || { echo "usage: sh benchmarks/cost.sh PATH_OF_COST_LOOP" >&2; exit 2; }
for tool in valgrind strace; do
    command -v $tool >/dev/null || { echo "cost.sh needs $tool" >&2; exit 2; }
done
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

instructions() { # who what: per send and receive in one process; "named" is parley by a name
    program="$loop $1"
    [ "$1" != named ] || program=${loop%loop}named
    for n in 1000 11000; do
        # shellcheck disable=SC2086
        valgrind --tool=callgrind --callgrind-out-file=/dev/null $program "$2" $n 2>&1 |
            awk '/Collected/ {print $4}' >"$work/$n"
    done
    echo $((($(cat "$work/11000") - $(cat "$work/1000")) / 10000))
}
calls() { # who what: per round trip of two processes, both sides together
    for n in 1000 3000; do
        # Whether the other side is there yet is asked as often as it takes.
        strace -f -c -S calls -e 'trace=!clock_nanosleep,sched_yield' -o "$work/c$n" "$loop" "$1" "$2" $n two >/dev/null 2>&1 || true
        awk '$NF == "total" {t = $3; if ($3 !~ /^[0-9]+$/ || NF < 5) t = $(NF - 2); print $4}' \
            "$work/c$n" >"$work/n$n"
    done
    awk -v a="$(cat "$work/n1000")" -v b="$(cat "$work/n3000")" \
        'BEGIN {printf "%.3f", (b - a) / 2000}'
}

names=${*:-$("$loop" list)}
printf '%-16s %28s %10s %34s\n' backend 'instructions: parley / bare' more \
    'calls a round trip: parley / bare'
for what in $names; do
    case $what in
        signals) p=- b=- more=- ;; # valgrind knows no pidfd
        *)
            p=$(instructions parley "$what") b=$(instructions bare "$what")
            more=$((p - b))
            ;;
    esac
    case $what in
        shm | mmap | boost_mq) cp=- cb=- ;; # they make none, or as many as one waits
        *) cp=$(calls parley "$what") cb=$(calls bare "$what") ;;
    esac
    printf '%-16s %18s / %-7s %10s %24s / %-7s\n' "$what" "$p" "$b" "$more" "$cp" "$cb"
done
[ $# -eq 0 ] || exit 0
for what in stream seqpacket datagram; do
    p=$(instructions named $what) b=$(instructions bare $what)
    printf '%-16s %18s / %-7s %10s %24s / %-7s\n' named-$what "$p" "$b" $((p - b)) - -
done
