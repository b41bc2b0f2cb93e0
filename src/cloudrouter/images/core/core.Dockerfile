# The image itself: the ground, with apps or without, and our guest last, so that a change of it rebuilds in seconds.
ARG BELOW
FROM ${BELOW}
ENV LANG=C.UTF-8
WORKDIR /home/user/workspace
USER root
CMD ["/opt/cloudrouter/supervise"]

#: Guest
COPY profile.sh /etc/profile.d/cloudrouter.sh
COPY cloudrouter/ /opt/cloudrouter/
RUN ["/usr/bin/python3", "-I", "-m", "compileall", "-q", "--invalidation-mode", "unchecked-hash", "/opt/cloudrouter/lib"]
