"""A web server for machines, with nothing but Python: `python3 inner_server.py HOST PORT`.

/down?N bytes, /up counts them, /events one every 0.2 s, /socket echoes, /hits tells what was asked, / is a page that
attacks the origin in its query, if there is one.
"""

from __future__ import annotations

import base64
import hashlib
import json
import socket
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

HITS: list[str] = []
PIECE = bytes(1024 * 1024)
PAGE = """<!doctype html><title>inside</title><h1>inside</h1><pre id=said></pre><script>
const other = new URLSearchParams(location.search).get("attack"), said = {};
const show = () => document.getElementById("said").textContent = JSON.stringify(said);
const tell = (name) => (what) => { said[name] = String(what); show(); };
const socketTo = (name, url) => {
  const socket = new WebSocket(url.replace("http", "ws") + "/socket");
  socket.onopen = () => socket.send("hello");
  socket.onmessage = (message) => tell(name)("echo " + message.data);
  socket.onerror = () => tell(name)("refused");
};
if (other) {
  fetch(other + "/attack-fetch", {credentials: "include"}).then(() => "read", () => "refused").then(tell("fetch"));
  fetch(other + "/attack-post", {method: "POST", mode: "no-cors", credentials: "include"})
    .then((answer) => answer.type, () => "refused").then(tell("post"));
  const image = new Image();
  image.onload = () => tell("image")("read");
  image.onerror = () => tell("image")("refused");
  image.src = other + "/attack-image.svg";
  socketTo("socket", other);
  const frame = document.createElement("iframe");
  frame.onload = () => tell("frame")("loaded");
  frame.src = other + "/attack-frame";
  document.body.append(frame);
  document.cookie = "tossed=1; domain=" + location.hostname.split(".").slice(1).join(".");
} else {
  socketTo("socket", location.origin);
}
</script>"""


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        path, _, query = self.path.partition("?")
        if path == "/hits":
            self.say(json.dumps(HITS).encode())
            return
        HITS.append(f"{self.command} {path}")
        if path == "/down":
            self.head("application/octet-stream", int(query))
            left = int(query)
            while left:
                left -= self.wfile.write(PIECE[:left])
        elif path == "/events":
            self.send_response(200)
            self.send_header("Content-Type", "text/event-stream")
            self.send_header("Connection", "close")
            self.end_headers()
            for number in range(5):
                self.wfile.write(b"data: %d\n\n" % number)
                time.sleep(0.2)
            self.close_connection = True
        elif path == "/socket":
            self.echo()
        elif path == "/headers":
            self.say(json.dumps(dict(self.headers)).encode())
        elif path.endswith(".svg"):
            self.say(b'<svg xmlns="http://www.w3.org/2000/svg" width="1" height="1"/>', "image/svg+xml")
        else:
            self.say(PAGE.encode(), "text/html")

    def do_POST(self) -> None:
        HITS.append(f"POST {self.path}")
        left = total = int(self.headers.get("Content-Length", 0))
        while left:
            left -= len(self.rfile.read(min(left, len(PIECE))))
        self.say(str(total).encode())

    def do_PUT(self) -> None:
        self.do_POST()

    def echo(self) -> None:
        key = self.headers["Sec-WebSocket-Key"] + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
        self.send_response(101)
        self.send_header("Connection", "Upgrade")
        self.send_header("Upgrade", "websocket")
        self.send_header("Sec-WebSocket-Accept", base64.b64encode(hashlib.sha1(key.encode()).digest()).decode())
        self.end_headers()
        while (head := self.rfile.read(2)) and head[0] & 15 != 8:
            mask, data = self.rfile.read(4), self.rfile.read(head[1] & 127)
            plain = bytes(byte ^ mask[at % 4] for at, byte in enumerate(data))
            self.wfile.write(bytes((head[0], len(plain))) + plain)
        self.close_connection = True

    def say(self, body: bytes, kind: str = "text/plain") -> None:
        self.head(kind, len(body))
        self.wfile.write(body)

    def head(self, kind: str, length: int) -> None:
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(length))
        self.send_header("Access-Control-Allow-Origin", "*")
        self.end_headers()

    def log_message(self, *_words: object) -> None:
        return


class Server(ThreadingHTTPServer):
    address_family = socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET
    daemon_threads = True


if __name__ == "__main__":
    Server((sys.argv[1], int(sys.argv[2])), Handler).serve_forever()
