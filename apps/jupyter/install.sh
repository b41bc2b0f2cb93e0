#!/bin/sh
# The environment came with its builder; here it gets its Python, where the image has none, and its settings.
set -eu
cd "$(dirname "$0")"
if [ ! -x /usr/bin/python3 ]; then
    apt-get update
    DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends python3
    apt-get clean
    rm -rf /var/lib/apt/lists/* /var/log/apt /var/log/dpkg.log
fi
chmod 0755 run
install -D -m 0644 overrides.json venv/share/jupyter/lab/settings/overrides.json
install -D -m 0644 kernel.json venv/share/jupyter/kernels/python3/kernel.json
venv/bin/python -c 'import jupyterlab'
