#!/bin/sh
# SPDX-License-Identifier: MIT
# doctor: each condition is made really, named with its cause, and mended by the command it says.
. "$(dirname "$0")/common.sh"
place="?directory=$work/shm"
mkdir "$work/shm"

# verdict_on CHECK [WORDS]: the worst verdict of the last doctor on this check, of what has WORDS.
verdict_on() {
    grep -F "\"check\": \"$1\"" "$work/said" | grep -F -- "${2:-}" |
        sed -n 's/.*"verdict": "\([a-z]*\)".*/\1/p' | head -n 1
}
fix_of() {
    grep -F "\"check\": \"$1\"" "$work/said" | grep -F -- "$2" | head -n 1 |
        sed -n 's/.*"fix": "\(.*\)"}.*/\1/p'
}
doctor() { got=0; "$tool" doctor --json "$work/shm" >"$work/said" 2>&1 || got=$?; }
is() { # is VERDICT CHECK [WORDS]
    [ "$(verdict_on "$2" "${3:-}")" = "$1" ] || wrong "$2 is not $1: $(cat "$work/said")"
}
# mended CHECK WORDS: what it says is done, and then all is well.
mended() {
    doctor
    fix=$(fix_of "$1" "$2")
    [ -n "$fix" ] || wrong "no fix: $(cat "$work/said")"
    case $fix in
        parley\ *) sh -c "'$tool' ${fix#parley }" >/dev/null ;;
        *) sh -c "$fix" >/dev/null ;;
    esac || wrong "the fix failed: $fix"
    doctor
    [ -z "$(verdict_on "$1" "$2")" ] || wrong "not mended by '$fix': $(cat "$work/said")"
}

# A dead owner, and what it leaves; the same of signals and sockets.
"$tool" recv "shm://dead$place" --out /dev/null 2>"$work/a.err" & dead=$!
"$tool" recv "signals://dead$place" --out /dev/null 2>"$work/b.err" & deadsignals=$!
"$tool" recv "unix://$work/shm/deadsock" --out /dev/null 2>"$work/c.err" & deadsock=$!
"$tool" recv "shm://live$place" --out /dev/null 2>"$work/d.err" & live=$!
started="$dead $deadsignals $deadsock $live"
for file in parley.dead parley.live parley-signals.dead deadsock; do
    eventually test -e "$work/shm/$file"
done
kill -9 "$dead" "$deadsignals" "$deadsock"
for p in "$dead" "$deadsignals" "$deadsock"; do ended 137 "$p"; done
head -c 4096 "$work/shm/parley.live" >"$work/shm/parley.torn"
doctor
[ "$got" = 7 ] || wrong "exit code $got: $(cat "$work/said")"
is wrong stale shm://dead
is wrong stale signals://dead
is wrong stale deadsock
is wrong damaged parley.torn
grep -F 'shm://dead' "$work/said" | grep -q "process $dead, is gone" || wrong "who died is not said"
[ -z "$(verdict_on stale shm://live)" ] || wrong "the living are called dead: $(cat "$work/said")"
expect 7 "$tool" doctor "$work/shm"
said 'fix: parley clean'
mended stale shm://dead
for name_left in parley.dead parley.torn parley-signals.dead deadsock; do
    [ ! -e "$work/shm/$name_left" ] || wrong "$name_left is left"
done
[ -e "$work/shm/parley.live" ] || wrong "the fix took what lives"

# A receiver that stands still.
kill -STOP "$live"
until grep -q '^State:.*T' "/proc/$live/status"; do :; done
doctor
[ "$got" = 7 ] || wrong "exit code $got"
is wrong stopped "process $live"
mended stopped "process $live"

# Limits: of the one who looks, and of a receiver that has no descriptor left.
for limit in 'descriptors 100 nofile' 'signals 0 sigpending'; do
    set -- $limit
    prlimit "--$3=$2" "$tool" doctor --json "$work/shm" >"$work/said" 2>&1 && wrong "$3: well"
    is wrong "$1" ulimit
done
prlimit --pid "$live" --nofile="$(ls "/proc/$live/fd" | wc -l):4096"
doctor
is wrong descriptors "process $live"
mended descriptors "process $live"
prlimit --memlock=65536 "$tool" doctor --json "$work/shm" >"$work/said" 2>&1 || :
is note memlock

# What only root can make, in namespaces of its own.
if unshare -mnip --fork true 2>/dev/null; then
    mkdir "$work/small"
    apart() { ! unshare -mni sh -c "$1" >"$work/said" 2>&1 || wrong "well: $1"; }  # lo is down
    export tool work name place
    apart 'mount -t tmpfs -o size=1m tmpfs "$work/small"; "$tool" doctor --json "$work/small"'
    is wrong memory 'out_of_resources'
    grep -F 'small' "$work/said" | grep -q 'mount -o remount,size=' || wrong "no fix"
    apart 'mount -t tmpfs -o size=64m tmpfs "$work/small"; "$tool" doctor --json "$work/small"'
    is note memory "$work/small"
    grep -F "$work/small" "$work/said" | grep -q 'room for 15 more' || wrong "$(cat "$work/said")"
    apart 'mount -t tmpfs -o size=9m,nr_inodes=1 tmpfs "$work/small"
        "$tool" doctor --json "$work/small"'
    is wrong memory 'no inode'
    is wrong loopback  # a new network namespace has a lo that is down
    apart '"$tool" send "sysv://$name$place" --in /dev/null
        echo 1 >/proc/sys/kernel/msgmni; "$tool" doctor --json "$work/shm"
        "$tool" clean "sysv://$name$place" >/dev/null; exit 7'
    is wrong sysv
    mkdir "$work/dev"  # a /dev with a place for queues, seen by that process alone
    apart 'mount --rbind /dev "$work/dev"; mount -t tmpfs tmpfs /dev; : >/dev/null
        mount --bind "$work/dev/null" /dev/null; mkdir /dev/shm /dev/mqueue
        mount -t mqueue none /dev/mqueue; "$tool" send "mq://$name" --in /dev/null
        echo 1 >/proc/sys/fs/mqueue/queues_max; "$tool" doctor --json "$work/shm"'
    is wrong mq
    apart 'echo "1025 1030" >/proc/sys/net/ipv4/ip_local_port_range
        "$tool" doctor --json "$work/shm"'
    is wrong ports
    # logind deletes what a person owns; with the word that forbids it all is well.
    logind='mount -t tmpfs tmpfs /run; mkdir -p /run/systemd/system /run/systemd/logind.conf.d'
    apart "$logind"'; "$tool" doctor --json "$work/shm"'
    is note remove_ipc
    grep -F remove_ipc "$work/said" | grep -q 'RemoveIPC=no' || wrong "no fix for RemoveIPC"
    apart "$logind"'; mount -t tmpfs tmpfs /dev/shm; chmod 1777 /dev/shm
        setpriv --reuid 12345 --clear-groups "$tool" recv shm://mine --out /dev/null & p=$!
        while ! [ -e /dev/shm/parley.mine ]; do sleep 0.01; done
        "$tool" doctor --json; kill $p; exit 7'
    is wrong remove_ipc
    apart "$logind"'; printf "[Login]\nRemoveIPC=no\n" >/run/systemd/logind.conf.d/x.conf
        "$tool" doctor --json "$work/shm"'
    is good remove_ipc
    # A receiver in namespaces of its own: it is alive, and said to be hard to see.
    unshare -np --fork --kill-child --mount-proc "$tool" recv "shm://far$place" --out /dev/null \
        2>"$work/e.err" & far=$!
    started="$started $far"
    eventually test -e "$work/shm/parley.far"
    doctor
    is note pid_namespace shm://far
    is note net_namespace shm://far
    is note pid_namespace others
    kill -9 "$far"
    ended 137 "$far"
else
    echo "no right to make namespaces: small file systems, full queues, logind, lo and peers in" \
        "other namespaces were not tried"
fi
for check in membarrier pidfd yama; do
    [ -n "$(verdict_on $check)" ] || wrong "$check was not looked at"
done
kill -TERM "$live"
ended 143 "$live"
verdict
