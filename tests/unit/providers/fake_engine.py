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
        self.volumes: dict[str, dict[str, Any]] = {}
        self.lost_volumes: dict[str, tuple[int, str]] = {}
        """Volumes that somebody removed by hand, with what the engine says when a container that has one starts."""
        self.busy_measuring = 0
        """So many times a measurement is refused, as old engines do while another one runs."""
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
        if words[0] == "volumes":
            return self._volume(method, words[1:], query, body)
        if words == ["system", "df"]:
            return self._usage()
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

    def _volume(self, method: str, words: list[str], query: Mapping[str, str], body: Any) -> tuple[int, Any]:
        if words == ["create"]:
            made = {"Name": body["Name"], "Labels": body["Labels"], "CreatedAt": "2026-01-01T00:00:00Z"}
            return 201, self.volumes.setdefault(body["Name"], made)
        if not words:
            wanted = json.loads(query["filters"])["label"]
            entries = [one for one in self.volumes.values() if _matches({"Config": one}, wanted)]
            return 200, {"Volumes": entries or None}
        found = self._found(self.volumes, words[0])
        if method == "DELETE":
            users = [one["Id"] for one in self.containers.values() if words[0] in _sources(one)]
            if users:
                return 409, {"message": f"remove {words[0]}: volume is in use - {users}"}
            del self.volumes[words[0]]
            return 204, None
        return 200, found

    def _usage(self) -> tuple[int, Any]:
        if self.busy_measuring:
            self.busy_measuring -= 1
            return 500, {"message": "a disk usage operation is already running"}
        return 200, {"Volumes": [{**one, "UsageData": {"Size": 4096}} for one in self.volumes.values()] or None}

    def _found(self, things: dict[str, dict[str, Any]], key: str) -> dict[str, Any]:
        for thing in things.values():
            if key in (thing.get("Id"), thing.get("Name")):
                return thing
        raise KeyError(key)

    def _container(self, method: str, words: list[str], query: Mapping[str, str], body: Any) -> tuple[int, Any]:
        if words == ["json"]:
            filters = json.loads(query["filters"])
            shown = [self._entry(one) for one in self.containers.values() if _matches(one, filters["label"])]
            return 200, [one for one in shown if one["State"] in filters.get("status", [one["State"]])]
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
        lost = [self.lost_volumes[name] for name in _sources(one) if name in self.lost_volumes]
        if verb == "start" and lost:
            return lost[0][0], {"message": lost[0][1]}
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
        for mount in body["HostConfig"].get("Mounts", ()):
            if mount["Type"] == "volume" and mount["Source"] not in self.volumes:
                labels = mount["VolumeOptions"]["Labels"]
                self.volumes[mount["Source"]] = {"Name": mount["Source"], "Labels": labels}
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
            "Mounts": [
                {"Type": "volume", "Name": one["Source"], "Destination": one["Target"], "RW": not one["ReadOnly"]}
                for one in body["HostConfig"].get("Mounts", ())
                if one["Type"] == "volume"
            ],
            "NetworkSettings": {"Networks": {network: {"IPAddress": self.address}}},
        }
        return 201, {"Id": number}

    def _entry(self, one: Mapping[str, Any]) -> dict[str, Any]:
        state = one["State"]["Status"]
        host = {"NetworkMode": one["HostConfig"]["NetworkMode"]}
        labels = one["Config"]["Labels"]
        return {"Id": one["Id"], "Labels": labels, "State": state, "Status": state, "HostConfig": host}


def _sources(container: Mapping[str, Any]) -> list[str]:
    """The volumes that a container has."""
    return [str(mount["Name"]) for mount in container["Mounts"]]


def _matches(one: Mapping[str, Any], wanted: list[str]) -> bool:
    labels = one["Config"]["Labels"]
    return all(
        (labels.get(key) == value) if equals else key in labels
        for key, equals, value in (word.partition("=") for word in wanted)
    )
