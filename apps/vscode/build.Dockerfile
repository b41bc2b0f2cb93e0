# code-server from npm, for sites where GitHub's releases are out of reach. Its addons that npm has no binary of are
# compiled one by one, and those that only other systems need are not. The last stage holds the result alone.
ARG TOOLS
ARG NODE
FROM ${NODE} AS node
FROM ${TOOLS} AS fetch
ARG LEFTOVER
LABEL cloudrouter.dev/leftover=${LEFTOVER}
COPY --from=node / /usr/local/

#: VS Code: download
COPY fetch/ /fetch/
COPY build/ /build/
RUN ["/bin/sh", "/build/download.sh"]

#: VS Code: compile
RUN ["/bin/sh", "/build/compile.sh"]

FROM scratch
COPY --from=fetch /out/ /opt/cloudrouter/apps/vscode/server/
