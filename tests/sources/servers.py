"""Servers on loopback that misbehave: a file server with ranges and ETags, and a proxy in front of an S3 server."""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import re
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit


@dataclass(frozen=True)
class Reply:
    """An answer on its way out, and what goes wrong with it on the way."""

    status: int
    headers: dict[str, str]
    body: bytes
    cut: int | None = None  # bytes of the body after which the connection ends
    reset: bool = False  # it ends with RST, not FIN
    stall: bool = False  # it does not end: nothing more comes
    trickle: float = 0.0  # seconds between two bytes


Fault = Callable[[Reply], Reply]


def refuse(status: int, retry_after: str = "") -> Fault:
    headers = {"Retry-After": retry_after} if retry_after else {}
    body = (
        b"<?xml version='1.0'?><Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>"
    )
    return lambda reply: Reply(status, {**headers, "Content-Length": str(len(body))}, body)


def drop(after: int, reset: bool = False) -> Fault:
    return lambda reply: replace(reply, cut=after, reset=reset)


def stall(after: int) -> Fault:
    return lambda reply: replace(reply, cut=after, stall=True)


def trickle(seconds: float) -> Fault:
    return lambda reply: replace(reply, trickle=seconds)


def with_header(name: str, change: Callable[[str], str]) -> Fault:
    return lambda reply: replace(reply, headers={**reply.headers, name: change(reply.headers.get(name, ""))})


def without_header(name: str) -> Fault:
    return lambda reply: replace(reply, headers={k: v for k, v in reply.headers.items() if k != name})


def longer(reply: Reply) -> Reply:
    """More than was promised: no Content-Length, and rubbish behind the body."""
    headers = {k: v for k, v in reply.headers.items() if k != "Content-Length"}
    return replace(reply, headers={**headers, "Connection": "close"}, body=reply.body + b"rubbish" * 1000)


@dataclass
class Server:
    """Serves `files` by path, or what `upstream` (host:port) answers; the next fault befalls the next GET of an object."""

    files: dict[str, bytes] = field(default_factory=dict)
    upstream: str = ""
    ranges: bool = True
    etags: bool = True
    most: int = 1 << 40  # bytes of a range that it is willing to send
    faults: list[Fault | None] = field(default_factory=list)  # one a request; None: nothing befalls it
    always: Fault | None = None  # when there are none left
    log: list[tuple[float, str, str, int]] = field(default_factory=list)  # moment, path, Range, status
    url: str = ""
    stopping: threading.Event = field(default_factory=threading.Event)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def befall(self, reply: Reply) -> Reply:
        with self.lock:
            fault = self.faults.pop(0) if self.faults else self.always
        return fault(reply) if fault else reply

    def statuses(self) -> list[int]:
        return [status for *_, status in self.log]

    def answer(self, path: str, headers: http.client.HTTPMessage) -> Reply:
        body = self.files.get(unquote(urlsplit(path).path))
        if body is None:
            return Reply(404, {"Content-Length": "0"}, b"")
        tag = f'"{hashlib.md5(body).hexdigest()}"'
        told = {"ETag": tag} if self.etags else {}
        told["Last-Modified"] = "Sun, 18 Oct 2026 10:00:00 GMT"
        if headers.get("If-Match", tag) != tag:
            return Reply(412, {"Content-Length": "0"}, b"")
        asked = re.fullmatch(r"bytes=(\d+)-(\d+)", headers.get("Range", ""))
        if not self.ranges or not asked:
            return Reply(200, {**told, "Content-Length": str(len(body))}, body)
        start, stop = int(asked[1]), min(int(asked[2]) + 1, len(body), int(asked[1]) + self.most)
        if start >= len(body):
            return Reply(416, {"Content-Range": f"bytes */{len(body)}", "Content-Length": "0"}, b"")
        told["Content-Range"] = f"bytes {start}-{stop - 1}/{len(body)}"
        return Reply(206, {**told, "Content-Length": str(stop - start)}, body[start:stop])

    def forward(self, method: str, path: str, headers: http.client.HTTPMessage, body: bytes) -> Reply:
        connection = http.client.HTTPConnection(self.upstream)
        passed = {k: v for k, v in headers.items() if k.lower() not in ("host", "connection")}
        connection.request(method, path, body, passed | {"Host": self.upstream})
        response = connection.getresponse()
        content = response.read()
        kept = {
            k: v for k, v in response.getheaders() if k.lower() not in ("connection", "transfer-encoding", "server")
        }
        connection.close()
        if method != "HEAD":
            kept = {k: v for k, v in kept.items() if k.lower() != "content-length"} | {
                "Content-Length": str(len(content))
            }
        return Reply(response.status, kept, content)


@contextlib.contextmanager
def serving(server: Server) -> Iterator[Server]:
    """The server at work, its address in `url`, until the block ends."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_GET(self) -> None:
            if server.upstream:
                size = int(self.headers.get("Content-Length") or 0)
                reply = server.forward(self.command, self.path, self.headers, self.rfile.read(size))
            else:
                reply = server.answer(self.path, self.headers)
            if self.command == "GET" and (not server.upstream or "list-type" not in self.path):
                reply = server.befall(reply)
            server.log.append((time.monotonic(), self.path, self.headers.get("Range", ""), reply.status))
            with contextlib.suppress(OSError):
                self.deliver(reply)

        do_HEAD = do_PUT = do_POST = do_DELETE = do_GET

        def deliver(self, reply: Reply) -> None:
            self.send_response(reply.status)
            for name, value in reply.headers.items():
                self.send_header(name, value)
                self.close_connection |= (name, value) == ("Connection", "close")
            self.end_headers()
            if self.command == "HEAD":
                return
            if reply.trickle:
                for byte in reply.body:
                    self.wfile.write(bytes([byte]))
                    if server.stopping.wait(reply.trickle):
                        return
            if reply.cut is None:
                self.wfile.write(reply.body)
                return
            self.wfile.write(reply.body[: reply.cut])
            self.close_connection = True
            if reply.stall:
                server.stopping.wait()
            if reply.reset:
                time.sleep(0.02)  # RST also takes back what was sent and not yet read
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                self.connection.close()

        def log_message(self, *args: object) -> None:
            pass

    class Quiet(ThreadingHTTPServer):
        daemon_threads = True
        request_queue_size = 128

        def handle_error(self, *args: object) -> None:
            pass

    with Quiet(("127.0.0.1", 0), Handler) as listening:
        server.url = f"http://127.0.0.1:{listening.server_address[1]}"
        thread = threading.Thread(target=listening.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.stopping.set()
            listening.shutdown()
            thread.join()


@contextlib.contextmanager
def s3_server() -> Iterator[str]:
    """moto's S3 server on loopback; its address, host:port."""
    from moto.server import ThreadedMotoServer

    moto = ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    moto.start()
    try:
        host, port = moto.get_host_and_port()
        yield f"{host}:{port}"
    finally:
        moto.stop()
