"""A container engine on a Unix socket that keeps its containers in a dict and fails where a test says."""

from __future__ import annotations

import asyncio
import itertools
import json
import struct
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web

Fault = Callable[[web.Request], web.StreamResponse | None]
"""Answers in the engine's place; None stands for a connection that is cut."""


class FakeEngine:
    """Enough of the Engine API for the docker provider."""

    def __init__(self) -> None:
        self.containers: dict[str, dict[str, Any]] = {}
        self.networks: dict[str, dict[str, Any]] = {}
        self.images = {"image:1", "sha256:helper"}
        self.calls: list[str] = []
        self._ended = asyncio.Event()
        self.hang_at: int | None = None
        self.fault_at: int | None = None
        self.fault: Fault | None = None
        self.log_line = json.dumps({"up": True})
        self.start_errors: list[str] = []
        self.address = "127.0.0.1"
        self._numbers = itertools.count(1)

    @asynccontextmanager
    async def serving(self, path: str) -> AsyncIterator[FakeEngine]:
        """Serve on a Unix socket for as long as the context lasts."""
        app = web.Application()
        app.router.add_route("*", "/{tail:.*}", self._answer)
        runner = web.AppRunner(app, shutdown_timeout=0)
        await runner.setup()
        await web.UnixSite(runner, path).start()
        try:
            yield self
        finally:
            self._ended.set()
            await runner.cleanup()

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        words = request.path.strip("/").split("/")
        if words[0].startswith("v1"):
            words = words[1:]
        self.calls.append(f"{request.method} {'/'.join(words)}")
        if self.hang_at == len(self.calls) - 1:
            await self._ended.wait()
        if self.fault is not None and self.fault_at == len(self.calls) - 1:
            answer = self.fault(request)
            if answer is None:
                assert request.transport is not None
                request.transport.abort()
                return web.Response()
            return answer
        body = await request.json() if request.can_read_body and request.method == "POST" else {}
        try:
            status, found = self._act(request.method, words, dict(request.query), body)
        except KeyError as error:
            status, found = 404, {"message": f"No such thing: {error.args[0]}"}
        if isinstance(found, bytes):
            return web.Response(status=status, body=found)
        return web.json_response(found, status=status) if found is not None else web.Response(status=status)

    def _act(self, method: str, words: list[str], query: Mapping[str, str], body: Any) -> tuple[int, Any]:
        if words == ["_ping"]:
            return 200, b"OK"
        if words == ["version"]:
            return 200, {"ApiVersion": "1.41", "Components": [{"Name": "Engine"}]}
        if words == ["info"]:
            return 200, {"NCPU": 4, "MemTotal": 8 << 30}
        if words == ["images", "json"]:
            return 200, [
                {"Id": "sha256:helper", "RepoTags": ["cloudrouter/core:x"], "Labels": {}, "Size": 1, "Created": 1}
            ]
        if words[0] == "networks":
            return self._network(method, words[1:], body)
        return self._container(method, words[1:], query, body)

    def _network(self, method: str, words: list[str], body: Any) -> tuple[int, Any]:
        if words == ["create"]:
            if body["Name"] in self.networks:
                return 409, {"message": f"network with name {body['Name']} already exists"}
            self.networks[body["Name"]] = {"Id": f"{next(self._numbers):064x}", **body}
            return 201, {"Id": self.networks[body["Name"]]["Id"]}
        if method == "GET":
            return 200, self._found(self.networks, words[0])
        if method == "DELETE":
            del self.networks[self._found(self.networks, words[0])["Name"]]
            return 204, None
        return 200, None

    def _found(self, things: dict[str, dict[str, Any]], key: str) -> dict[str, Any]:
        for thing in things.values():
            if key in (thing["Id"], thing.get("Name")):
                return thing
        raise KeyError(key)

    def _container(self, method: str, words: list[str], query: Mapping[str, str], body: Any) -> tuple[int, Any]:
        if words == ["json"]:
            wanted = json.loads(query["filters"])["label"]
            return 200, [self._entry(one) for one in self.containers.values() if _matches(one, wanted)]
        if words == ["create"]:
            return self._create(query.get("name", ""), body)
        one = self._found(self.containers, words[0])
        verb = words[1] if len(words) > 1 else method
        if verb == "json":
            return 200, one
        if verb == "logs":
            data = self.log_line.encode()
            return 200, struct.pack(">BxxxL", 1, len(data)) + data
        if verb == "wait":
            return 200, {"StatusCode": 0}
        if verb == "start" and self.start_errors and one["Name"]:
            return 500, {"message": self.start_errors.pop(0)}
        if verb == "DELETE":
            del self.containers[one["Id"]]
        elif verb == "update":
            one["HostConfig"].update(body)
        else:
            states = {"start": "running", "stop": "exited", "pause": "paused", "unpause": "running"}
            one["State"] = {"Status": states[verb], "ExitCode": 0, "StartedAt": "2026-01-01T00:00:00.5Z"}
        return 204, None

    def _create(self, name: str, body: Any) -> tuple[int, Any]:
        if body["Image"] not in self.images:
            return 404, {"message": f"No such image: {body['Image']}"}
        if any(name and one["Name"] == name for one in self.containers.values()):
            return 409, {"message": f"The container name {name} is already in use"}
        number = f"{next(self._numbers):064x}"
        network = body["HostConfig"]["NetworkMode"]
        self.containers[number] = {
            "Id": number,
            "Name": name,
            "Config": {"Labels": body["Labels"], "Image": body["Image"]},
            "HostConfig": body["HostConfig"],
            "State": {"Status": "created"},
            "NetworkSettings": {"Networks": {network: {"IPAddress": self.address}}},
        }
        return 201, {"Id": number}

    def _entry(self, one: Mapping[str, Any]) -> dict[str, Any]:
        state = one["State"]["Status"]
        return {"Id": one["Id"], "Labels": one["Config"]["Labels"], "State": state, "Status": state}


def _matches(one: Mapping[str, Any], wanted: list[str]) -> bool:
    labels = one["Config"]["Labels"]
    return all(
        (labels.get(key) == value) if equals else key in labels
        for key, equals, value in (word.partition("=") for word in wanted)
    )
