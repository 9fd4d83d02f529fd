#!/bin/sh
# SPDX-License-Identifier: MIT
# list, info, clean and bench, on what is live, stale, damaged and somebody else's.
. "$(dirname "$0")/common.sh"
place="?directory=$work"

mkfifo "$work/input"
exec 9<>"$work/input"
"$tool" recv "shm://live$place&writers_max=3" --out "$work/out" 2>"$work/a.err" & live=$!
"$tool" recv "shm://dead$place" --out /dev/null 2>"$work/b.err" & dead=$!
"$tool" recv "unix://$work/sock?type=seqpacket" --out /dev/null 2>"$work/c.err" & sock=$!
"$tool" recv "unix://$work/deadsock" --out /dev/null 2>"$work/d.err" & deadsock=$!
"$tool" send "shm://live$place" --in "$work/input" 2>"$work/e.err" & sender=$!
started="$live $dead $sock $deadsock $sender"
echo hello >&9
eventually grep -q hello "$work/out"
for file in parley.dead sock deadsock; do eventually test -e "$work/$file"; done
eventually "$tool" info "unix://$work/deadsock"
kill -9 "$dead" "$deadsock"
ended 137 "$dead"
ended 137 "$deadsock"
echo 'this is no segment' >"$work/parley.foreign"
head -c 4096 "$work/parley.dead" >"$work/parley.damaged"

expect 0 "$tool" list "$work"
grep -q "^shm://live.* live .*$live u.* 1/3 .*any type" "$work/said" || wrong "live: $(cat "$work/said")"
grep -q "^shm://dead.* stale " "$work/said" || wrong "dead: $(cat "$work/said")"
grep -q "^unix://$work/sock?type=seqpacket live .*$sock " "$work/said" || wrong "sock: $(cat "$work/said")"
grep -q "^unix://$work/deadsock .*stale" "$work/said" || wrong "deadsock: $(cat "$work/said")"
grep -q "parley.foreign .*alien" "$work/said" || wrong "foreign: $(cat "$work/said")"
expect 0 "$tool" list --json "$work"
said '"state": "stale"'

expect 0 "$tool" info "shm://live$place"
said "process $live of user"
said '1 of 3 in use'
expect 0 "$tool" info "shm://dead$place"
said 'stale: its owner is dead'
expect 0 "$tool" info "shm://none$place"
said 'nobody'
expect 0 "$tool" info "unix://$work/sock"
said 'seqpacket'
expect 0 "$tool" info "unix://$work/deadsock"
said 'stale: its owner is dead'
expect 0 "$tool" info pipe:
expect 0 "$tool" info "inproc://$name"
expect 0 "$tool" info "fifo://$work/input"
said 'live'
expect 0 "$tool" info "fifo://$work/sock"
said 'no pipe stands here'
expect 0 "$tool" info tcp://127.0.0.1:0
said 'any number at once'
"$tool" recv tcp://127.0.0.1:0 --out /dev/null 2>"$work/f.err" & port=$!
started="$started $port"
eventually grep -q 'receiving at' "$work/f.err"
expect 0 "$tool" info "$(sed -n 's/.*receiving at //p' "$work/f.err")"
said 'somebody listens there'
kill -TERM "$port"
ended 143 "$port"
expect 0 "$tool" info "$(sed -n 's/.*receiving at //p' "$work/f.err")"
said 'nobody receives at'
expect 2 "$tool" info "shm://foreign$place"
said 'no segment of parley'
expect 1 "$tool" info "shm:/x"

"$tool" recv "signals://live$place&lanes=2" --out "$work/signalled" 2>"$work/g.err" & signalled=$!
"$tool" recv "signals://dead$place" --out /dev/null 2>"$work/h.err" & deadsignals=$!
started="$started $signalled $deadsignals"
for file in live dead; do eventually test -e "$work/parley-signals.$file"; done
kill -9 "$deadsignals"
ended 137 "$deadsignals"
expect 0 "$tool" info "signals://live$place"
said "process $signalled of user"
said '24 bytes of payload'
expect 0 "$tool" info "signals://dead$place"
said 'stale'
expect 0 "$tool" info "signals://none$place"
said 'nobody'
expect 0 "$tool" list "$work"
grep -q "^signals://live.* live .*$signalled u.* 0/16 " "$work/said" || wrong "signals: $(cat "$work/said")"
grep -q "^signals://dead.* stale " "$work/said" || wrong "signals: $(cat "$work/said")"

expect 0 "$tool" clean --dry-run "$work"
said "would remove $work/parley.dead"
[ -e "$work/parley.dead" ] || wrong "a dry run removed something"
expect 0 "$tool" clean --dry-run --json "$work"
said '"what": "would remove", "where": "'"$work/parley.dead"'"'
said '"dry_run": true'
[ -e "$work/parley.dead" ] || wrong "a dry run removed something"
# Of many that clean at once, none fails and none takes what lives.
cleaners=
for i in 1 2 3 4; do
    "$tool" clean "$work" >"$work/clean$i" 2>&1 & cleaners="$cleaners $!"
done
for p in $cleaners; do ended 0 "$p"; done
for file in parley.dead parley.damaged deadsock parley-signals.dead; do
    [ ! -e "$work/$file" ] || wrong "$file is still there: $(cat "$work"/clean?)"
done
for file in parley.live parley.foreign sock parley-signals.live; do
    [ -e "$work/$file" ] || wrong "$file is gone: $(cat "$work"/clean?)"
done
grep -q "left $work/parley.foreign" "$work/clean1" || wrong "not told: $(cat "$work/clean1")"

# The channel that was looked at all the time still works.
echo bye >&9
eventually grep -q bye "$work/out"
kill -TERM "$sock" "$live"
ended 143 "$live"
ended 143 "$sock"
kill "$sender" 2>/dev/null || :
echo hello | "$tool" send "signals://live$place&lane=1"
ended 0 "$signalled"
grep -q hello "$work/signalled" || wrong "not received by signals"

# A queue outlives its sender; it is looked at, received from and removed by its name.
queue=mq://$name
expect 0 "$tool" info "$queue"
said 'no queue'
echo hello | "$tool" send "$queue?messages=4"
expect 0 "$tool" info "$queue"
said '2 of 4 messages'
said "parley clean $queue"
expect 0 "$tool" info "$queue"
said '2 of 4 messages'  # looking took no part
expect 2 "$tool" send "$queue?messages=5" --in /dev/null
said 'holds 4 messages'
[ "$("$tool" recv "$queue")" = hello ] || wrong "not received from $queue"
expect 0 "$tool" clean --dry-run "$queue"
said "would remove $queue"
expect 0 "$tool" clean "$queue"
said "removed $queue"
expect 0 "$tool" clean "$queue"
said "left $queue"
expect 1 "$tool" clean "shm://$name"
queue="sysv://$name$place"
echo hello | "$tool" send "$queue"
expect 0 "$tool" info "$queue"
said '2 messages, '
said 'key          0x'
expect 0 "$tool" list "$work"
said "$queue"
[ "$("$tool" recv "$queue")" = hello ] || wrong "not received from $queue"
expect 0 "$tool" clean "$queue"
said "removed $queue"
[ ! -e "$work/parley-sysv.$name" ] || wrong "the name of the queue is left"

queue="boost_mq://$name"
echo hello | "$tool" send "$queue"
expect 0 "$tool" info "$queue"
said '2 of 64 messages'
expect 0 "$tool" list
said "$queue"
[ "$("$tool" recv "$queue")" = hello ] || wrong "not received from $queue"
expect 0 "$tool" clean "$queue"
said "removed $queue"
echo diary >"/dev/shm/$name"
expect 0 "$tool" clean "$queue"
said "left $queue"
: >"/dev/shm/$name"  # a maker that died
expect 0 "$tool" clean "$queue"
said 'never finished'

expect 0 "$tool" info 'udp://127.0.0.1:0'
said 'only with ?delivery=at_most_once'
said 'up to 65475 bytes'
expect 0 "$tool" info 'udp_multicast://239.77.0.9:0?interface=lo&delivery=at_most_once'
said 'is counted'
expect 1 "$tool" info 'udp_multicast://127.0.0.1:0'
said 'no multicast group'

for address in 'udp:?delivery=at_most_once' 'udp://[::1]:0?delivery=at_most_once' \
    'udp_multicast:?delivery=at_most_once&interface=lo'; do
    [ -e /proc/sys/net/ipv6 ] || [ "$address" = "${address#*::1}" ] || continue
    expect 0 "$tool" bench "$address" --seconds 0.02 --json
    said '"p99_us"'
done
expect 1 "$tool" bench udp:
said 'at_most_once'
for address in shm: unix: 'unix:?type=datagram' tcp: 'tcp:?no_delay=off' pipe: "fifo://$work/f" inproc: mq: sysv: boost_mq: signals:; do
    expect 0 "$tool" bench "$address" --seconds 0.02 --json
    said '"p99_us"'
done
expect 1 "$tool" bench shm: --size 99999999
expect 1 "$tool" bench smoke:
verdict
