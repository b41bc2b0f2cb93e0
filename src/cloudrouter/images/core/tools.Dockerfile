# The part that hardly ever changes: Debian's packages, the user, sane defaults.
ARG BASE
FROM ${BASE}

#: Defaults
COPY rootfs/ /

#: Debian packages
RUN set -eu; \
    export DEBIAN_FRONTEND=noninteractive; \
    apt-get update; \
    apt-get install -y --no-install-recommends \
        build-essential ca-certificates curl git iproute2 jq less locales nano nftables openssh-client \
        openssh-server procps python3 python3-pip python3-venv ripgrep rsync sudo tmux tzdata unzip xz-utils; \
    localedef -i en_US -c -f UTF-8 en_US.UTF-8 --no-archive; \
    apt-get purge -y --auto-remove locales; \
    apt-get clean; \
    rm -rf /var/lib/apt/lists/* /var/cache/debconf/*-old /var/log/apt /var/log/dpkg.log /var/log/alternatives.log; \
    rm -f /etc/ssh/ssh_host_* /var/lib/dbus/machine-id; \
    : > /etc/machine-id; \
    mkdir -p /run/sshd

#: User
RUN set -eu; \
    groupadd --gid 1000 user; \
    useradd --uid 1000 --gid user --create-home --shell /bin/bash user; \
    cd /home/user; \
    install -d -o user -g user workspace .cache .config .local .local/bin .local/lib .npm; \
    printf 'prefix=/home/user/.local\n' > .npmrc; \
    chown user:user .npmrc; \
    visudo -cqf /etc/sudoers.d/cloudrouter
