"""The Engine API over one kept session; the one place where the engine's and the library's errors become ours."""

from __future__ import annotations

import asyncio
import functools
import json
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, ParamSpec, TypeVar

import aiodocker
import aiohttp

from cloudrouter.providers.docker.endpoint import Endpoint
from cloudrouter.providers.errors import Conflict, InvalidSpec, NoCapacity, NotConfigured, NotFound, Unreachable
from cloudrouter.providers.errors import ProviderBug as _Bug
from cloudrouter.wire.errors import CloudRouterError

CALL_DEADLINE_S = 60.0
CONNECT_DEADLINE_S = 5.0
SETTLE_S = 30.0
"""How long a cancelled call is waited for, so that what the engine made of it can be seen."""

T = TypeVar("T")
P = ParamSpec("P")


class EngineApi:
    """Calls to one engine. Opens its session at the first call."""

    def __init__(self, find: Callable[[], Endpoint]) -> None:
        self._find = find
        self._docker: aiodocker.Docker | None = None
        self._endpoint: Endpoint | None = None
        self._ready = False
        self._closed = False
        self._settling: set[asyncio.Task[Any]] = set()

    @property
    def endpoint(self) -> Endpoint:
        """The engine's address; NotConfigured when there is none."""
        if self._endpoint is None:
            self._endpoint = self._find()
        return self._endpoint

    @property
    def docker(self) -> aiodocker.Docker:
        """The library's client, on the same session."""
        if self._closed:
            raise Unreachable("This provider was closed.")
        if self._docker is None:
            endpoint = self.endpoint
            timeout = aiohttp.ClientTimeout(total=CALL_DEADLINE_S, sock_connect=CONNECT_DEADLINE_S)
            self._docker = aiodocker.Docker(url=endpoint.url, ssl_context=endpoint.tls, timeout=timeout)
        return self._docker

    async def version(self) -> str:
        """The API version in use, such as `v1.41`, agreed on at the first call."""
        if not self._ready:
            try:
                await self.docker.version()
            except (aiodocker.DockerError, aiohttp.ClientError, OSError, ValueError, TypeError, KeyError) as error:
                raise self._translate(error) from error
            self._ready = True
        return self.docker.api_version

    async def call(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        body: Mapping[str, Any] | None = None,
        deadline_s: float = CALL_DEADLINE_S,
    ) -> Any:
        """One request; the answer's JSON, None when it has none ("already so" included). Raises our errors only."""
        answer = await self.read(path, method=method, params=params, body=body, deadline_s=deadline_s)
        try:
            return json.loads(answer) if answer.strip() else None
        except ValueError as error:
            raise self._translate(error) from error

    async def read(
        self,
        path: str,
        *,
        method: str = "GET",
        params: Mapping[str, str] | None = None,
        body: Mapping[str, Any] | None = None,
        deadline_s: float = CALL_DEADLINE_S,
    ) -> bytes:
        """One request; the answer's bytes."""
        version = await self.version()
        timeout = aiohttp.ClientTimeout(total=deadline_s, sock_connect=CONNECT_DEADLINE_S)
        url = f"{self.docker.docker_host}/{version}/{path}"
        try:
            async with self.docker.session.request(method, url, params=params, json=body, timeout=timeout) as response:
                answer = await response.read()
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise self._translate(error) from error
        if response.status >= 400:
            raise refusal(response.status, answer.decode(errors="replace"))
        return answer

    async def settle(self, change: Coroutine[Any, Any, T]) -> T:
        """Await a change to its end even when cancelled: the engine carries on with what it has been asked for."""
        task = asyncio.create_task(change)
        self._settling.add(task)
        task.add_done_callback(self._settled)
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            await asyncio.wait({task}, timeout=SETTLE_S)
            raise

    def _settled(self, task: asyncio.Task[Any]) -> None:
        self._settling.discard(task)
        if not task.cancelled():
            task.exception()  # looked at, so that one nobody waits for any more is not reported as lost

    async def aclose(self) -> None:
        """End what is still settling, then the session; later calls raise Unreachable."""
        self._closed = True
        for task in list(self._settling):
            task.cancel()
        await asyncio.gather(*self._settling, return_exceptions=True)
        docker, self._docker = self._docker, None
        if docker is not None:
            await docker.close()

    def _translate(self, error: Exception) -> CloudRouterError:
        return translate(error, where=self.endpoint.source)


def translate(error: Exception, *, where: str = "") -> CloudRouterError:
    """An exception of aiodocker, aiohttp, a socket or a parser as one of ours."""
    if isinstance(error, CloudRouterError):
        return error
    if isinstance(error, aiodocker.DockerError) and 400 <= error.status < 900:
        return refusal(error.status, error.message)
    at = f" ({where})" if where else ""
    if isinstance(error, (ValueError, LookupError, TypeError, AttributeError)):
        return _Bug(f"The container engine{at} sent something that is not understood: {_shape(error)}.")
    if isinstance(error, PermissionError) or "Permission denied" in str(error):
        return NotConfigured(
            f"You may not use the container engine{at}.",
            fix="Join its group (usually docker) and log in again: sudo usermod -aG docker $USER",
            next="cloudrouter doctor",
        )
    reason = "no answer in time" if isinstance(error, TimeoutError) else str(error) or type(error).__name__
    return Unreachable(
        f"The container engine{at} does not answer: {reason.rstrip('.')}.",
        fix="See whether it runs; its log says why it ended.",
        next="cloudrouter doctor",
    )


def understood(method: Callable[P, Coroutine[Any, Any, T]]) -> Callable[P, Coroutine[Any, Any, T]]:
    """Make a method raise ProviderBug where an answer of the engine lacks what is read from it."""

    @functools.wraps(method)
    async def guarded(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return await method(*args, **kwargs)
        except (ValueError, LookupError, TypeError, AttributeError) as error:
            raise translate(error) from error

    return guarded


def _shape(error: Exception) -> str:
    if isinstance(error, json.JSONDecodeError):
        return "it is not JSON"
    return f"{type(error).__name__} {error}".strip().rstrip(".")


def refusal(status: int, text: str) -> CloudRouterError:
    """A refusing answer of the engine as one of our errors."""
    message = _message(text)
    if status == 404:
        return NotFound(f"The container engine has no such thing: {message}.")
    if status == 409:
        return Conflict(f"The container engine refuses: {message}.")
    if status == 400:
        return InvalidSpec(f"The container engine refuses: {message}.")
    if "no space left on device" in message:
        return NoCapacity(f"The container engine's disk is full: {message}.", fix="Free disk space.")
    if "cannot allocate memory" in message or "fully subnetted" in message or "non-overlapping IPv4" in message:
        return NoCapacity(f"The container engine has no room: {message}.", fix="docker network prune frees networks.")
    return _Bug(f"The container engine answered {status}: {message}.")


def _message(text: str) -> str:
    try:
        found = json.loads(text)
        message = str(found["message"])
    except (ValueError, KeyError, TypeError):
        message = text
    return " ".join(message.split()).rstrip(".")[:500] or "no reason given"
