# A small Python that brings its own C library, for machines whose image has neither: any Linux of this architecture.
# The last stage starts from nothing and holds /opt/cloudrouter/runtime alone; patchelf stays in the first.
ARG TOOLS
FROM ${TOOLS} AS collect
ARG LEFTOVER
LABEL cloudrouter.dev/leftover=${LEFTOVER}

#: Python for any image
RUN set -eu; \
    apt-get update; \
    DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends patchelf
COPY collect.py /collect.py
RUN ["/usr/bin/python3", "-I", "/collect.py", "/out", "/opt/cloudrouter/runtime"]

FROM scratch
COPY --from=collect /out/ /
