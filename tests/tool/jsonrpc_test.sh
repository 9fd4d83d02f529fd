#!/bin/sh
# SPDX-License-Identifier: MIT
# JSON-RPC 2.0 from outside: `parley call` and `parley serve`, the example server, and a client from
# npm, where node has one.
. "$(dirname "$0")/common.sh"
server=$2

# listens PATH COMMAND...: starts a server, waits until it listens.
listens() {
    path=$1
    shift
    "$@" >"$work/serve.out" 2>"$work/serve.err" &
    started="$started $!"
    eventually test -S "$path"
}

listens "$work/demo" "$tool" serve "unix://$work/demo"
expect 0 "$tool" call "unix://$work/demo" add '[1.5, 2]'
said 3.5E0
expect 0 "$tool" call "unix://$work/demo" add '{"b": 1, "a": 2}'
expect 0 "$tool" call "unix://$work/demo" sum '[1, 2, 4]'
said 7
expect 0 "$tool" call "unix://$work/demo" echo '"hello"'
said '"hello"'
expect 0 "$tool" call --notify "unix://$work/demo" sum
expect 5 "$tool" call "unix://$work/demo" fail '"not today"'
said 'not today'
expect 5 "$tool" call "unix://$work/demo" nothing
said -32601
expect 5 "$tool" call "unix://$work/demo" add '[1]'
said -32602
expect 1 "$tool" call "unix://$work/demo" add '[1'
expect 1 "$tool" call shm://x add
said 'unix:// and tcp://'
expect 4 "$tool" call --timeout 0.1 "unix://$work/nobody" add
expect 2 "$tool" serve "unix://$work/demo"

# The same service, as parley's own speak.
listens "$work/native" "$tool" serve --native "unix://$work/native"
expect 0 "$tool" call --native "unix://$work/native" add '[1.5, 2]'
said 3.5
expect 0 "$tool" call --native "unix://$work/native" add '{"b": 1, "a": 2}'
said 3
expect 0 "$tool" call --native "unix://$work/native" sum '[[1, 2, 4]]'
said 7
expect 0 "$tool" call --native "unix://$work/native" echo '"hello"'
said '"hello"'
expect 0 "$tool" call --native --notify "unix://$work/native" echo '"hello"'
expect 5 "$tool" call --native "unix://$work/native" fail '"not today"'
said 'not today'
expect 5 "$tool" call --native "unix://$work/native" nothing
said 'add(f64, f64) -> f64'
expect 1 "$tool" call --native "unix://$work/native" add '[1, "x"]'
said 'argument 2'
expect 1 "$tool" call --native "unix://$work/native" add '[1, 2, 3]'
expect 1 "$tool" call --native "unix://$work/native" add '{"a": 1, "c": 2}'
expect 4 "$tool" call --native --timeout 0.1 "unix://$work/nobody" add

listens "$work/x" "$server" --unix "$work/x"
expect 0 "$tool" call "unix://$work/x" subtract '[42, 23]'
said 19
expect 0 "$tool" call "unix://$work/x" subtract '{"subtrahend": 23, "minuend": 42}'
said 19
expect 0 "$tool" call "unix://$work/x" get_data
said '["hello",5]'
expect 1 "$server" --udp x
verdict

if ! command -v node >/dev/null; then
    echo "skipped: no node here, so no client from npm"
    exit 77
fi
NODE_PATH=${NODE_PATH:-$(npm root -g 2>/dev/null || :)}
export NODE_PATH
has_client() { node -e 'require.resolve("vscode-jsonrpc")' 2>/dev/null; }
if ! has_client && command -v npm >/dev/null; then
    NODE_PATH=$work/node_modules
    (cd "$work" && timeout 60 npm install --no-audit --no-fund --fetch-retries 0 \
        --cache "$work/npm" vscode-jsonrpc) >"$work/npm.out" 2>&1 || :
fi
if ! has_client; then
    echo "skipped: node finds no vscode-jsonrpc, and npm could not fetch it: npm install -g" \
        "vscode-jsonrpc, or set NODE_PATH"
    exit 77
fi
cat >"$work/client.js" <<'JS'
const rpc = require('vscode-jsonrpc/node');
const net = require('net');
const socket = net.connect(process.argv[2], async () => {
  const c = rpc.createMessageConnection(new rpc.SocketMessageReader(socket),
                                        new rpc.SocketMessageWriter(socket));
  c.listen();
  const check = (what, is, wanted) => {
    if (JSON.stringify(is) !== JSON.stringify(wanted)) {
      console.error(what, is, 'instead of', wanted);
      process.exitCode = 1;
    }
  };
  check('positions', await c.sendRequest('subtract', 42, 23), 19);
  check('names', await c.sendRequest('subtract', {subtrahend: 23, minuend: 42}), 19);
  check('data', await c.sendRequest('get_data'), ['hello', 5]);
  await c.sendNotification('notify_hello', 7);
  const sums = [];
  for (let i = 0; i < 200; ++i) sums.push(c.sendRequest('sum', i, 1, 2));
  check('many', await Promise.all(sums), [...Array(200).keys()].map((i) => i + 3));
  try {
    await c.sendRequest('foobar');
    check('an unknown method', 'answered', 'refused');
  } catch (e) {
    check('an unknown method', e.code, -32601);
  }
  c.dispose();
  socket.end();
});
JS
expect 0 node "$work/client.js" "$work/x"
verdict
