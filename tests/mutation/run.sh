#!/bin/sh
# SPDX-License-Identifier: MIT
# run.sh ROOT COMPILER LIST WORLD [EVERY [OPTIMISE [seen]]]   makes each mutant of LIST in a copy of
# the headers, and runs WORLD with it: one that survives, or that changes nothing, is a failure.
# Without PARLEY_CAMPAIGN only every EVERY-th is tried, but all are made. The world without a mutant must pass; it is
# not run if it is `seen` to pass, being a test of its own.
set -eu
root=$1 cxx=$2 list=$3 world=$4 every=${5:-1} optimise=${6:--O0} seen=${7:-}
case ${PARLEY_CAMPAIGN:-0} in 0 | '') ;; *) every=1 ;; esac
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# mutant NAME FILE EDIT: 0 if it is caught. Caught is also what crashes or does not end.
mutant() {
    rm -rf "$work/include"
    cp -r "$root/include" "$work/include"
    if [ -n "$2" ]; then
        sed -i "$3" "$work/include/parley/$2"
        if cmp -s "$root/include/parley/$2" "$work/include/parley/$2"; then
            echo "mutation: '$1' changes nothing: $2"
            return 1
        fi
    fi
    # $cxx may hold words of its own, as in "ccache g++".
    # shellcheck disable=SC2086
    if ! $cxx -std=c++20 "$optimise" -w -I"$work/include" -I"$root/tests" "$world" -o "$work/world" \
        2>"$work/errors"; then
        echo "mutation: '$1' does not compile:"
        head -5 "$work/errors"
        return 1
    fi
    ! timeout 300 "$work/world" >"$work/words" 2>&1
}

failed=0 number=0 tried=0
if [ -z "$seen" ] && mutant 'no mutant' '' ''; then
    echo "mutation: the code as it is breaks a promise: $(cat "$work/words")"
    exit 1
fi
while IFS='|' read -r name file edit; do
    case $name in '#'* | '') continue ;; esac
    number=$((number + 1))
    file=$(echo "$file" | tr -d ' ')
    edit=${edit# }
    if [ $((number % every)) -ne 0 ]; then
        if sed "$edit" "$root/include/parley/$file" | cmp -s - "$root/include/parley/$file"; then
            echo "mutation: '$name' changes nothing: $file"
            failed=1
        fi
        continue
    fi
    tried=$((tried + 1))
    if mutant "$name" "$file" "$edit"; then
        echo "caught: $name: $(head -1 "$work/words")"
    else
        echo "mutation: '$name' survives"
        failed=1
    fi
done <"$list"
[ "$tried" -gt 0 ] || { echo "mutation: no mutant was tried"; exit 1; }
echo "mutation: $tried of $number mutants were tried"
exit $failed
