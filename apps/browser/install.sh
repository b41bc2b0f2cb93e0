#!/bin/sh
# Debian's Chromium with its sandbox, the program that drives it, and its place on the desktop.
set -eu
export DEBIAN_FRONTEND=noninteractive
apt-get update
# Ubuntu's package of that name is a pointer to a snap, which no container can run.
if ! apt-cache show chromium 2>/dev/null | grep -q '^Depends:.*libnss3'; then
    echo "cloudrouter refuses: its packages have no Chromium that runs in a machine; Debian's do" >&2
    exit 3
fi
apt-get install -y --no-install-recommends \
    chromium chromium-sandbox curl fonts-liberation fonts-noto-color-emoji libnss3-tools python3-minimal xdg-utils
apt-get clean
rm -rf /var/lib/apt/lists/* /var/cache/debconf/*-old /var/log/apt /var/log/dpkg.log /var/log/alternatives.log
cd "$(dirname "$0")"
chmod 0755 run open trust.py
printf '{}\n' >agent-browser.json
if ! bin/agent-browser --version; then
    echo "cloudrouter refuses: the program that drives Chromium does not run on this image" >&2
    exit 3
fi
install -D -m 0644 initial_preferences.json /etc/chromium/master_preferences
install -D -m 0644 policy.json /etc/chromium/policies/recommended/cloudrouter.json
install -D -m 0644 browser.desktop /usr/share/applications/cloudrouter-browser.desktop
update-alternatives --install /usr/bin/x-www-browser x-www-browser "$PWD/open" 200
printf '[Default Applications]\nx-scheme-handler/http=cloudrouter-browser.desktop\n' >/usr/share/applications/mimeapps.list
printf 'x-scheme-handler/https=cloudrouter-browser.desktop\ntext/html=cloudrouter-browser.desktop\n' \
    >>/usr/share/applications/mimeapps.list
desktop=/opt/cloudrouter/apps/desktop
if [ -d "$desktop/launchers" ]; then
    install -m 0644 browser.desktop "$desktop/launchers/10-browser.desktop"
    sed -i 's|^  <menu id="root-menu".*|&\n    <item label="Chromium"><action name="Execute"><command>/opt/cloudrouter/apps/browser/open</command></action></item>|' \
        "$desktop/menu.xml"
fi
