#!/bin/sh
# The packages of the desktop, and what is made of this folder's files once: the picture, the theme's place.
set -eu
export DEBIAN_FRONTEND=noninteractive
apt-get update
apt-get install -y --no-install-recommends \
    dmz-cursor-theme ffmpeg fonts-dejavu-core fonts-inter fonts-jetbrains-mono fonts-noto-color-emoji hsetroot \
    librsvg2-bin openbox scrot tigervnc-standalone-server tint2 xauth xclip xdotool xterm
cd "$(dirname "$0")"
rsvg-convert --width 2560 --height 1600 --output wallpaper.png wallpaper.svg
apt-get purge -y --auto-remove librsvg2-bin
apt-get clean
rm -rf /var/lib/apt/lists/* /var/cache/debconf/*-old /var/log/apt /var/log/dpkg.log /var/log/alternatives.log
install -d /usr/share/themes/CloudRouter/openbox-3
cp theme/openbox-3/* /usr/share/themes/CloudRouter/openbox-3/
# A terminal looks the same however it is opened.
cat Xresources >>/etc/X11/app-defaults/XTerm
install -d -m 1777 /tmp/.X11-unix
install -d /etc/gtk-3.0
printf '[Settings]\ngtk-font-name=Inter 10\ngtk-cursor-theme-name=DMZ-White\n' >/etc/gtk-3.0/settings.ini
chmod 0755 run session wallpaper screenshot record terminal
fc-cache -f
