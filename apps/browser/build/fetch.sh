#!/bin/sh
# The package as npm has it, checked against the hash that we know of this version, and one program out of it.
set -eu
if [ -f /fetch/ca.pem ]; then
    export NPM_CONFIG_CAFILE=/fetch/ca.pem NODE_EXTRA_CA_CERTS=/fetch/ca.pem
fi
if [ -f /fetch/npmrc ]; then
    export NPM_CONFIG_USERCONFIG=/fetch/npmrc
fi
version=$(sed -n 1p /build/version)
wanted=$(sed -n 2p /build/version)
mkdir -p /npm /out/bin
cd /npm
npm pack --ignore-scripts --no-audit --no-fund --loglevel=error "agent-browser@$version" >/dev/null
package=agent-browser-$version.tgz
found=sha512-$(node -e 'const c = require("crypto"), f = require("fs")
    process.stdout.write(c.createHash("sha512").update(f.readFileSync(process.argv[1])).digest("base64"))' "$package")
if [ "$found" != "$wanted" ]; then
    echo "cloudrouter refuses: agent-browser $version is not what it was: its hash is $found" >&2
    exit 3
fi
case $(uname -m) in
    aarch64 | arm64) name=agent-browser-linux-arm64 ;;
    *) name=agent-browser-linux-x64 ;;
esac
tar -xzf "$package" --strip-components=2 -C /out/bin "package/bin/$name"
tar -xzf "$package" --strip-components=1 -C /out "package/LICENSE"
mv /out/LICENSE /out/bin/LICENSE
mv "/out/bin/$name" /out/bin/agent-browser
chown -R 0:0 /out
chmod 0755 /out/bin /out/bin/agent-browser
chmod 0644 /out/bin/LICENSE
