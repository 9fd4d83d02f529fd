# SPDX-License-Identifier: MIT
# Measures functions: the outermost block whose head has parentheses and no class, enum or
# namespace. That is a heuristic without a parser; it counts from the head's first line to the
# closing brace and leaves lambdas to the function they stand in.
FNR == 1 {
    depth = 0; fn_depth = 0; head = ""; head_line = 0; in_comment = 0; in_raw = 0
    resume = 0; macro = 0
}

# The line without comments, and with literals emptied.
function code_of(line,    out, at, c, two, n, quote, end) {
    out = ""
    n = length(line)
    for (at = 1; at <= n; at++) {
        if (in_raw) {
            end = index(substr(line, at), raw_end)
            if (!end) return out
            at += end + length(raw_end) - 2
            in_raw = 0
            continue
        }
        if (in_comment) {
            end = index(substr(line, at), "*/")
            if (!end) return out
            at += end
            in_comment = 0
            continue
        }
        c = substr(line, at, 1)
        two = substr(line, at, 2)
        if (two == "//") return out
        if (two == "/*") { in_comment = 1; at++; continue }
        if (two == "R\"" && substr(line, at - 1, 1) !~ /[A-Za-z0-9_]/) {
            end = index(substr(line, at), "(")
            raw_end = ")" substr(line, at + 2, end - 3) "\""
            at += end - 1
            in_raw = 1
            continue
        }
        if (c == "\"" || (c == "'" && substr(line, at - 1, 1) !~ /[0-9a-fA-F]/)) {
            quote = c
            for (at++; at <= n; at++) {
                c = substr(line, at, 1)
                if (c == "\\") at++
                else if (c == quote) break
            }
            out = out "0"
            continue
        }
        out = out c
    }
    return out
}

function is_function(text) {
    gsub(/->|<=>|operator *<<?=?|operator *>>?=?/, " ", text)
    while (gsub(/<[^<>(){};]*>/, "", text) || gsub(/\([^()]*[^()@][^()]*\)/, "@", text) ||
           gsub(/\(\)/, "@", text)) {
    }
    if (text !~ /@/ || text ~ /=[ \t]*$/) return 0
    return text !~ /(^|[^A-Za-z0-9_])(class|struct|union|enum|namespace|extern)([^A-Za-z0-9_]|$)/
}

# Macros of several lines are no functions, and their braces may not balance.
macro || /^[ \t]*#/ { macro = /\\$/; next }

{
    code = code_of($0)
    if (fn_depth == 0 && code !~ /[{};]/) {  # nothing to decide on this line
        if (head ~ /^[ \t]*$/ && code ~ /[^ \t]/ && !resume) head_line = FNR
        if (code ~ /[^ \t]/) head = head " " code
        next
    }
    n = length(code)
    for (i = 1; i <= n; i++) {
        c = substr(code, i, 1)
        if (c == "{") {
            if (!fn_depth && is_function(head)) { fn_depth = depth + 1; start = head_line }
            depth++
            if (!fn_depth) { head = ""; resume = 0 }
        } else if (c == "}") {
            if (fn_depth && depth == fn_depth) {
                fn_depth = 0
                if (FNR - start + 1 > 70) {
                    printf "%s:%d: functions: %d lines, of at most 70\n", FILENAME, start,
                           FNR - start + 1
                }
                # `f() : a{1} {…}`: what follows a braced member initialiser is still that head.
                resume = 1
            } else if (!fn_depth) { head = "" ; resume = 0 }
            depth--
        } else if (!fn_depth) {
            if (resume && c !~ /[ \t]/) {
                if (c != ",") head = ""
                resume = 0
            }
            if (c == ";") head = ""
            else {
                if (head ~ /^[ \t]*$/ && c !~ /[ \t]/) { head = ""; head_line = FNR }
                head = head c
            }
        }
    }
    if (!fn_depth && head != "") head = head " "
}
