# SPDX-License-Identifier: MIT
function fail(words) { printf "%s:%d: sizes: %s\n", FILENAME, FNR, words }

FNR == 1 {
    long_reported = 0
    depth = FILENAME
    if (sub(/^.*include\/parley\//, "", depth) && gsub(/\//, "", depth) > 2) {
        fail("more than two folders deep")
    }
    header = FILENAME ~ /include\/parley\//
}
header && FNR > 400 && !long_reported {
    fail("a header has at most 400 lines: which concept could leave?")
    long_reported = 1
}
{
    gsub(/[\200-\277]/, "")  # continuation bytes of UTF-8 are no columns
    if (length($0) > 100) fail("a line has at most 100 columns, this one " length($0))
}
