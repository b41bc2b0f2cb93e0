"""A browser for the tests of this room: a small debugging port, and an agent-browser that does as it is told."""

from __future__ import annotations

import json
import os
import socket
import sys
from typing import Any

from tests.unit.guest.machine import LIBRARIES, Machine

CHROMIUM = r"""
import asyncio, json, os, sys
sys.path[:0] = [sys.argv[2]]
from http import HTTPStatus
from websockets.asyncio.server import serve
port, home = int(sys.argv[1]), os.environ["HOME"]
dialogs = {"confirm": "Sure?", "alert": "Hello"}

def answer(connection, request):
    url = f"ws://127.0.0.1:{port}/devtools/browser/{os.getpid()}"
    if request.path == "/json/version":
        return connection.respond(HTTPStatus.OK, json.dumps({"webSocketDebuggerUrl": url}))
    if request.path == "/json/list":
        return connection.respond(HTTPStatus.OK, json.dumps([{"id": "TAB1", "type": "page"}]))

sockets = set()

async def obey():  # what a test writes into this file happens, for all who listen
    async def say(method, params, session=""):
        for socket in list(sockets):
            await socket.send(json.dumps({"method": method, "params": params, "sessionId": session}))
    while True:
        await asyncio.sleep(0.01)
        try:
            words = open(f"{home}/event").read().split()
            os.unlink(f"{home}/event")
        except FileNotFoundError:
            continue
        if words[0] in dialogs:
            await say("Page.javascriptDialogOpening", {"type": words[0], "message": dialogs[words[0]]}, "S-TAB1")
        elif words[0] == "closed":
            await say("Page.javascriptDialogClosed", {}, "S-TAB1")
        elif words[0] == "crash":
            await say("Target.targetCrashed", {"targetId": "TAB1"})
        elif words[0] == "gone":
            await say("Target.targetDestroyed", {"targetId": "TAB1"})
        elif words[0] == "event":
            await say(words[1], json.loads(" ".join(words[2:])), "S-TAB1")

async def talk(socket):
    async def say(method, params, session=""):
        await socket.send(json.dumps({"method": method, "params": params, "sessionId": session}))
    sockets.add(socket)
    async for text in socket:
        asked = json.loads(text)
        open(f"{home}/cdp.log", "a").write(text + "\n")
        method, result = asked["method"], {}
        if method == "Target.setDiscoverTargets":
            info = {"targetId": "TAB1", "type": "page", "url": "http://page/"}
            await say("Target.targetCreated", {"targetInfo": info})
        elif method == "Target.attachToTarget":
            result = {"sessionId": "S-" + asked["params"]["targetId"]}
            info = {"targetId": "TAB1", "type": "page"}
            await say("Target.attachedToTarget", {"sessionId": "S-TAB1", "targetInfo": info})
        elif method == "Runtime.evaluate" and "querySelector" in asked["params"]["expression"]:
            kind = "field" if '"#name"' in asked["params"]["expression"] else "other"
            result = {"result": {"value": {"kind": kind, "what": "<button>"}}}
        elif method == "Page.handleJavaScriptDialog":
            await say("Page.javascriptDialogClosed", {}, "S-TAB1")
        await socket.send(json.dumps({"id": asked["id"], "result": result}))
    sockets.discard(socket)

async def main():
    async with serve(talk, "127.0.0.1", port, process_request=answer):
        open(f"{home}/starts", "a").write(f"{os.getpid()}\n")
        await obey()
asyncio.run(main())
"""
TOOL = r"""
import json, os, sys, time
asked = json.load(sys.stdin)
home, session, sockets = os.environ["HOME"], os.environ["AGENT_BROWSER_SESSION"], os.environ["AGENT_BROWSER_SOCKET_DIR"]
words = asked[-1]
before = asked[:-1]
if words[:2] == ["get", "value"] and before and before[-1][0] == "fill":
    open(f"{home}/value", "w").write(before[-1][2][:20])
with open(f"{home}/tool.log", "a") as log:
    log.write(json.dumps({"argv": sys.argv[1:], "asked": asked, "session": session, "cwd": os.getcwd(),
                          "env": dict(os.environ), "began": time.monotonic()}) + "\n")
ok, data, more = True, {"lifecycle": {"noise": 1}}, {}
if words[0] == "eval" and words[1].startswith("sleep"):
    end = time.monotonic() + float(words[1].split()[1])
    while time.monotonic() < end and not os.path.exists(f"{home}/go"):
        time.sleep(0.01)
    data["result"] = "slept"
elif words[0] == "eval" and words[1].startswith("big"):
    data["result"] = "x" * int(words[1].split()[1])
elif words[0] == "eval" and words[1] == "die":
    os.kill(os.getpid(), 9)
elif words[0] == "eval" and words[1] == "garbage":
    print("no json"); sys.exit(1)
elif words[0] == "eval":
    data["result"] = words[1]
elif words[:2] == ["get", "value"]:
    data["value"] = open(f"{home}/value").read()
elif words[0] == "fill":
    open(f"{home}/value", "w").write(words[2][:20])
elif words[0] == "screenshot":
    open(words[1], "w").write("PNG")
    os.chmod(words[1], 0o644)
    data["path"] = words[1]
elif words[0] == "click" and words[1].startswith("@"):
    ok, more = False, {"error": "Unknown ref: " + words[1][1:]}
elif words[0] == "click" and words[1] == "#gone":
    ok, more = False, {"error": "tab_gone: bound tab is gone", "code": "tab_gone"}
elif words[0] == "wait":
    time.sleep(int(words[-1]) / 1000)
    ok, more = False, {"error": f"Wait timed out after {words[-1]}ms"}
elif words[0] == "open" and words[1:] == ["http://gone"]:
    ok, more = False, {"error": "tab_gone: bound tab is gone", "code": "tab_gone"}
elif words[0] == "snapshot":
    data.update(snapshot="- button \"Go\" [ref=e2]\n" * 4000, refs={"e1": {"role": "textbox", "name": ""},
                "e2": {"role": "button", "name": "Go"}})
print(json.dumps([{"success": True}] * (len(asked) - 1) + [{"success": ok, "result": data, **more}]))
sys.exit(0 if ok else 1)
"""


def install(machine: Machine) -> None:
    """Put the browser into a machine's folder of apps."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    folder = f"{machine.root}/apps/browser"
    os.makedirs(f"{folder}/bin")
    with open(f"{folder}/chromium.py", "w") as file:
        file.write(CHROMIUM)
    with open(f"{folder}/bin/agent-browser", "w") as file:
        file.write(f"#!{sys.executable}\n{TOOL}")
    os.chmod(f"{folder}/bin/agent-browser", 0o755)
    body = {
        "name": "browser",
        "title": "Browser",
        "view": "none",
        "command": [sys.executable, "${app}/chromium.py", str(port), LIBRARIES],
        "port": port,
        "start_timeout_s": 20,
        "health": {"path": "/json/version"},
    }
    with open(f"{folder}/app.json", "w") as file:
        json.dump(body, file)


def told(machine: Machine) -> list[dict[str, Any]]:
    """How agent-browser was run, each time."""
    try:
        with open(f"{machine.home}/tool.log") as file:
            return [json.loads(line) for line in file]
    except FileNotFoundError:
        return []


def asked(machine: Machine, session: str = "main") -> list[list[str]]:
    """The commands of a session, without those that close the pictures' door or look at what a field holds."""
    runs = [one["asked"] for one in told(machine) if one["session"] == session]
    return [words for run in runs for words in run if words[:2] not in (["stream", "disable"], ["get", "value"])]


def cdp_log(machine: Machine) -> list[dict[str, Any]]:
    """What the guest has asked the debugging port."""
    with open(f"{machine.home}/cdp.log") as file:
        return [json.loads(line) for line in file]


def happen(machine: Machine, *words: str) -> None:
    """Have the browser tell an event."""
    with open(f"{machine.home}/event.new", "w") as file:
        file.write(" ".join(words))
    os.rename(f"{machine.home}/event.new", f"{machine.home}/event")
