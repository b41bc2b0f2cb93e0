"""What the person's surroundings need inside a machine too: CA certificates and proxies. Pure but for reading files."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Any

CA_VARIABLES = ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "PIP_CERT", "NODE_EXTRA_CA_CERTS")
SYSTEM_BUNDLES = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
)
CA_LIMIT = 8 * 1024 * 1024
_PROXIES = ("http_proxy", "https_proxy", "ftp_proxy", "all_proxy")
_BEGIN, _END = "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----"


def collect(env: Mapping[str, str], *, system_bundles: tuple[str, ...] = SYSTEM_BUNDLES) -> dict[str, Any]:
    """The fields `client_env` and `ca_pem` of a StartMachine; ca_pem is left out when nothing is known.

    The bundle is the host's own plus every certificate in the files that the variables of CA_VARIABLES name, so
    that a machine behind a TLS-inspecting network trusts what its person trusts. Only certificates are taken out
    of those files. A file that cannot be read is passed over, as the person's own tools cannot use it either.
    """
    found: dict[str, Any] = {"client_env": proxies(env)}
    blocks: dict[str, None] = {}
    system = next((text for text in map(_read, system_bundles) if text), "")
    for text in (system, *(_read(env[name]) for name in CA_VARIABLES if env.get(name))):
        blocks.update(dict.fromkeys(_certificates(text)))
    if blocks:
        found["ca_pem"] = "\n".join(blocks) + "\n"
    return found


def proxies(env: Mapping[str, str]) -> dict[str, str]:
    """The proxy variables, in the spelling they have, without proxies that only this host can reach."""
    kept = {
        name: value
        for name, value in env.items()
        if name in (name.lower(), name.upper()) and name.lower() in _PROXIES and value and not _is_loopback(value)
    }
    if kept:
        kept.update({name: env[name] for name in ("no_proxy", "NO_PROXY") if env.get(name)})
    return kept


def _read(path: str) -> str:
    try:
        with open(path, encoding="latin-1") as file:
            return file.read(CA_LIMIT)
    except (OSError, ValueError):
        return ""


def _certificates(text: str) -> Iterator[str]:
    """Each PEM certificate in a text, its lines stripped; anything else, private keys above all, is left."""
    for part in text.split(_BEGIN)[1:]:
        body, end, _ = part.partition(_END)
        if end and "-----" not in body:
            lines = [line.strip() for line in body.split("\n")]
            yield "\n".join((_BEGIN, *(line for line in lines if line), _END))


def _is_loopback(proxy: str) -> bool:
    """Whether a proxy's address means the host it is written on."""
    host = proxy.rpartition("://")[2].partition("/")[0].rpartition("@")[2].lower()
    host = host[1:].partition("]")[0] if host.startswith("[") else host.partition(":")[0]
    if host.startswith("127.") and not host.strip("0123456789."):
        return True
    return host in ("localhost", "::1", "0.0.0.0", "") or host.endswith(".localhost")  # noqa: S104
