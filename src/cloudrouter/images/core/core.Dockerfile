# The image itself: the two parts put together, and our guest last, so that a change of it rebuilds in seconds.
ARG TOOLS
ARG NODE
FROM ${NODE} AS node
FROM ${TOOLS}
ENV LANG=C.UTF-8
WORKDIR /home/user/workspace
USER root
CMD ["/opt/cloudrouter/supervise"]

#: Node into place
COPY --from=node / /usr/local/
# Node's headers where node-gyp keeps its downloads, so that native addons compile without reaching nodejs.org.
RUN set -eu; \
    folder=/home/user/.cache/node-gyp/$(node -p process.versions.node); \
    install -d -o user -g user "${folder%/*}" "$folder"; \
    ln -s /usr/local/include "$folder/include"; \
    node -p "require('/usr/local/lib/node_modules/npm/node_modules/node-gyp/package.json').installVersion" \
        > "$folder/installVersion"

#: Guest
COPY profile.sh /etc/profile.d/cloudrouter.sh
COPY cloudrouter/ /opt/cloudrouter/
RUN ["/usr/bin/python3", "-I", "-m", "compileall", "-q", "--invalidation-mode", "unchecked-hash", "/opt/cloudrouter/lib"]
