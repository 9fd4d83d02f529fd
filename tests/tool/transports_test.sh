#!/bin/sh
# SPDX-License-Identifier: MIT
# transports_test.sh TOOL: the README's table of transports is what the transports say of
# themselves. What was measured (the columns behind) is of its day; what packets and queues may
# hold is the kernel's to decide, so that length is not compared.
set -eu
root=$(dirname "$0")/../..
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$1" transports >"$work/said"
columns=$(head -n 1 "$work/said" | tr -cd '|' | wc -c)
awk '/^\| address \| between/ { on = 1 } !/^\|/ { on = 0 } on' "$root/README.md" |
    cut -d '|' -f "1-$columns" | sed 's/$/|/' >"$work/written"
[ "$(wc -l <"$work/said")" -ge 20 ] || { echo "transports are missing"; cat "$work/said"; exit 1; }
for which in said written; do
    awk -F '|' -v OFS='|' '/seqpacket|datagram|mq:|sysv:/ { $4 = " " } { print }' \
        "$work/$which" >"$work/$which.kept"
done
diff -u "$work/said.kept" "$work/written.kept"
