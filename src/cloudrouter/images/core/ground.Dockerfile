# What all our images stand on: the tools and Node. Apps come on top of it, and our guest on top of them.
ARG TOOLS
ARG NODE
FROM ${NODE} AS node
FROM ${TOOLS}

#: Node into place
COPY --from=node / /usr/local/
# Node's headers where node-gyp keeps its downloads, so that native addons compile without reaching nodejs.org.
RUN set -eu; \
    folder=/home/user/.cache/node-gyp/$(node -p process.versions.node); \
    install -d -o user -g user "${folder%/*}" "$folder"; \
    ln -s /usr/local/include "$folder/include"; \
    node -p "require('/usr/local/lib/node_modules/npm/node_modules/node-gyp/package.json').installVersion" \
        > "$folder/installVersion"
