# A foreign image made ready for apps, whose installers are written for Debian's packages and for our user.
ARG IMAGE
FROM ${IMAGE}
USER 0:0

#: Ready for apps
RUN set -eu; \
    if ! command -v apt-get >/dev/null 2>&1 || ! command -v useradd >/dev/null 2>&1; then \
        echo "cloudrouter refuses: apps are made for Debian's and Ubuntu's packages, and it has no apt-get" >&2; \
        exit 3; \
    fi; \
    id user >/dev/null 2>&1 || useradd --create-home --home-dir /home/user --shell /bin/bash user
