# JupyterLab for the Python of the image that it goes into. The last stage holds the environment alone; what the
# first needs to reach the package index is removed after the build.
ARG BASE
FROM ${BASE} AS fetch
ARG LEFTOVER
LABEL cloudrouter.dev/leftover=${LEFTOVER}

#: JupyterLab
COPY fetch/ /fetch/
COPY build/ /build/
RUN ["/bin/sh", "/build/build.sh"]

FROM scratch
COPY --from=fetch /opt/cloudrouter/apps/jupyter/venv/ /opt/cloudrouter/apps/jupyter/venv/
