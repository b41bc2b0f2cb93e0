# A foreign image with our guest in it. What hardly ever changes comes first, the guest last.
ARG KIT
ARG IMAGE
FROM ${KIT} AS kit
FROM ${IMAGE}
USER 0:0

#: Runtime
COPY --from=kit /opt/cloudrouter/runtime /opt/cloudrouter/runtime

#: Account
COPY --from=kit /opt/cloudrouter/setup /opt/cloudrouter/setup
# The image's variables stand in this step, too, and its libraries must not get into our Python.
RUN ["/bin/sh", "-c", "unset LD_PRELOAD LD_LIBRARY_PATH LD_AUDIT; exec /opt/cloudrouter/runtime/bin/python3 -I -S /opt/cloudrouter/setup/account.py"]

#: Guest
COPY --from=kit /opt/cloudrouter/lib /opt/cloudrouter/lib
COPY --from=kit /opt/cloudrouter/supervise /opt/cloudrouter/supervise
WORKDIR /home/user/workspace
ENTRYPOINT []
CMD ["/opt/cloudrouter/supervise"]
HEALTHCHECK NONE
STOPSIGNAL SIGTERM
