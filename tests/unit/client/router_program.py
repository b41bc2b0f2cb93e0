"""A small router as a program: called as Python would be called to run ours. `FAKE_MODE` says how it behaves.

Each start adds a line to `starts` in the state folder, so that a test can count them.
"""

from __future__ import annotations

import fcntl
import json
import os
import socket
import sys
import threading


def main(argv: list[str]) -> int:
    assert argv[:5] == ["-m", "cloudrouter", "server", "run", "--detached"], argv
    assert argv[5] == "--ready-fd"
    ready = int(argv[6])
    mode = os.environ.get("FAKE_MODE", "serve")
    with open(os.environ["CLOUDROUTER_STATE_DIR"] + "/starts", "a", encoding="utf-8") as starts:
        starts.write(f"{os.getpid()}\n")
    if mode == "silent death":
        sys.stderr.write("Traceback (most recent call last):\nImportError: no module \x1b[31mx\n")
        return 1
    if mode == "told error":
        error = {"code": "not_configured", "message": "No engine.", "fix": "Install one.", "next": "make engine"}
        os.write(ready, f"error {json.dumps(error)}\n".encode())
        return 1
    if mode == "hangs":
        sys.stderr.write("still migrating\n")
        sys.stderr.flush()
        threading.Event().wait(60)
    return serve(ready)


def serve(ready: int) -> int:
    lock = open(os.environ["CLOUDROUTER_STATE_DIR"] + "/router.lock", "w", encoding="utf-8")  # noqa: SIM115
    fcntl.flock(lock, fcntl.LOCK_EX)
    path = os.environ["CLOUDROUTER_RUNTIME_DIR"] + "/router.sock"
    if os.path.exists(path):
        os.unlink(path)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen(64)
    os.write(ready, b"ok\n")
    os.close(ready)
    stopping = threading.Event()
    threading.Thread(target=accept, args=(listener, stopping), daemon=True).start()
    stopping.wait(60)
    os.unlink(path)
    return 0


def accept(listener: socket.socket, stopping: threading.Event) -> None:
    while True:
        sock, _ = listener.accept()
        threading.Thread(target=answer, args=(sock, stopping), daemon=True).start()


def answer(sock: socket.socket, stopping: threading.Event) -> None:
    while request := sock.recv(65536):
        facts = {"pid": os.getpid(), "cwd": os.getcwd(), "argv": sys.argv, "fds": os.listdir("/proc/self/fd")}
        facts["sid"] = os.getsid(0)
        body = json.dumps(facts).encode()
        version = os.environ.get("FAKE_VERSION", "0.1.0")
        head = f"HTTP/1.1 200 OK\r\nx-cloudrouter-version: {version}\r\ncontent-length: {len(body)}\r\n\r\n"
        sock.sendall(head.encode() + body)
        if request.startswith(b"POST /v1/server/stop"):
            stopping.set()


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
