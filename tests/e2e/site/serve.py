"""The site that the browser's tests visit: `python3 serve.py PORT`; its pages are the .html files beside it.

/api/items is a small JSON, /api/headers tells what was asked with, /private wants ada and her password, /endless never
ends, /download/... is a file by a name, /download/hostile one with a name that climbs, /numbers is a page of 10,000
elements with a text each, /numbers?empty one of 10,000 that have none.
"""

from __future__ import annotations

import base64
import json
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

HERE = Path(__file__).parent
ADA = "Basic " + base64.b64encode(b"ada:engine 1842").decode()
REPORT = b"name,born\nAda,1815\nGrace,1906\n"
CLIMBING = "../../../../home/user/.ssh/authorized_keys"
NUMBERS = 10_000


def numbers(empty: bool) -> bytes:
    """A page with as many rows as a careless program makes, and one button among them."""
    rows = "".join(f"<div><span>{'' if empty else one}</span></div>" for one in range(NUMBERS))
    return f"<!doctype html><title>Numbers</title><h1>Numbers</h1><div>{rows}</div><button>Last one</button>".encode()


class Visit(BaseHTTPRequestHandler):
    """One request."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        path = unquote(urlsplit(self.path).path)
        if path.startswith("/download/"):
            name = CLIMBING if path == "/download/hostile" else path.rpartition("/")[2]
            self.say(REPORT, "application/octet-stream", ("Content-Disposition", f'attachment; filename="{name}"'))
        elif path == "/api/items":
            self.say(json.dumps({"items": ["bread", "milk"]}).encode(), "application/json")
        elif path == "/api/headers":
            self.say(json.dumps({name.lower(): value for name, value in self.headers.items()}).encode())
        elif path == "/private":
            self.private()
        elif path == "/endless":
            self.endless()
        elif path == "/numbers":
            self.say(numbers(self.path.endswith("?empty")), "text/html")
        else:
            self.page(path.strip("/") or "index.html")

    def page(self, name: str) -> None:
        file = HERE / name
        if file.parent != HERE or file.suffix != ".html" or not file.is_file():
            self.say(b"no such page", status=404)
            return
        self.say(file.read_bytes(), "text/html")

    def private(self) -> None:
        if self.headers.get("Authorization") == ADA:
            self.say(b"<title>Private</title>Welcome, Ada", "text/html")
        else:
            self.say(b"who are you?", "text/plain", ("WWW-Authenticate", 'Basic realm="site"'), status=401)

    def endless(self) -> None:
        """A page whose head comes, and then one dot now and again, as long as somebody listens."""
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.close_connection = True
        never = threading.Event()
        try:
            self.wfile.write(b"<!doctype html><title>Endless</title><p id=so-far>still coming</p>")
            while not never.wait(0.5):
                self.wfile.write(b".")
        except OSError:
            return

    def say(self, body: bytes, kind: str = "text/plain", *headers: tuple[str, str], status: int = 200) -> None:
        self.send_response(status)
        self.send_header("Content-Type", f"{kind}; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        for name, value in headers:
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_words: object) -> None:
        return


if __name__ == "__main__":
    ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Visit).serve_forever()
