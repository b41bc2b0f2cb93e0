"""Finding a container engine on this host: the known addresses, and whether one really speaks there."""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import socket
import ssl
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

DEFAULT_SOCKET = "/var/run/docker.sock"
PING_S = 5.0
_STARTABLE = (DEFAULT_SOCKET, "/run/docker.sock")


class Failed(Exception):
    """What went wrong, as a sentence, and what to do about it."""

    def __init__(self, message: str, fix: str = "", next_: str = "") -> None:
        super().__init__(message)
        self.lines = [message, *([f"Fix:  {fix}"] if fix else []), *([f"Next: {next_}"] if next_ else [])]


def find_engine(env: Mapping[str, str]) -> str | None:
    """The first engine that answers; a DOCKER_HOST that does not is an error unless it could be started here."""
    wanted = env.get("DOCKER_HOST", "")
    if wanted and urlsplit(wanted).path not in _STARTABLE and not answers(wanted):
        raise Failed(
            f"DOCKER_HOST is {wanted}, but no engine answers there.",
            "start that engine, or take DOCKER_HOST away so that another is looked for",
            "unset DOCKER_HOST",
        )
    return next((url for url in candidates(env) if answers(url)), None)


def candidates(env: Mapping[str, str]) -> list[str]:
    """Addresses in the order of trying: DOCKER_HOST, docker's context, and the usual sockets."""
    if env.get("DOCKER_HOST"):
        return [env["DOCKER_HOST"]]
    runtime = env.get("XDG_RUNTIME_DIR", "")
    paths = [DEFAULT_SOCKET]
    if runtime:
        paths += [f"{runtime}/docker.sock", f"{runtime}/podman/podman.sock"]
    paths.append("/run/podman/podman.sock")
    context = docker_context(env)
    return [*([context] if context else []), *(f"unix://{path}" for path in paths if os.path.exists(path))]


def docker_context(env: Mapping[str, str]) -> str:
    """The address of docker's chosen context, empty for the default one."""
    folder = env.get("DOCKER_CONFIG") or env.get("HOME", "/") + "/.docker"
    name = env.get("DOCKER_CONTEXT") or str(read_json(f"{folder}/config.json").get("currentContext") or "default")
    if name == "default":
        return ""
    meta = read_json(f"{folder}/contexts/meta/{hashlib.sha256(name.encode()).hexdigest()}/meta.json")
    return str(meta.get("Endpoints", {}).get("docker", {}).get("Host", ""))


def answers(url: str) -> bool:
    """An engine really speaks there; a socket that this user may not open is an error, not an absence."""
    try:
        status, body = request(url, "/_ping")
    except PermissionError as error:
        raise Failed(
            f"There is a container engine at {url}, but you may not use it.",
            "become a member of its group and log in again",
            "sudo usermod -aG docker $USER && newgrp docker",
        ) from error
    except (OSError, http.client.HTTPException):
        return False
    return status == 200 and body.strip() == b"OK"


def ask(url: str, path: str) -> dict[str, Any]:
    """One JSON object from the engine; empty when it has none to give."""
    try:
        status, body = request(url, path)
        found = json.loads(body) if status == 200 else {}
    except (OSError, http.client.HTTPException, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def request(url: str, path: str) -> tuple[int, bytes]:
    """GET from the engine's address: unix:// or tcp:// (with TLS as docker's variables say)."""
    connection = connection_to(url)
    try:
        if connection.sock is not None:
            connection.sock.connect(urlsplit(url).path)
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, response.read(1 << 20)
    finally:
        connection.close()


def connection_to(url: str) -> http.client.HTTPConnection:
    """A connection that is not open yet; over a Unix socket it has its socket already."""
    parts = urlsplit(url)
    if parts.scheme == "unix":
        connection = http.client.HTTPConnection("localhost", timeout=PING_S)
        connection.sock = socket.socket(socket.AF_UNIX)
        connection.sock.settimeout(PING_S)
        return connection
    if parts.scheme not in ("tcp", "http", "https") or not parts.hostname:
        raise Failed(f"{url} is not an address that can be used; unix:// and tcp:// can.", "set DOCKER_HOST to one")
    if parts.scheme == "https" or os.environ.get("DOCKER_TLS_VERIFY") == "1":
        return http.client.HTTPSConnection(parts.hostname, parts.port or 2376, timeout=PING_S, context=tls_context())
    return http.client.HTTPConnection(parts.hostname, parts.port or 2375, timeout=PING_S)


def tls_context() -> ssl.SSLContext:
    """Docker's own way: ca.pem, cert.pem and key.pem in DOCKER_CERT_PATH."""
    folder = os.environ.get("DOCKER_CERT_PATH") or os.path.expanduser("~/.docker")
    context = ssl.create_default_context(cafile=f"{folder}/ca.pem")
    context.load_cert_chain(f"{folder}/cert.pem", f"{folder}/key.pem")
    return context


def read_json(path: str) -> dict[str, Any]:
    """A JSON object from a file; empty when there is none that can be read."""
    try:
        with open(path, encoding="utf-8") as source:
            found = json.load(source)
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
