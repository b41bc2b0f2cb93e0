# agent-browser from npm: of its package only the program for this architecture. Nothing of it is run here.
ARG TOOLS
ARG NODE
FROM ${NODE} AS node
FROM ${TOOLS} AS fetch
ARG LEFTOVER
LABEL cloudrouter.dev/leftover=${LEFTOVER}
COPY --from=node / /usr/local/

#: Browser: agent-browser
COPY fetch/ /fetch/
COPY build/ /build/
RUN ["/bin/sh", "/build/fetch.sh"]

FROM scratch
COPY --from=fetch /out/ /opt/cloudrouter/apps/browser/
