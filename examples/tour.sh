#!/bin/sh
# SPDX-License-Identifier: MIT
# The tour, started by run.sh: real processes, a real file, real deaths. Every line that is
# printed was measured or said by a program just now.
#   --file FILE   the file to move (default: the compiler, or another large program)
# Ends with 0 if everything was as it should be.
set -eu
cd "$(dirname "$0")/.."
bin=$PWD/build
tool=$bin/parley

file=
while [ $# -gt 0 ]; do
    case $1 in
        --file) [ $# -ge 2 ] || { echo "tour: --file wants a name" >&2; exit 2; }
            file=$2; shift 2 ;;
        *) sed -n '3,6p' examples/tour.sh | cut -c 3- >&2; exit 2 ;;
    esac
done
if [ -z "$file" ]; then
    for file in "$(g++ -print-prog-name=cc1plus 2>/dev/null)" /usr/bin/cmake /bin/bash; do
        [ -f "$file" ] && break
    done
fi

work=$(mktemp -d)
peers=
finish() {
    for p in $peers; do kill -9 "$p" 2>/dev/null || :; done
    "$tool" clean "mq://parley-tour-$$" "sysv://parley-tour-$$" "boost_mq://parley-tour-$$" >/dev/null 2>&1 || :
    rm -rf "$work"
}
trap finish EXIT
trap 'exit 130' INT TERM
began=$(date +%s)
failed=0
before=$(find /dev/shm -name "parley.tour-$$*" | wc -l)
sum=$(sha256sum <"$file" | cut -d ' ' -f 1)
bytes=$(wc -c <"$file")

heading() { printf '\n%s\n' "$*"; }
now() { date +%s%N; }
field() { sed -n "s/.*\"$1\": \\([0-9.]*\\).*/\\1/p" "$work/bench"; }

# row NAME ADDRESS: the file was moved from $start to $end and lies in $work/out; then latency.
row() {
    same=DIFFERENT
    if [ "$(sha256sum <"$work/out" | cut -d ' ' -f 1)" = "$sum" ]; then same=equal; else failed=1; fi
    rm -f "$work/out"
    "$tool" bench "$2" --seconds 0.4 --json >"$work/bench" || failed=1
    awk -v name="$1" -v same="$same" -v bytes="$bytes" -v ns=$((end - start)) \
        -v p50="$(field p50_us)" -v p99="$(field p99_us)" -v rate="$(field messages_per_s)" 'BEGIN {
            printf "%-26s %7.0f MB/s  %-9s %8.1f %8.1f %12.2f\n", name, bytes / ns * 1e3, same,
                   p50, p99, rate / 1e6 }'
}

# move NAME ADDRESS BENCHED: two processes that share nothing but the address.
move() {
    start=$(now)
    "$tool" recv "$2" --out "$work/out" --timeout 30 &
    receiver=$!
    peers=$receiver
    "$tool" send "$2" --in "$file" --timeout 30 || failed=1
    wait "$receiver" || failed=1
    end=$(now)
    peers=
    row "$1" "$3"
}

heading "1. One program, one file, every way: $(basename "$file"), $bytes bytes"
echo "   The rate is from file to file and includes the start of both processes. Round trips and"
echo "   messages one way are of 64 bytes, between two processes (inproc: two threads)."
printf '\n%-26s %12s  %-9s %8s %8s %12s\n' '' 'file' 'sha256' 'p50 us' 'p99 us' 'million/s'
move 'shared memory' "shm://tour-$$" shm:
move 'unix stream' "unix://$work/stream" 'unix:'
move 'unix seqpacket' "unix://$work/packets?type=seqpacket" 'unix:?type=seqpacket'
move 'unix datagram' "unix://$work/datagrams?type=datagram" 'unix:?type=datagram'
move 'unix, abstract name' "unix://@tour-$$" 'unix://@x'
# The kernel chooses the port, the receiver tells which.
start=$(now)
"$tool" recv tcp://127.0.0.1:0 --out "$work/out" --timeout 30 2>"$work/port" &
receiver=$!
peers=$receiver
tries=0
until grep -q 'receiving at' "$work/port" || [ $((tries += 1)) -gt 2000 ]; do sleep 0.005; done
"$tool" send "$(sed -n 's/.*receiving at //p' "$work/port")" --in "$file" --timeout 30 || failed=1
wait "$receiver" || failed=1
end=$(now)
peers=
row 'tcp, loopback' tcp:
# Datagrams are lost where they come faster than they are taken: only as much as the kernel keeps.
whole=$file whole_sum=$sum whole_bytes=$bytes
head -c 100000 "$whole" >"$work/part"
file=$work/part sum=$(sha256sum <"$work/part" | cut -d ' ' -f 1) bytes=100000
for at in 'udp://127.0.0.1:0?delivery=at_most_once' \
    'udp_multicast://239.255.77.2:0?delivery=at_most_once&interface=lo'; do
    rm -f "$work/port"  # what the one before said
    start=$(now)
    "$tool" recv "$at" --out "$work/out" --timeout 30 2>"$work/port" &
    receiver=$!
    peers=$receiver
    tries=0
    until grep -q 'receiving at' "$work/port" || [ $((tries += 1)) -gt 2000 ]; do sleep 0.005; done
    "$tool" send "$(sed -n 's/.*receiving at //p' "$work/port")" --in "$file" --timeout 30 || failed=1
    wait "$receiver" || failed=1
    end=$(now)
    peers=
    scheme=${at%%:*}
    row "$scheme, loopback, 100 kB" "$scheme:?${at#*\?}"
done
file=$whole sum=$whole_sum bytes=$whole_bytes
start=$(now)
"$tool" send 'pipe:?fd=1' --in "$file" | "$tool" recv 'pipe:?fd=0' --out "$work/out" || failed=1
end=$(now)
row 'pipe' pipe:
move 'named pipe' "fifo://$work/fifo" "fifo://$work/fifo"
start=$(now)
"$bin/11_threads" "$file" "$work/out" >/dev/null || failed=1
end=$(now)
row 'inproc' inproc:

# A signal carries 24 bytes: as much of the file as it moves in a moment.
head -c 4000000 "$file" >"$work/part"
whole=$file whole_sum=$sum whole_bytes=$bytes
file=$work/part sum=$(sha256sum <"$work/part" | cut -d ' ' -f 1) bytes=$(wc -c <"$work/part")
move 'signals, 4 MB of it' "signals://tour-$$" signals:
file=$whole sum=$whole_sum bytes=$whole_bytes

# Queues of the kernel, of which a container may have none, and of Boost.
for queue in mq sysv boost_mq; do
    at=$queue://parley-tour-$$
    if "$tool" send "$at" --in /dev/null --timeout 5 2>"$work/said"; then
        "$tool" clean "$at" >/dev/null  # with the goodbye of that sender
        move "$queue" "$at" "$queue:"
        "$tool" clean "$at" >/dev/null || failed=1
    else
        printf '%-26s not here: %s\n' "$queue" "$(tail -n 1 "$work/said")"
    fi
done

# What outlives both: the sender is gone before the receiver comes.
later() {
    start=$(now)
    "$tool" send "$2" --in "$file" --timeout 30 || failed=1
    "$tool" recv "$2" --out "$work/out" --timeout 30 || failed=1
    end=$(now)
    row "$1" "$3"
    "$tool" clean "$2" >/dev/null || failed=1
}
later 'log in a file, later' "file://$work/log" 'file:?rotate_bytes=16777216&keep=0'
later 'mail directory, later' "maildir://$work/mail" 'maildir:?messages=100'
move 'mapped ring in a file' "mmap://$work/ring" mmap:
"$tool" clean "mmap://$work/ring" >/dev/null || failed=1

heading "2. Two programs that disagree about a struct"
"$bin/06_types" || failed=1

heading "3. A sender is killed; the receiver is told"
mkfifo "$work/input"
exec 9<>"$work/input"
"$tool" recv "shm://tour-$$" --out "$work/out" &
receiver=$!
peers=$receiver
"$tool" send "shm://tour-$$" --in "$work/input" &
sender=$!
peers="$receiver $sender"
echo "the last words" >&9
tries=0
until [ -s "$work/out" ] || [ $((tries += 1)) -gt 200 ]; do sleep 0.05; done
"$tool" info "shm://tour-$$" | grep -E '^(state|owner|type|lanes)'
echo "\$ kill -9 $sender"
kill -9 "$sender"
code=0
wait "$receiver" || code=$?
peers=
wait "$sender" 2>/dev/null || :
exec 9>&-
echo "the receiver got \"$(cat "$work/out")\" and ended with exit code $code"
[ $code = 3 ] || failed=1
"$bin/07_peer_lost" || failed=1

heading "4. Many senders, and a picture that nobody copies"
"$bin/08_many_senders" || failed=1
"$bin/05_loan" || failed=1

heading "5. A publisher is killed under its subscribers, and another one goes on"
"$bin/16_pubsub" || failed=1

heading "6. What is left of all this"
left=$(($(find /dev/shm -name "parley.tour-$$*" | wc -l) - before))
sockets=$(find "$work" -type s | wc -l)
fifos=$(find "$work" -type p ! -name input | wc -l)
echo "$left segments, $sockets socket files, $fifos named pipes"
[ "$left" = 0 ] && [ "$sockets" = 0 ] && [ "$fifos" = 0 ] || failed=1

[ $failed = 0 ] && verdict='everything as it should be' || verdict='SOMETHING WENT WRONG'
heading "The tour took $(($(date +%s) - began)) s: $verdict"
exit $failed
