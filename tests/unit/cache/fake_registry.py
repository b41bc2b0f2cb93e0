"""A registry of the tests' own, over TLS with a certificate of its own authority, which counts and misbehaves."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

Page = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


def make_certificate(folder: Path, name: str = "localhost") -> tuple[Path, Path]:
    """(certificate with key, authority) for one name; the certificate is its own authority."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = made.public_bytes(serialization.Encoding.PEM)
    plain = serialization.NoEncryption()
    secret = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)
    whole, authority = folder / f"{name}.pem", folder / f"{name}.crt"
    whole.write_bytes(pem + secret)
    authority.write_bytes(pem)
    return whole, authority


class Registry:
    """Serves pages by path; keeps every request."""

    def __init__(self, folder: Path) -> None:
        self.certificate, self.authority = make_certificate(folder)
        self.pages: dict[str, Page] = {}
        self.requests: list[web.BaseRequest] = []
        self.bodies: list[bytes] = []
        self._runner: web.ServerRunner | None = None
        self._port = 0

    @property
    def connections(self) -> int:
        """How many there are now."""
        server = self._runner.server if self._runner else None
        return len(server.connections) if server else 0

    @property
    def url(self) -> str:
        return f"https://localhost:{self._port}"

    def count(self, path: str) -> int:
        """How often a path was asked for."""
        return sum(request.raw_path == path for request in self.requests)

    def serve(self, path: str, body: bytes, status: int = 200, **headers: str) -> None:
        """Answer a path with this."""

        async def page(_request: web.BaseRequest) -> web.Response:
            named = {name.replace("_", "-"): value for name, value in headers.items()}
            return web.Response(status=status, body=body, headers=named)

        self.pages[path] = page

    def serve_slowly(self, path: str, pieces: list[bytes], *, length: int | None) -> list[asyncio.Event]:
        """Answer a path piece by piece, each after its event; a length that is not reached breaks off."""
        events = [asyncio.Event() for _ in pieces]

        async def page(request: web.BaseRequest) -> web.StreamResponse:
            response = web.StreamResponse()
            if length is None:
                response.enable_chunked_encoding()
            else:
                response.content_length = length
            await response.prepare(request)
            for event, piece in zip(events, pieces, strict=True):
                await event.wait()
                await response.write(piece)
            if length is not None and sum(map(len, pieces)) < length and request.transport is not None:
                request.transport.close()
            return response

        self.pages[path] = page
        return events

    async def start(self) -> None:
        """Listen."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.certificate)
        self._runner = web.ServerRunner(web.Server(self._answer, auto_decompress=False), shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self._port, ssl_context=context)
        await site.start()
        self._port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        """Be out of reach."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        self.requests.append(request)
        self.bodies.append(await request.read())
        page = self.pages.get(request.raw_path)
        return web.Response(status=404, text="none") if page is None else await page(request)
