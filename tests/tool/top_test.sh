#!/bin/sh
# SPDX-License-Identifier: MIT
# top: what flows is seen, nobody is disturbed, and nothing is opened for writing.
. "$(dirname "$0")/common.sh"
place="?directory=$work"
at="shm://flow$place"

# A stream of some hundred messages a second that never ends by itself, and one channel where nothing moves.
mkfifo "$work/input"
"$tool" recv "$at&writers_max=3&capacity_bytes=65536" --out "$work/out" 2>"$work/a.err" & receiver=$!
(n=1; while :; do seq $n $((n + 1999)); n=$((n + 2000)); sleep 0.02; done) >"$work/input" & lines=$!
"$tool" send "$at" --in "$work/input" --chunk 1000 2>"$work/b.err" & sender=$!
"$tool" recv "shm://idle$place" --out /dev/null 2>"$work/c.err" & idle=$!
"$tool" recv "shm://dead$place" --out /dev/null 2>"$work/d.err" & dead=$!
"$tool" recv "unix://$work/sock" --out /dev/null 2>"$work/e.err" & sock=$!
started="$receiver $lines $sender $idle $dead $sock"
for file in parley.flow parley.idle parley.dead sock; do eventually test -e "$work/$file"; done
kill -9 "$dead"
ended 137 "$dead"
eventually test -s "$work/out"

# field NAME ADDRESS: from the last line of JSON.
field() {
    tail -n 1 "$work/said" | tr '{' '\n' | grep -F "\"$2" | sed -n "s/.*\"$1\": \\([^,}]*\\).*/\\1/p"
}
flows() {
    "$tool" top --once --json --interval 0.2 "$work" >"$work/said" 2>&1 &&
        rate=$(field messages_per_s shm://flow) && [ "${rate%.*}" -gt 10 ]
}
eventually flows
[ "$(field writers shm://flow)" = 1 ] || wrong "writers: $(cat "$work/said")"
[ "$(field owner_pid shm://flow)" = "$receiver" ] || wrong "owner: $(cat "$work/said")"
bytes=$(field bytes_per_s shm://flow)
[ "${bytes%.*}" -gt "${rate%.*}" ] || wrong "bytes: $(cat "$work/said")"
[ "$(field messages_per_s shm://idle)" = 0.0 ] || wrong "idle: $(cat "$work/said")"
[ "$(field state shm://dead)" = '"stale"' ] || wrong "dead: $(cat "$work/said")"
[ "$(field owner_pid "unix://$work/sock")" = "$sock" ] || wrong "socket: $(cat "$work/said")"
[ "$(field messages_per_s "unix://$work/sock")" = null ] || wrong "socket: $(cat "$work/said")"
expect 0 "$tool" top --once --interval 0.05 "$work"
said "shm://idle"
said "MSG/S"

# It goes on until a signal, a line for each look.
"$tool" top --json --interval 0.01 "$work" >"$work/looks" 2>"$work/f.err" & top=$!
started="$started $top"
many() { [ "$(wc -l <"$work/looks")" -ge 20 ]; }
eventually many
kill -TERM "$top"
ended 143 "$top"

# Whoever may only read may look: a reader that stands still is not woken, a full lane is seen.
kill -STOP "$receiver"
filled() { "$tool" top --once --json --interval 0.05 "$work" >"$work/said" &&
    [ "$(field messages_per_s shm://flow)" = 0.0 ] &&
    [ "$(field waiting_messages shm://flow)" -gt 50 ]; }
eventually filled
kill -CONT "$receiver"

# Every file of a segment is opened and mapped for reading only, and no lock is asked for but to
# see whether somebody has it.
if command -v strace >/dev/null && strace -o "$work/trace" true 2>/dev/null; then
    # A sanitizer that looks for leaks wants to trace, too.
    expect 0 env ASAN_OPTIONS=detect_leaks=0 \
        strace -o "$work/trace" -y -e trace=openat,open,mmap,fcntl,mprotect,ftruncate,write \
        "$tool" top --once --interval 0.05 "$work"
    grep 'parley\.' "$work/trace" | grep -v '^write(1' >"$work/touched"
    grep -q 'mmap(.*PROT_READ, MAP_SHARED' "$work/touched" || wrong "no map: $(cat "$work/touched")"
    ! grep -E 'PROT_WRITE|O_RDWR|O_WRONLY|SETLK|ftruncate|mprotect|write\(' "$work/touched" ||
        wrong "it may change what it looks at"
else
    echo "no strace that may trace: that files are opened for reading only was not looked at"
fi
# The same without strace, where this user may lower itself: who has no right to write sees it all.
if [ "$(id -u)" = 0 ] && command -v setpriv >/dev/null; then
    chmod 755 "$work"
    chmod 444 "$work/parley.idle"
    setpriv --reuid 65534 --regid 65534 --clear-groups \
        "$tool" top --once --json --interval 0.05 "$work" >"$work/said" || wrong "as nobody: $?"
    [ "$(field state shm://idle)" = '"live"' ] || wrong "as nobody: $(cat "$work/said")"
    [ "$(field owner_uid shm://idle)" = 0 ] || wrong "as nobody: $(cat "$work/said")"
else
    echo "not root, or no setpriv: the look of a user without rights was not tried"
fi

# The stream came through it all whole and in order.
kill "$lines" 2>/dev/null || :
wait "$lines" 2>/dev/null || :
ended 0 "$sender"
ended 0 "$receiver"
whole=$(wc -l <"$work/out")
[ "$whole" -gt 1000 ] && seq 1 "$whole" | cmp - "$work/out" -n "$(seq 1 "$whole" | wc -c)" ||
    wrong "the stream was disturbed"
verdict
