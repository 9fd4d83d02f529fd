# SPDX-License-Identifier: MIT
function fail(line, words) { printf "%s:%d: marks: %s\n", name, line, words }
function close_file() {
    if (name ~ /\.hpp$/ && !once) fail(1, "a header says #pragma once")
}

FNR == 1 {
    close_file()
    name = FILENAME
    once = 0
    if ($0 != "// SPDX-License-Identifier: MIT") {
        fail(1, "the first line says // SPDX-License-Identifier: MIT")
    }
}
/^#pragma once$/ { once = 1 }
/^[ \t]*#[ \t]*include[ \t]*"/ && name ~ /include\/parley\// {
    fail(FNR, "a header of parley is included as <parley/...>")
}
END { close_file() }
