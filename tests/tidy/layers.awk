# SPDX-License-Identifier: MIT
# Includes go down only. The number of a folder is its layer; folders of one layer may include each
# other except where a rule below says no.
BEGIN {
    layer["base"] = 0
    layer["detail"] = 1; layer["shm"] = 1
    split("transport codec delivery group rpc store filter wire", models, " ")
    for (i in models) layer[models[i]] = 3
    layer["drive"] = 4
    nouns = 5
    beside = 9  # testing/ may include everything and is included by nothing else
    layer["testing"] = beside
    sans_io["delivery"]; sans_io["group"]; sans_io["rpc"]; sans_io["wire"]
    n = split("thread mutex shared_mutex condition_variable future ctime csignal iostream fstream " \
              "filesystem random semaphore latch barrier stop_token", list, " ")
    for (i = 1; i <= n; i++) impure["<" list[i] ">"]
    asio["asio.hpp"]; asio["drive/asio.hpp"]; asio["drive/asio_calls.hpp"]
    tls = "^(transport/)?tls[a-z_]*\\.hpp$"
    json = "^(jsonrpc|rpc/json_dispatch)\\.hpp$"
}

function fail(words) { printf "%s:%d: layers: %s\n", FILENAME, FNR, words }

function folder_of(path) { return path ~ /\// ? substr(path, 1, index(path, "/") - 1) : "" }

function layer_of(path,    folder) {
    folder = folder_of(path)
    if (path == "version.hpp") return 0
    if (folder == "") return nouns
    return folder in layer ? layer[folder] : -1
}

FNR == 1 {
    path = FILENAME
    sub(/^.*include\/parley\//, "", path)
    folder = folder_of(path)
    mine = layer_of(path)
    if (mine < 0) fail("folder '" folder "' has no layer: give it one in layers.awk")
}

# A clock is time that somebody else may not stop: only drivers and what lies below may look at it.
folder in sans_io && !/^[ \t]*\/\// && /(clock|steady_clock)::now/ {
    fail("'" folder "' decides without a clock: let the driver hand the time in")
}

!/^[ \t]*#[ \t]*include/ { next }
{
    what = $0
    sub(/^[ \t]*#[ \t]*include[ \t]*/, "", what)
    sub(/[ \t].*$/, "", what)
}

what ~ /^<boost\/asio/ && !(path in asio) {
    fail("only asio.hpp and drive/asio*.hpp include Boost.Asio")
}
what ~ /^<boost\/json/ && path !~ json {
    fail("only jsonrpc.hpp and rpc/json_dispatch.hpp include Boost.JSON")
}
what ~ /^<openssl\// && path !~ /^transport\/tls[a-z_]*\.hpp$/ {
    fail("only transport/tls*.hpp include OpenSSL")
}
what ~ /^<fmt\// && path != "format.hpp" { fail("only format.hpp includes fmt") }
folder in sans_io && (what in impure || what ~ /\.h>$/) {
    fail("'" folder "' does no I/O and waits for nobody: " what " has no place there")
}

what ~ /^<parley\// {
    to = substr(what, 9, length(what) - 9)
    theirs = layer_of(to)
    to_folder = folder_of(to)
    if (mine == beside) next
    if (theirs == beside) fail("testing/ is for tests: " what)
    else if (theirs > mine) fail("includes go down only: " what " lies above " path)
    else if ((folder == "transport" && to_folder in sans_io) ||
             (folder in sans_io && to_folder == "transport"))
        fail("transport and the protocol folders never meet: " what)
    # Whoever includes a noun or a transport must not pay for Asio, fmt or OpenSSL.
    else if ((to in asio && !(path in asio)) || to == "format.hpp" ||
             (to ~ tls && path !~ tls) || (to ~ json && path !~ json))
        fail("only users include " what)
}
