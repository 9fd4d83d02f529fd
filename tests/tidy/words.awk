# SPDX-License-Identifier: MIT
function fail(words) { printf "%s:%d: words: %s\n", FILENAME, FNR, words }

FNR == 1 { test = FILENAME ~ /(^|\/)tests\// }
/\/\/ tidy: allow [^ ]/ { next }

/(^|[^A-Za-z0-9_])(TODO|FIXME|XXX)([^A-Za-z0-9_]|$)/ {
    fail("a note to self is an issue, or nothing")
}
{ sub(/\/\/.*$/, "") }
/(^|[^A-Za-z0-9_])system_clock([^A-Za-z0-9_]|$)/ {
    fail("the wall clock jumps: waits and stamps follow steady_clock")
}
/(^|[^A-Za-z0-9_])random_device([^A-Za-z0-9_]|$)/ {
    fail("a run that cannot be repeated: seed a parley::random")
}
/(^|[^A-Za-z0-9_])atomic_thread_fence([^A-Za-z0-9_]|$)/ {
    fail("the thread sanitizer of g++ knows no fences: say it with the operations themselves")
}
test && /(^|[^A-Za-z0-9_])(sleep_for|sleep_until|usleep|nanosleep|sleep)[ \t]*\(/ {
    fail("a test waits for the event itself, never for time to pass")
}
