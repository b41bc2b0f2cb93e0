#!/bin/sh
# An environment that also sees what the user installs: `pip install` in a terminal is there in the notebook.
set -eu
export PIP_CONFIG_FILE=/fetch/pip.conf
if ! /usr/bin/python3 -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 9))' 2>/dev/null; then
    apt-get update
    DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends python3 python3-venv
fi
venv=/opt/cloudrouter/apps/jupyter/venv
/usr/bin/python3 -m venv --system-site-packages "$venv"
"$venv/bin/pip" install --no-cache-dir --no-compile --ignore-installed -r /build/requirements.txt
cd "$venv/lib"/python3*/site-packages
find . -type d \( -name tests -o -name test -o -name __pycache__ \) -prune -exec rm -rf {} +
find . -type f \( -name '*.map' -o -name '*.pyi' -o -name '*.pyx' -o -name '*.a' -o -name '*.h' \) -delete
rm -rf matplotlib/mpl-data/sample_data babel/locale-data/[!er]* babel/locale-data/e[!n]* debugpy/_vendored/pydevd/pydevd_attach_to_process/*.cpp
"$venv/bin/python" -m compileall -q -j0 --invalidation-mode unchecked-hash "$venv/lib" || :
chmod -R a+rX,u+w,go-w "$venv"
"$venv/bin/jupyter" lab --version
"$venv/bin/python" -c 'import ipykernel, matplotlib.pyplot'
