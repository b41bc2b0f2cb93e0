#!/bin/sh
# The server came with its builder; here it is made to run, or to say why it cannot.
set -eu
cd "$(dirname "$0")"
chmod 0755 run
node=$PWD/node
[ -x "$node" ] || node=/usr/local/bin/node
if ! "$node" server/node_modules/code-server/out/node/entry.js --version; then
    echo "cloudrouter refuses: VS Code's server, built for Debian 12, does not run on it" >&2
    exit 3
fi
