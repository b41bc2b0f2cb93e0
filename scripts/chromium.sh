#!/bin/sh
# A Chromium for the tests that look at pages: the host's own, else Debian's where CI may install it.
set -eu
for name in chromium chromium-browser google-chrome; do
    command -v "$name" >/dev/null 2>&1 && exit 0
done
if [ "${CI:-}" = true ] && command -v apt-get >/dev/null 2>&1; then
    echo "chromium: installing Debian's with apt-get" >&2
    sudo=""
    [ "$(id -u)" = 0 ] || sudo=sudo
    $sudo apt-get update -qq
    DEBIAN_FRONTEND=noninteractive $sudo apt-get install -y -qq --no-install-recommends chromium >&2
else
    echo "chromium: there is none; tests that look at pages are left out (apt-get install chromium)" >&2
fi
