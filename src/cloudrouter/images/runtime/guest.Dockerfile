# The runtime with our guest in it, compiled by the Python that will run it: all that a foreign image gets.
ARG PYTHON
FROM ${PYTHON}
COPY cloudrouter/ /opt/cloudrouter/

#: Guest for any image
RUN ["/opt/cloudrouter/runtime/bin/python3", "-I", "-S", "-m", "compileall", "-q", "--invalidation-mode", "unchecked-hash", "/opt/cloudrouter/lib"]
