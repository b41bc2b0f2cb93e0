"""A certificate for a team's domain, and a client that speaks TLS to the gateway without looking names up."""

from __future__ import annotations

import asyncio
import datetime as dt
import ssl
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from tests.unit.server.gateway_world import NAVIGATION, Said, World, read_answer

from cloudrouter.server.store.machines import Row


def make_certificate(folder: Path, domain: str) -> tuple[str, str]:
    """Paths of a self-signed certificate for `*.domain`, and of its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, domain)])
    now = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(f"*.{domain}")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    cert_path, key_path = folder / "cert.pem", folder / "key.pem"
    cert_path.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    key_path.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return str(cert_path), str(key_path)


async def ask_over_tls(
    world: World, method: str, url: str, headers: dict[str, str], body: bytes = b"", cert: str = ""
) -> Said:
    """One request over TLS; the certificate is checked when it is given."""
    context = ssl.create_default_context(cafile=cert or None)
    if not cert:
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    parts = urlsplit(url)
    reader, writer = await asyncio.open_connection(
        "127.0.0.1", world.address.port, ssl=context, server_hostname=parts.hostname
    )
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    lines = [f"{method} {target} HTTP/1.1", f"Host: {parts.netloc}", "Connection: close"]
    lines += [f"{name}: {value}" for name, value in headers.items() if name != "Connection"]
    lines += [f"Content-Length: {len(body)}"] if body else []
    if "Upgrade" in headers:
        lines[2] = "Connection: Upgrade"
    writer.write("\r\n".join([*lines, "", ""]).encode() + body)
    try:
        async with asyncio.timeout(20):
            head = await reader.readuntil(b"\r\n\r\n")
            length = read_answer(head, "HEAD").one("Content-Length")
            rest: Any = await (reader.readexactly(int(length)) if length else reader.read())
            return read_answer(head + rest, method)
    finally:
        writer.close()


async def cookie_over_tls(world: World, machine: Row, target: str | int) -> str:
    """`name=value` of a session there."""
    answer = await ask_over_tls(world, "GET", await world.open(machine, target), NAVIGATION)
    assert answer.status == 303
    return answer.one("Set-Cookie").partition(";")[0]
