#!/bin/sh
# Makes ./.venv exactly as uv.lock says. Quick when nothing changed.
set -eu
cd "$(dirname "$0")/.."

stamp=.venv/.setup-$(cat uv.lock pyproject.toml scripts/vendor.py | cksum | cut -d' ' -f1)
novnc=src/cloudrouter/server/gateway/desktop/static/novnc/VERSION
[ -e "$stamp" ] && [ -e "$novnc" ] && exit 0

# What the desktop page needs is not in git. Without it all the rest works, and the page says what is missing.
fetch_novnc() { "$1" scripts/vendor.py || echo "setup: going on without the desktop page's noVNC" >&2; }
[ -e "$stamp" ] && { fetch_novnc .venv/bin/python; exit 0; }

find_python() {
    for name in python3.13 python3.12 python3.11 python3; do
        command -v "$name" >/dev/null 2>&1 || continue
        "$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo "$name"; return; }
    done
    echo "CloudRouter needs Python 3.11 or newer; none was found." >&2
    echo "Fix:  install it with your system's package manager." >&2
    exit 1
}

python=$(find_python)
fetch_novnc "$python"
if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
    # Debian and Ubuntu keep this part of Python in a package of its own.
    echo "setup: Python's venv module is missing; installing python3-venv with apt-get" >&2
    sudo=""
    [ "$(id -u)" = 0 ] || sudo=sudo
    $sudo apt-get update -qq && $sudo apt-get install -y -qq --no-install-recommends python3-venv >&2
fi

echo "setup: making ./.venv (first time about half a minute)" >&2
[ -x .venv/bin/python ] || "$python" -m venv .venv
uv=$(command -v uv || true)
if [ -z "$uv" ] || ! "$uv" --version >/dev/null 2>&1; then
    [ -x .venv/bin/uv ] || .venv/bin/python -m pip install -q --disable-pip-version-check uv
    uv=$PWD/.venv/bin/uv
    cp "$uv" .venv/uv-own # uv removes what the lock does not name, itself too
    uv=$PWD/.venv/uv-own
fi
UV_PROJECT_ENVIRONMENT=$PWD/.venv "$uv" sync --frozen --all-groups --quiet --python .venv/bin/python
rm -f .venv/.setup-*
: >"$stamp"
echo "setup: done" >&2
