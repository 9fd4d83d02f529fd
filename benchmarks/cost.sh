#!/bin/sh
# SPDX-License-Identifier: MIT
# Instructions (callgrind) and system calls (strace) for each 64-byte message, through parley and
# through the bare mechanism: sh benchmarks/cost.sh BUILD/benchmarks/cost_loop
set -eu
loop=${1:-build/release/benchmarks/cost_loop}
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
        strace -f -c -S calls -e trace='read,write,sendto,recvfrom,sendmsg,recvmsg,poll,ppoll,epoll_wait,epoll_pwait2,futex,fcntl,readv,writev,mq_timedsend,mq_timedreceive,mq_getsetattr,msgsnd,msgrcv,msgctl,sched_yield' \
            -o "$work/c$n" "$loop" "$1" "$2" $n two >/dev/null 2>&1 || true
        awk '$NF == "total" {t = $3; if ($3 !~ /^[0-9]+$/ || NF < 5) t = $(NF - 2); print $4}' \
            "$work/c$n" >"$work/n$n"
    done
    awk -v a="$(cat "$work/n1000")" -v b="$(cat "$work/n3000")" \
        'BEGIN {printf "%.3f", (b - a) / 2000}'
}

printf '%-16s %28s %10s %34s\n' backend 'instructions: parley / bare' more \
    'calls a round trip: parley / bare'
for what in shm pipe stream seqpacket datagram fifo tcp udp mq sysv; do
    p=$(instructions parley $what) b=$(instructions bare $what)
    if [ $what = shm ]; then
        cp=- cb=-
    else
        cp=$(calls parley $what) cb=$(calls bare $what)
    fi
    printf '%-16s %18s / %-7s %10s %24s / %-7s\n' $what "$p" "$b" $((p - b)) "$cp" "$cb"
done
for what in stream seqpacket datagram; do
    p=$(instructions named $what) b=$(instructions bare $what)
    printf '%-16s %18s / %-7s %10s %24s / %-7s\n' named-$what "$p" "$b" $((p - b)) - -
done
