#!/bin/sh
# SPDX-License-Identifier: MIT
# echo, hz, record and replay: what goes through comes out the same, of the same type, in its time.
. "$(dirname "$0")/common.sh"
camera=$(dirname "$tool")/../20_camera  # sends structs of 1 MiB
[ -x "$camera" ] || camera=$(dirname "$tool")/20_camera

value() { sed -n "s/.*\"$1\": \"\\{0,1\\}\\([^,}\"]*\\).*/\\1/p" "$2" | tail -n 1; }

# Recorded over one transport, replayed over another and recorded again: lengths, bytes and type are
# those of the first time.
head -c 1000000 "$tool" >"$work/bytes"
i=0
for pair in "unix://$work/a shm://$name" "shm://$name unix://$work/b?type=seqpacket" \
    "tcp://127.0.0.1:0 shm://$name"; do
    set -- $pair
    i=$((i + 1))
    rm -f "$work/r.err"
    "$tool" record "$1" "$work/log$i" --json --timeout 60 >"$work/first" 2>"$work/r.err" & recorder=$!
    started=$recorder
    from=$1
    case $1 in tcp:*) eventually grep -q 'receiving at' "$work/r.err"
        from=$(sed -n 's/.*receiving at //p' "$work/r.err" | head -n 1) ;;
    esac
    case $i in
        3) expect 0 "$camera" film "$from" 1 20 1000 ;;
        *) expect 0 "$tool" send "$from" --in "$work/bytes" --chunk 7777 --timeout 60 ;;
    esac
    ended 0 "$recorder"
    "$tool" record "$2" "$work/again$i" --json -q --timeout 60 >"$work/second" 2>"$work/r.err" & recorder=$!
    started=$recorder
    expect 0 "$tool" replay "$work/log$i" "$2" --fast --json -q --timeout 60
    ended 0 "$recorder"
    for what in messages bytes checksum fingerprint type; do
        one=$(value $what "$work/first")
        [ -n "$one" ] && [ "$one" = "$(value $what "$work/said")" ] &&
            [ "$one" = "$(value $what "$work/second")" ] ||
            wrong "$pair: $what: $(cat "$work/first" "$work/said" "$work/second")"
    done
done
[ "$(value messages "$work/second")" = 20 ] || wrong "pictures: $(cat "$work/second")"
grep -q '"type": "raw {u64 @0, i64 @8, u8\[1048560\] @16}' "$work/second" || wrong "not the struct"
# Through a pipe the bytes are those of the file, and a typed receiver takes what was recorded.
"$tool" replay "$work/log2" 'pipe:?fd=1' --fast -q 2>"$work/p.err" |
    "$tool" record 'pipe:?fd=0' "$work/piped2" --json -q >"$work/first" || wrong "a pipe: $?"
"$tool" replay "$work/piped2" 'pipe:?fd=1' --fast -q 2>"$work/p.err" |
    "$tool" recv 'pipe:?fd=0' >"$work/out" || wrong "a pipe: $?"
cmp -s "$work/bytes" "$work/out" || wrong "the bytes came out different"
"$camera" show "unix://$work/cam" 1000 >"$work/shown" 2>&1 & viewer=$!
started=$viewer
expect 0 "$tool" replay "$work/log3" "unix://$work/cam" --fast -q --timeout 60
ended 0 "$viewer"
grep -q 'pictures/s' "$work/shown" || wrong "shown: $(cat "$work/shown")"
# A log has one type; damage is told with its place, after what came before it.
"$tool" record "shm://$name" "$work/log3" -q >"$work/first" 2>"$work/r.err" & recorder=$!
started=$recorder
"$tool" send "shm://$name" --in "$work/bytes" --timeout 60 2>"$work/s.err" || :
got=0
wait "$recorder" || got=$?
[ "$got" = 2 ] || [ "$got" = 5 ] || wrong "another type was taken: $got"
grep -q 'raw {u64' "$work/r.err" || wrong "the types are not named: $(cat "$work/r.err")"
printf "damaged indeed" | dd of="$work/log1" bs=1 seek=500000 conv=notrunc 2>/dev/null
"$tool" recv "shm://$name" --out "$work/out" -q 2>"$work/r.err" & receiver=$!
started=$receiver
expect 5 "$tool" replay "$work/log1" "shm://$name" --fast -q --timeout 60
said 'damaged at byte'
wait "$receiver" || :
cmp -n "$(wc -c <"$work/out")" "$work/bytes" "$work/out" || wrong "what came before the damage"
expect 1 "$tool" replay "$work/log2" "shm://$name" --speed fast
expect 2 "$tool" replay "$work/none" "shm://$name"

# The spacing is kept, by at least what was recorded over the speed; --speed divides it.
"$tool" record "unix://$work/slow" "$work/slow.log" --follow --count 4 --json \
    >"$work/first" 2>"$work/r.err" & recorder=$!
started=$recorder
for line in 1 2 3 4; do
    # A sender of its own: one that started late would find several lines in its pipe at once. The
    # recorder leaves at the last message, so its sender may find nobody to say goodbye to.
    echo "line $line" | "$tool" send "unix://$work/slow" --timeout 60 2>"$work/s.err" ||
        [ "$line" = 4 ] || wrong "slowly: $(cat "$work/s.err")"
    sleep 0.2
done
ended 0 "$recorder"
took() { # took ARGUMENTS: milliseconds of a replay with them
    "$tool" recv "shm://$name" --out /dev/null -q & receiver=$!
    started=$receiver
    "$tool" replay "$work/slow.log" "shm://$name" "$@" --json -q >"$work/said" || wrong "replay $*"
    ended 0 "$receiver"
    value seconds "$work/said" | tr -d . | sed 's/^0*//'
}
normal=$(took) quarter=$(took --speed 4x)
# The first line may have been recorded late.
[ "$normal" -ge 400 ] || wrong "the spacing of 600 ms came out as $normal ms"
[ "$quarter" -ge 100 ] && [ "$quarter" -lt "$normal" ] || wrong "4x: $quarter ms, $normal at 1x"

# echo: typed as JSON, bytes in hex and as text; hz: the rhythm.
"$tool" echo "shm://$name" --json --count 5 >"$work/said" 2>"$work/r.err" & echoer=$!
started=$echoer
"$tool" replay "$work/slow.log" "shm://$name" --fast -q >/dev/null || wrong "replay"
ended 0 "$echoer"
[ "$(wc -l <"$work/said")" = 4 ] || wrong "echo: $(cat "$work/said")"
said '"hex": "6c696e6520310a"'
"$tool" echo "shm://$name" >"$work/said" 2>"$work/r.err" & echoer=$!
started=$echoer
"$tool" replay "$work/slow.log" "shm://$name" --fast -q >/dev/null || wrong "replay"
ended 0 "$echoer"
said '6c 69 6e 65 20 31 0a  |line 1.|'
"$tool" echo "unix://$work/e" --json >"$work/said" 2>"$work/r.err" & echoer=$!
started=$echoer
"$tool" replay "$work/again3" "unix://$work/e" --fast -q >/dev/null || wrong "replay"
ended 0 "$echoer"
[ "$(wc -l <"$work/said")" = 20 ] || wrong "echo: $(cut -c 1-200 "$work/said")"
cut -c 1-300 "$work/said" | grep -q '"n": 7, .*"value": \[7, [0-9]*, "[0-9a-f]*' ||
    wrong "no value: $(cut -c 1-300 "$work/said" | sed -n 7p)"
"$tool" hz "shm://$name" --interval 0.1 --json >"$work/said" 2>"$work/r.err" & hertz=$!
started=$hertz
"$tool" replay "$work/slow.log" "shm://$name" -q >/dev/null || wrong "replay"
ended 0 "$hertz"
[ "$(value messages "$work/said")" = 4 ] || wrong "hz: $(cat "$work/said")"
mean=$(value gap_mean_ms "$work/said")
[ "${mean%.*}" -ge 130 ] || wrong "hz: $(tail -n 1 "$work/said")"
grep -q '"span": "interval"' "$work/said" || wrong "hz: no intervals: $(cat "$work/said")"
[ ! -e "/dev/shm/parley.$name" ] || wrong "a segment is left"
verdict
