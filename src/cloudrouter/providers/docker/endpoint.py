"""Where the engine is: DOCKER_HOST, the docker command's context, then the sockets of Docker and Podman."""

from __future__ import annotations

import hashlib
import json
import os
import re
import ssl
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from cloudrouter.providers.errors import NotConfigured

_NO_ENGINE_FIX = "Start Docker or Podman's socket, or install one of them (docker.io on Debian and Ubuntu)."


@dataclass(frozen=True)
class Endpoint:
    """One engine's address."""

    url: str
    """`unix:///path` or `tcp://host:port`."""
    source: str
    """What named it, for messages."""
    tls: ssl.SSLContext | None = field(default=None, compare=False)

    @property
    def socket_path(self) -> str | None:
        """The Unix socket; None for an engine behind TCP."""
        return self.url.removeprefix("unix://") if self.url.startswith("unix://") else None

    @property
    def address(self) -> tuple[str, int]:
        """Host and port of an engine behind TCP."""
        parts = urlsplit(self.url)
        return parts.hostname or "", parts.port or (2376 if self.tls else 2375)


def find_endpoint(env: Mapping[str, str], *, uid: int, host: str = "") -> Endpoint:
    """The engine that is meant, whether it runs or not; NotConfigured when nothing names one."""
    if host:
        return _named(host, "the setting host", env)
    context = env.get("DOCKER_CONTEXT") or ("" if env.get("DOCKER_HOST") else _current_context(env))
    if context and context != "default":
        return _from_context(context, env)
    if env.get("DOCKER_HOST"):
        return _named(env["DOCKER_HOST"], "DOCKER_HOST", env)
    for path in _socket_paths(env, uid):
        if _is_socket(path):
            return Endpoint(f"unix://{path}", path)
    raise NotConfigured("No container engine was found on this host.", fix=_NO_ENGINE_FIX, next="cloudrouter doctor")


def _socket_paths(env: Mapping[str, str], uid: int) -> list[str]:
    runtime = env.get("XDG_RUNTIME_DIR") or f"/run/user/{uid}"
    home = env.get("HOME", "/nonexistent")
    return [
        "/var/run/docker.sock",
        f"{runtime}/docker.sock",
        f"{home}/.docker/run/docker.sock",
        f"{runtime}/podman/podman.sock",
        "/run/podman/podman.sock",
    ]


def _is_socket(path: str) -> bool:
    try:
        return stat.S_ISSOCK(os.stat(path).st_mode)
    except OSError:
        return False


def _named(url: str, source: str, env: Mapping[str, str]) -> Endpoint:
    if re.match(r"unix://+[^/]", url):
        return Endpoint("unix:///" + url.removeprefix("unix://").lstrip("/"), source)
    if re.match(r"(tcp|http|https)://[^/]+", url):
        verify = env.get("DOCKER_TLS_VERIFY", "") not in ("", "0")
        folder = env.get("DOCKER_CERT_PATH") or f"{env.get('HOME', '')}/.docker"
        tls = _tls(folder, source) if verify or url.startswith("https://") else None
        return Endpoint("tcp://" + url.split("://", 1)[1].rstrip("/"), source, tls)
    raise NotConfigured(
        f"The engine's address {url!r} (from {source}) is neither unix:// nor tcp://.",
        fix="For an engine behind ssh, forward its socket (ssh -L /tmp/docker.sock:/var/run/docker.sock HOST) "
        "and set DOCKER_HOST=unix:///tmp/docker.sock.",
    )


def _docker_folder(env: Mapping[str, str]) -> str:
    return env.get("DOCKER_CONFIG") or f"{env.get('HOME', '/nonexistent')}/.docker"


def _current_context(env: Mapping[str, str]) -> str:
    path = f"{_docker_folder(env)}/config.json"
    try:
        found = _read(path).get("currentContext", "")
    except FileNotFoundError:
        return ""
    return found if isinstance(found, str) else ""


def _from_context(name: str, env: Mapping[str, str]) -> Endpoint:
    digest = hashlib.sha256(name.encode()).hexdigest()
    folder = f"{_docker_folder(env)}/contexts"
    source = f"the docker context {name}"
    try:
        endpoint = _read(f"{folder}/meta/{digest}/meta.json")["Endpoints"]["docker"]
        host, skip = str(endpoint["Host"]), bool(endpoint.get("SkipTLSVerify", False))
    except (FileNotFoundError, KeyError, TypeError, AttributeError) as error:
        raise NotConfigured(
            f"The docker context {name!r} is not there or cannot be read.",
            fix="See docker context ls, or set DOCKER_HOST.",
            next="docker context use default",
        ) from error
    certificates = f"{folder}/tls/{digest}/docker"
    found = _named(host, source, {})
    if found.socket_path is None and os.path.isdir(certificates):
        return Endpoint(found.url, source, _tls(certificates, source, verify=not skip))
    return found


def _tls(folder: str, source: str, *, verify: bool = True) -> ssl.SSLContext:
    """Both sides' certificates from a folder, as the docker command keeps them."""
    authority, own, key = (f"{folder}/{name}.pem" for name in ("ca", "cert", "key"))
    try:
        made = ssl.create_default_context(cafile=authority if os.path.exists(authority) else None)
        if not verify:
            made.check_hostname = False
            made.verify_mode = ssl.CERT_NONE
        if os.path.exists(own):
            made.load_cert_chain(own, key)
    except (OSError, ssl.SSLError) as error:
        raise NotConfigured(f"The certificates in {folder} (from {source}) cannot be used: {error}.") from error
    return made


def _read(path: str) -> dict[str, Any]:
    with open(path, encoding="utf-8") as file:
        try:
            found = json.load(file)
        except ValueError as error:
            raise NotConfigured(f"{path} is not valid JSON: {error}.", fix="Repair it, or set DOCKER_HOST.") from error
    return found if isinstance(found, dict) else {}
