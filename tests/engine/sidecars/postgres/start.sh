#!/bin/sh
# Makes the database at the first start, with the password of POSTGRES_PASSWORD, and becomes the server.
set -eu
if [ ! -s "$PGDATA/PG_VERSION" ]; then
    if [ -z "${POSTGRES_PASSWORD:-}" ]; then
        echo "POSTGRES_PASSWORD is not set" >&2
        exit 1
    fi
    printf %s "$POSTGRES_PASSWORD" > /tmp/password
    initdb -A scram-sha-256 --pwfile=/tmp/password -U postgres >/dev/null
    rm /tmp/password
fi
exec postgres -c listen_addresses=127.0.0.1 -c unix_socket_directories=/tmp "$@"
