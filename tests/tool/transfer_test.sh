#!/bin/sh
# SPDX-License-Identifier: MIT
# Files go through every backend and come out the same: some megabytes of real bytes, in the long
# campaign a GiB (of it what passes in seconds where each message costs much).
. "$(dirname "$0")/common.sh"

head -c 3000000 "$tool" >"$work/large"
huge=
if [ -n "${PARLEY_CAMPAIGN:-}" ]; then
    huge=huge
    tar -cf - /usr 2>/dev/null | head -c 1073741824 >"$work/huge" || :
    head -c 16777216 "$work/huge" >"$work/large"
fi
# The sizes at which things break: none, one, a chunk and one.
: >"$work/empty"
printf x >"$work/one"
head -c 65537 "$tool" >"$work/odd"

# through ADDRESS FILE [ARGUMENT...]
through() {
    address=$1 file=$2
    shift 2
    "$tool" recv "$address" --out "$work/out" --timeout 60 2>"$work/recv.err" &
    started=$!
    expect 0 "$tool" send "$address" --in "$file" --timeout 60 "$@"
    ended 0 "$started"
    cmp -s "$file" "$work/out" || wrong "$address: $file came out different"
    rm -f "$work/out"
}
for address in "shm://$name" "shm://$name?directory=$work&capacity_bytes=4096" \
    "unix://$work/s" "unix://$work/p?type=seqpacket" "unix://$work/d?type=datagram" \
    "unix://@$name" "unix://@$name?type=seqpacket" "unix://@$name?type=datagram" \
    "fifo://$work/f" "mq://$name" "sysv://$name" "boost_mq://$name" "signals://$name" \
    "file://$work/log" "mmap://$work/ring" "maildir://$work/mail"; do
    for file in large empty one odd; do through "$address" "$work/$file"; done
    case $address in
        boost_mq:* | signals:*) ;;
        *) [ -z "$huge" ] || through "$address" "$work/huge" ;;
    esac
    through "$address" "$work/odd" --chunk 1000
done
# The kernel chooses a port, the receiver tells which.
# chosen ADDRESS FILE
chosen() {
    rm -f "$work/recv.err"  # what the one before said
    "$tool" recv "$1" --out "$work/out" --timeout 60 2>"$work/recv.err" &
    started=$!
    eventually grep -q 'receiving at .*://' "$work/recv.err"
    at=$(sed -n 's/.*receiving at //p' "$work/recv.err" | head -n 1)
    expect 0 "$tool" send "$at" --in "$work/$2" --timeout 60
    ended 0 "$started"
    cmp -s "$work/$2" "$work/out" || wrong "$at: $2 came out different"
    rm -f "$work/out"
}
for address in "tcp://127.0.0.1:0" "tcp://localhost:0?no_delay=off"; do
    for file in large empty one odd $huge; do chosen "$address" $file; done
done
# Datagrams that fit into the receive buffer all come; what is lost would be said, with code 3.
for address in "udp://127.0.0.1:0?delivery=at_most_once" \
    "udp_multicast://239.77.0.8:0?delivery=at_most_once&interface=lo"; do
    for file in empty one odd; do chosen "$address" $file; done
done
# Both sides by one certificate, where the tool knows TLS.
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout "$work/key" \
    -out "$work/cert" -subj /CN=tool -addext subjectAltName=DNS:localhost 2>/dev/null
who="ca=$work/cert&cert=$work/cert&key=$work/key"
"$tool" info "tls://localhost:0?$who" >"$work/tls" 2>&1 && for file in large empty one odd $huge; do
    chosen "tls://localhost:0?$who" $file
done
[ ! -e "$work/tls" ] || ! grep -q 'message *up to' "$work/tls" ||
    expect 0 "$tool" bench "tls:?$who" --seconds 0.02 --json
for file in large empty one $huge; do
    "$tool" send 'pipe:?fd=1' <"$work/$file" | "$tool" recv 'pipe:?fd=0' >"$work/out" ||
        wrong "a pipe: exit code $?"
    cmp -s "$work/$file" "$work/out" || wrong "a pipe: $file came out different"
done

# A file is not cut off by a command that could not begin.
echo precious >"$work/keep"
expect 1 "$tool" recv "shm://$name?x=y" --out "$work/keep"
[ "$(cat "$work/keep")" = precious ] || wrong "the file is gone"
[ -z "$(find "$work" -type s -o -type p)" ] || wrong "sockets or pipes are left"
[ ! -e "/dev/shm/parley.$name" ] || wrong "a segment is left"
verdict
