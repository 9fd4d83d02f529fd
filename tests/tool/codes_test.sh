#!/bin/sh
# SPDX-License-Identifier: MIT
# Exit codes and words, --count, --follow, signals.
. "$(dirname "$0")/common.sh"
at=shm://$name

expect 0 "$tool" --help
said 'Exit codes:'
expect 0 "$tool" --version
expect 1 "$tool"
expect 1 "$tool" recv
expect 1 "$tool" dance
expect 1 "$tool" recv "$at?slots=7"
said "position $((${#at} + 1)): unknown option 'slots'"
expect 1 "$tool" send smoke://signal --in /dev/null
said "no transport for scheme 'smoke'"
expect 1 "$tool" send "shm://$name?capacity_bytes=x" --in /dev/null
said 'wants a whole number from 4096'
expect 2 "$tool" recv "unix://$work/no/such/directory/s"
said 'directory'
expect 4 "$tool" send "$at" --timeout 0.1 --in /dev/null
said 'no receiver'
expect 4 "$tool" recv "$at" --timeout 0.1
expect 6 "$tool" send "$at" --in "$work/none"
said 'No such file'
expect 6 "$tool" recv "$at" --out "$work/none/such"

# A second receiver is refused, and so is a message that cannot fit.
"$tool" recv "$at" --out "$work/out" 2>"$work/a.err" & first=$!
started=$first
eventually "$tool" send "$at" --in /dev/null --timeout 0
wait "$first" || wrong "an empty file: exit code $?"
"$tool" recv "$at" --follow -q --out "$work/out" 2>"$work/a.err" & first=$!
started=$first
eventually test -e "/dev/shm/parley.$name"
expect 2 "$tool" recv "$at"
said "live receiver, process $first"
expect 1 "$tool" send "$at" --in /dev/null --chunk 999999999
said 'has at most'

# --follow goes on after an end and after a death; a signal ends it in good order. Nothing is
# promised about the order of different senders, so each waits for the one before.
for word in one two; do
    echo $word | "$tool" send "$at"
    eventually grep -q $word "$work/out"
done
mkfifo "$work/input"
exec 9<>"$work/input"
"$tool" send "$at" --in "$work/input" 2>"$work/b.err" & sender=$!
started="$first $sender"
echo three >&9
eventually grep -q three "$work/out"
kill -9 "$sender"
ended 137 "$sender"
echo four | "$tool" send "$at"
eventually grep -q four "$work/out"
kill -TERM "$first"
ended 143 "$first"
[ "$(tr '\n' ' ' <"$work/out")" = 'one two three four ' ] || wrong "got: $(cat "$work/out")"
[ ! -e "/dev/shm/parley.$name" ] || wrong "a signal left the segment"

# Without --follow the death of the last sender ends it, after everything was received.
"$tool" recv "$at" --out "$work/out" 2>"$work/a.err" & first=$!
"$tool" send "$at" --in "$work/input" 2>"$work/b.err" & sender=$!
started="$first $sender"
echo last >&9
eventually grep -q last "$work/out"
kill -9 "$sender"
ended 3 "$first"
grep -q died "$work/a.err" || wrong "not told: $(cat "$work/a.err")"
ended 137 "$sender"

# --count stops in mid-stream; the sender is told that not everything was taken.
"$tool" recv "$at" --count 2 --out "$work/out" 2>"$work/a.err" & first=$!
started=$first
code=0
head -c 20000000 /dev/zero | "$tool" send "$at" --chunk 1000 2>"$work/b.err" || code=$?
[ "$code" = 3 ] || wrong "a sender whose receiver left ended with $code"
ended 0 "$first"
[ "$(wc -c <"$work/out")" = 2000 ] || wrong "--count 2 gave $(wc -c <"$work/out") bytes"

# A reader of stdout that leaves is an exit code, not a death.
{ code=0; "$tool" recv "$at" 2>"$work/a.err" || code=$?; echo "$code" >"$work/code"; } |
    head -c 10 >"$work/out" & first=$!
head -c 2000000 /dev/zero | "$tool" send "$at" 2>"$work/b.err" || :
wait "$first"
eventually test -s "$work/code"
[ "$(cat "$work/code")" = 6 ] || wrong "EPIPE ended with $(cat "$work/code")"
verdict
