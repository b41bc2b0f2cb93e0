"""Apps for the tests of this room: small programs of ours that listen, crash and linger as they are told."""

from __future__ import annotations

import json
import os
import sys
from typing import Any

from tests.unit.guest.machine import Machine

PROGRAM = r"""
import os, socket, sys, threading, time
place, *words = sys.argv[1:]
print("begins", os.getpid(), flush=True)
starts = os.path.join(os.environ["HOME"], "starts." + os.path.basename(os.environ["CLOUDROUTER_APP"]))
open(starts, "a").write(f"{os.getpid()}\n")
if "wait" in words:
    while not os.path.exists(os.path.join(os.environ["HOME"], "go")):
        time.sleep(0.01)
if "fail" in words:
    print("cannot go on", file=sys.stderr, flush=True)
    sys.exit(3)
if "daemon" in words:
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            time.sleep(600)
        os._exit(0)
if "never" in words:
    time.sleep(600)
if place.isdigit():
    server = socket.create_server(("127.0.0.1", int(place)))
else:
    server = socket.socket(socket.AF_UNIX)
    server.bind(place)
    server.listen(64)

def serve(connection):
    first = connection.recv(65536)
    if first.startswith(b"GET "):
        status = b"503 no" if "sick" in words else b"204 ok"
        connection.sendall(b"HTTP/1.1 " + status + b"\r\n\r\n")
    elif first.startswith(b"exit "):
        os._exit(int(first.split()[1]))
    elif first.startswith(b"env "):
        connection.sendall(os.environ.get(first.split()[1].decode(), "-").encode())
    else:
        while first:
            connection.sendall(first)
            first = connection.recv(65536)
    connection.close()

while True:
    threading.Thread(target=serve, args=(server.accept()[0],), daemon=True).start()
"""


def install(machine: Machine, name: str, /, *words: str, **keys: Any) -> None:
    """Put an app into a machine's folder; words tell its program how to behave, keys are those of app.json."""
    folder = f"{machine.root}/apps/{name}"
    os.makedirs(folder)
    with open(f"{folder}/program.py", "w") as file:
        file.write(PROGRAM)
    place = str(keys["port"]) if "port" in keys else "${socket}"
    body = {
        "name": name,
        "title": name.title(),
        "view": "http",
        "command": [sys.executable, "${app}/program.py", place, *words],
        "start_timeout_s": 20,
        **({} if "port" in keys else {"socket": True}),
        **keys,
    }
    with open(f"{folder}/app.json", "w") as file:
        json.dump({key: value for key, value in body.items() if value is not ...}, file)


def starts(machine: Machine, name: str) -> list[int]:
    """The processes that the app was started as, in order."""
    try:
        with open(f"{machine.home}/starts.{name}") as file:
            return [int(line) for line in file]
    except FileNotFoundError:
        return []
