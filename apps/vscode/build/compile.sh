#!/bin/sh
# The addons without a ready binary for Linux, then everything out that a running server never reads.
set -eu
export npm_config_nodedir=/usr/local MAKEFLAGS="-j$(nproc)" CFLAGS=-O1 CXXFLAGS=-O1
cd /npm/node_modules/code-server/lib/vscode
for addon in native-watchdog spdlog sqlite3; do
    npm rebuild --loglevel=error --no-audit "@vscode/$addon"
done
(cd extensions && node postinstall.mjs >/dev/null)

cd /npm/node_modules
case $(uname -m) in
    aarch64) arch=arm64 ;;
    *) arch=x64 ;;
esac
code=code-server/lib/vscode
find . -name '*.map' -type f -delete
find . -name obj.target -prune -exec rm -rf {} +
find . \( -name .deps -o -name '*.o' -o -name '*.a' \) -prune -exec rm -rf {} +
find . -path '*/prebuilds/*' -prune -type d ! -name "linux-$arch" -exec rm -rf {} +
find $code/node_modules/@vscode/ripgrep-universal/bin -mindepth 1 -maxdepth 1 ! -name "linux-$arch*" -exec rm -rf {} +
rm -rf $code/node_modules/@vscode/sqlite3/deps $code/node_modules/@vscode/spdlog/deps \
    $code/node_modules/@vscode/windows-* $code/node_modules/@parcel/watcher-linux-*-musl \
    $code/node_modules/@github/copilot-sdk-linux-* $code/node_modules/@microsoft/mxc-sdk/bin \
    $code/node_modules/@github/copilot-sdk/node_modules/@koromix $code/extensions/copilot \
    $code/extensions/ms-vscode.js-debug/src/win32-*.node \
    $code/extensions/microsoft-authentication/dist/msal-node-runtime.node \
    $code/extensions/microsoft-authentication/dist/libmsalruntime.so
mkdir -p /out
cp -a /npm/node_modules /out/
chmod -R a+rX,u+w,go-w /out

# What was left out must not be missed: the server loads, and so does each addon.
node /out/node_modules/code-server/out/node/entry.js --version
cd /out/node_modules/$code
node -e 'for (const one of ["@vscode/native-watchdog", "@vscode/spdlog", "@vscode/sqlite3", "@parcel/watcher", "node-pty"]) require(one)'
