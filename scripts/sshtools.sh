#!/bin/sh
# OpenSSH's client, rsync, git and sshfs for the tests that use them: the host's own, else Debian's where CI may install them.
set -eu
missing=""
for pair in ssh:openssh-client rsync:rsync git:git sshfs:sshfs; do
    command -v "${pair%%:*}" >/dev/null 2>&1 || missing="$missing ${pair##*:}"
done
[ -n "$missing" ] || exit 0
if [ "${CI:-}" = true ] && command -v apt-get >/dev/null 2>&1; then
    echo "sshtools: installing$missing with apt-get" >&2
    sudo=""
    [ "$(id -u)" = 0 ] || sudo=sudo
    $sudo apt-get update -qq
    # shellcheck disable=SC2086 # several words on purpose
    DEBIAN_FRONTEND=noninteractive $sudo apt-get install -y -qq --no-install-recommends $missing >&2
else
    echo "sshtools: there is no$missing; tests that need them are left out" >&2
fi
