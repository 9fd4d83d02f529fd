#!/bin/sh
# SPDX-License-Identifier: MIT
# The demo of a minute: `sh examples/run.sh --build && sh examples/demo.sh [BUILD]`. A camera, a
# viewer, and what happens when they die. Every line that is printed was said by a program just now.
# Ends with 0 if everything was as it should be.
set -eu
cd "$(dirname "$0")/.."
bin=$(cd "${1:-build}" && pwd)
tool=$bin/parley
[ -x "$tool" ] || tool=$bin/tool/parley
camera=$bin/20_camera

work=$(mktemp -d)
peers=
finish() {
    for p in $peers; do kill -9 "$p" 2>/dev/null || :; done
    rm -rf "$work"
}
trap finish EXIT
trap 'exit 130' INT TERM
failed=0
began=$(date +%s)
name=demo-$$
at="shm://$name?capacity_bytes=16777216"

heading() { printf '\n%s\n' "$*"; }
wrong() { echo "WRONG: $*"; failed=1; }
# eventually COMMAND...: no fixed time is assumed.
eventually() {
    tries=0
    until "$@" >/dev/null 2>&1; do
        [ $((tries += 1)) -lt 1200 ] || { wrong "never: $*"; return 0; }
        sleep 0.02
    done
}
says() { eventually grep -q "$2" "$work/$1"; }
ms() { cut -d " " -f 1 /proc/uptime | tr -d . | sed "s/$/0/"; }  # the clock of steady_clock
cpu() { cut -d ' ' -f 14,15 "/proc/$1/stat" | tr ' ' + | sed 's/$/ + 0/'; }

heading "1. A camera and a viewer: pictures of 1 MiB in shared memory, loaned, nothing copied"
"$camera" show "$at" 1000000000 >"$work/viewer" 2>&1 & viewer=$!
"$camera" film "$at" 1 1000000000 1000 >"$work/camera" 2>&1 & film=$!
"$tool" recv "shm://idle-$name" --out /dev/null 2>"$work/idle.err" & idle=$!
peers="$viewer $film $idle"
says viewer 'pictures/s'
before=$(($(cpu "$idle"))) from=$(ms)
lines=$(wc -l <"$work/viewer")
more() { [ "$(wc -l <"$work/viewer")" -ge $((lines + 2)) ]; }
eventually more
tail -n 1 "$work/viewer"
echo "another receiver, parked, used $(($(cpu "$idle") - before)) of $((($(ms) - from) / 10)) ticks of processor time"
"$tool" top --once --interval 0.2 | grep -E "^CHANNEL|$name"

heading "2. kill -9 the camera, in the middle of a picture"
killed=$(ms)
kill -9 "$film"
says viewer 'died'
grep died "$work/viewer" | tail -n 1
told=$(sed -n 's/.*(at \([0-9]*\) ms).*/\1/p' "$work/viewer" | tail -n 1)
echo "told $((told - killed)) ms after the kill; nobody hangs, nothing is half a picture"
"$camera" film "$at" 2000000 1000000000 1000 >"$work/camera2" 2>&1 & film=$!
peers="$viewer $film $idle"
says viewer 'picture 2000000 follows'
grep 'picture 2000000 follows' "$work/viewer"

heading "   kill -9 the viewer; the next one takes its place under the same name"
kill -9 "$viewer"
"$camera" show "$at" 500 >"$work/viewer2" 2>&1 & viewer=$!
peers="$viewer $film $idle"
says camera2 'receiver'
cat "$work/camera2"
wait "$viewer" || wrong "the second viewer ended with $?"
tail -n 1 "$work/viewer2"
kill "$film" "$idle" 2>/dev/null || :
wait "$film" "$idle" 2>/dev/null || :
peers=
left=$(find /dev/shm -name "parley.*$name*" | wc -l)
echo "$left files are left in /dev/shm"
[ "$left" = 0 ] || wrong "leftovers"

heading "3. Another address, the same programs"
for other in "unix://$work/cam" "tcp://127.0.0.1:$((20000 + $$ % 20000))" "file://$work/cam.log"; do
    "$camera" show "$other" 1000 >"$work/said" 2>&1 & viewer=$!
    peers=$viewer
    "$camera" film "$other" 1 200 1000 || { wrong "$other"; kill "$viewer"; }
    wait "$viewer" || wrong "$other: $(cat "$work/said")"
    peers=
    printf '%-34s %s\n' "$(echo "$other" | sed "s|$work||")" "$(tail -n 1 "$work/said")"
done
"$camera" show "shm://again-$name" 1000 >"$work/said" 2>&1 & viewer=$!
peers=$viewer
echo "\$ parley replay cam.log shm://again --speed 10x"
"$tool" replay "$work/cam.log" "shm://again-$name" --speed 10x -q || { wrong "replay"; kill "$viewer"; }
wait "$viewer" || wrong "$(cat "$work/said")"
peers=

heading "4. Ask and be answered"
"$bin/13_calculator" || wrong "the calculator"

heading "5. A program that was compiled with another struct"
"$camera" show "$at" 1 >"$work/said" 2>&1 & viewer=$!
peers=$viewer
eventually test -e "/dev/shm/parley.$name"
"$camera" other "$at" || wrong "it was not refused"
kill -9 "$viewer"
wait "$viewer" 2>/dev/null || :
peers=
"$tool" doctor | grep "$name" || wrong "the doctor does not see the dead viewer"
"$tool" clean | grep "$name" || wrong "it was not cleaned"

heading "The demo took $(($(date +%s) - began)) s"
[ $failed = 0 ] && echo 'everything as it should be' || echo 'SOMETHING WENT WRONG'
exit $failed
