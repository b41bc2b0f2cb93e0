"""What builds need to know of this host to reach package indexes: certificates, proxies, pip's index."""

from __future__ import annotations

import configparser
import os
from collections.abc import Iterable, Mapping
from urllib.parse import urlsplit

from cloudrouter.images.context import File

_BUNDLES = ("PIP_CERT", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
_USUAL_BUNDLES = ("/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem")
_PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "FTP_PROXY", "ALL_PROXY")
_INDEX_KEYS = ("index-url", "extra-index-url", "trusted-host")


def proxies(env: Mapping[str, str]) -> dict[str, str]:
    """The proxy variables that are set, in the spelling they have; the engine keeps them out of image histories."""
    names = [spelling for name in _PROXIES for spelling in (name, name.lower())]
    return {name: env[name] for name in names if env.get(name)}


def proxy_is_local(env: Mapping[str, str]) -> bool:
    """A proxy listens on this host's loopback, so that a build reaches it only in the host's network."""
    for name, value in proxies(env).items():
        if name.upper() == "NO_PROXY":
            continue
        host = urlsplit(value if "//" in value else f"//{value}").hostname or ""
        if host == "localhost" or host == "::1" or host.startswith("127."):
            return True
    return False


def ca_bundle(env: Mapping[str, str], usual: Iterable[str] = _USUAL_BUNDLES) -> bytes:
    """The certificates this host trusts, empty where it keeps none in a known place."""
    for path in [*(env[name] for name in _BUNDLES if env.get(name)), *usual]:
        if os.path.isfile(path) and os.access(path, os.R_OK):
            with open(path, "rb") as source:
                return source.read()
    return b""


def fetch_files(env: Mapping[str, str]) -> dict[str, File]:
    """Files for the stage that downloads with pip: its settings, and the host's certificates."""
    bundle = ca_bundle(env)
    lines = ["[global]", "disable-pip-version-check = true", "root-user-action = ignore", "retries = 5"]
    if bundle:
        lines.append("cert = /fetch/ca.pem")
    lines += [f"{key} = {value}" for key, value in pip_index(env).items()]
    files = {"fetch/pip.conf": File(("\n".join(lines) + "\n").encode(), 0o600)}
    if bundle:
        files["fetch/ca.pem"] = File(bundle)
    return files


def pip_index(env: Mapping[str, str]) -> dict[str, str]:
    """Where this host's pip looks for packages, from its files and then its variables; folders of the host left out."""
    found: dict[str, str] = {}
    home = env.get("HOME", "/root")
    config_home = env.get("XDG_CONFIG_HOME") or f"{home}/.config"
    own = env.get("PIP_CONFIG_FILE") or ""
    for path in ("/etc/pip.conf", f"{home}/.pip/pip.conf", f"{config_home}/pip/pip.conf", own):
        found.update(_from_file(path))
    for key in _INDEX_KEYS:
        value = env.get("PIP_" + key.upper().replace("-", "_"), "")
        if value:
            found[key] = value
    reachable = {key: _without_folders(value) for key, value in found.items()}
    return {key: value for key, value in reachable.items() if value}


def _from_file(path: str) -> dict[str, str]:
    parser = configparser.RawConfigParser()
    try:
        parser.read([path] if path else [], encoding="utf-8")
    except (configparser.Error, UnicodeDecodeError):
        # pip itself refuses such a file, with a better message than a build could give.
        return {}
    if not parser.has_section("global"):
        return {}
    return {key: parser.get("global", key) for key in _INDEX_KEYS if parser.has_option("global", key)}


def _without_folders(value: str) -> str:
    return " ".join(word for word in value.split() if not word.startswith(("file:", "/")))
