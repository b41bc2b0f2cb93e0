"""A guest for fake routers: real files in a folder, real commands without their input's window, scripted failures."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from websockets.sync.server import ServerConnection

from cloudrouter.trees.pack import PackReport, pack, pack_file
from cloudrouter.trees.reader import Reader
from cloudrouter.trees.unpack import unpack, unpack_file
from cloudrouter.wire.errors import CloudRouterError, NotFound
from cloudrouter.wire.streams import CHUNK, WINDOW

TIMEOUT_S = 20.0


@dataclass
class FakeGuest:
    """Works in `root`. `alter` may change the final message; `before` runs when a request has arrived."""

    root: str
    alter: Callable[[dict[str, Any]], dict[str, Any]] = lambda message: message
    before: Callable[[ServerConnection, dict[str, Any]], None] = lambda _connection, _request: None
    requests: list[dict[str, Any]] = field(default_factory=list)
    job: dict[str, Any] = field(default_factory=dict)

    def talk(self, connection: ServerConnection, _path: str) -> None:
        request = json.loads(connection.recv(TIMEOUT_S))
        self.requests.append(request)
        self.before(connection, request)
        try:
            work = getattr(self, request["op"].replace(".", "_"))
            final = work(connection, request)
        except CloudRouterError as error:
            final = {"error": error.to_json()}
        connection.send(json.dumps(self.alter(final)))

    def path(self, request: dict[str, Any]) -> str:
        return os.path.normpath(os.path.join(self.root, request["path"]))

    def put(self, connection: ServerConnection, request: dict[str, Any]) -> dict[str, Any]:
        reader = Reader(self._data(connection))
        target = self.path(request)
        if request["kind"] == "tree":
            report = unpack(reader.read, target, policy="any")
        else:
            report = unpack_file(reader.read, target)
        while reader.read(CHUNK):
            pass
        counts = {"files": report.files, "dirs": report.dirs, "links": report.links, "bytes": report.bytes}
        return {"done": {**counts, "refused": [list(one) for one in report.refused]}}

    def get(self, connection: ServerConnection, request: dict[str, Any]) -> dict[str, Any]:
        source, report = self.path(request), PackReport()
        if not os.path.lexists(source):
            raise NotFound(f"There is no {request['path']} in the machine.")
        kind = "tree" if os.path.isdir(source) else "file"
        name = os.path.basename(source)
        chunks = pack(source, report=report) if kind == "tree" else pack_file(source, name, report=report)
        connection.send(json.dumps({"started": {"kind": kind, "name": name, "real": os.path.realpath(source)}}))
        for chunk in chunks:
            connection.send(b"\x01" + chunk)
        return {"done": {"files": report.files, "dirs": report.dirs, "links": report.links, "bytes": report.bytes}}

    def exec(self, connection: ServerConnection, request: dict[str, Any]) -> dict[str, Any]:
        argv = request.get("argv") or ["/bin/sh", "-c", request["line"]]
        data = b"".join(self._data(connection)) if request.get("stdin") else b""
        cwd = os.path.join(self.root, request.get("cwd", ""))
        env = {**os.environ, **request.get("env", {})}
        done = subprocess.run(argv, input=data, cwd=cwd, env=env, capture_output=True, check=False)
        for channel, output in ((b"\x01", done.stdout), (b"\x02", done.stderr)):
            if output:
                connection.send(channel + output)
        return {"exit": {"code": done.returncode, "signal": None, "timeout": False, "duration_ms": 3}}

    def job_start(self, _connection: ServerConnection, request: dict[str, Any]) -> dict[str, Any]:
        self.job = {"id": "job_4tq8w2", "command": request["line"], "state": "running", "pid": 5}
        return {"job": self.job}

    def job_list(self, _connection: ServerConnection, _request: dict[str, Any]) -> dict[str, Any]:
        return {"jobs": [self.job] if self.job else []}

    def job_logs(self, connection: ServerConnection, request: dict[str, Any]) -> dict[str, Any]:
        if request.get("tail") != 0:
            connection.send(b"\x01out\n")
            connection.send(b"\x02err\n")
        self.job.update(state="exited", code=4)
        return {"end": {"state": "exited", "code": 4}}

    def job_wait(self, _connection: ServerConnection, _request: dict[str, Any]) -> dict[str, Any]:
        self.job.update(state="exited", code=4)
        return {"job": self.job}

    def _data(self, connection: ServerConnection) -> Iterator[bytes]:
        """The opener's data, granting what was read and holding the opener to the window."""
        window = WINDOW
        while True:
            message = connection.recv(TIMEOUT_S)
            if isinstance(message, str):
                assert json.loads(message) == {"eof": True}
                return
            window -= len(message)
            assert window >= 0
            assert len(message) <= CHUNK
            yield message
            connection.send(json.dumps({"window": len(message)}))
            window += len(message)
