# SPDX-License-Identifier: MIT
# Sourced by the tests of the tool: $tool, $work (a directory that is removed), $name (unique), and
# words for what is expected. What may block has --timeout; ctest stops the rest.
set -eu
tool=$1
work=$(mktemp -d)
name=parley_test_tool_$$
started=
at_the_end() {
    for p in $started; do kill -9 "$p" 2>/dev/null || :; done
    "$tool" clean "mq://$name" "sysv://$name" "boost_mq://$name" >/dev/null 2>&1 || :
    rm -rf "$work" /dev/shm/parley."$name"*
}
trap at_the_end EXIT
failures=0

wrong() {
    echo "WRONG: $*" >&2
    failures=$((failures + 1))
}
# expect CODE COMMAND...: runs it, output in $work/said; the exit code must be CODE.
expect() {
    wanted=$1
    shift
    got=0
    "$@" >"$work/said" 2>&1 || got=$?
    [ "$got" = "$wanted" ] || wrong "exit code $got, not $wanted: $* ($(cat "$work/said"))"
}
# said WORDS: the last command said them.
said() { grep -qF -- "$1" "$work/said" || wrong "'$1' was not said, but: $(cat "$work/said")"; }
# eventually COMMAND...: until it succeeds; no fixed time is assumed.
eventually() {
    tries=0
    until "$@" >/dev/null 2>&1; do
        [ $((tries += 1)) -lt 600 ] || { wrong "never: $*"; return; }
        sleep 0.05
    done
}
# ended CODE PID: that child ends with this code.
ended() {
    got=0
    wait "$2" 2>/dev/null || got=$?
    [ "$got" = "$1" ] || wrong "child ended with $got, not $1: $(cat "$work"/*.err 2>/dev/null)"
}
verdict() { [ $failures = 0 ] || exit 1; }
