#!/bin/sh
# code-server with all its packages as they come, without running any of their install scripts.
set -eu
if [ -f /fetch/ca.pem ]; then
    export NPM_CONFIG_CAFILE=/fetch/ca.pem NODE_EXTRA_CA_CERTS=/fetch/ca.pem
fi
if [ -f /fetch/npmrc ]; then
    export NPM_CONFIG_USERCONFIG=/fetch/npmrc
fi
install_here() { npm install --omit=dev --ignore-scripts --no-audit --no-fund --loglevel=error "$@"; }
mkdir -p /npm
cd /npm
install_here "code-server@$(cat /build/version)"
cd node_modules/code-server/lib/vscode
install_here
(cd extensions && install_here)
ln -sf code-linux.sh bin/remote-cli/code-server
ln -sf browser-linux.sh bin/helpers/browser.sh
