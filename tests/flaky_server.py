"""A server between a client and a real one, that misbehaves as told, and counts."""

import contextlib
import threading
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

#: Given a path and how often it was asked for, from 1: "" to behave, "503" to refuse, "cut" to
#: break off in the middle, "flip" to change a bit.
Behaviour = Callable[[str, int], str]


class FlakyServer(ThreadingHTTPServer):
    """Passes requests on to `upstream`."""

    def __init__(self, upstream: str, behaviour: Behaviour) -> None:
        self.asked: Counter[str] = Counter()
        self.behaviour = behaviour
        self.upstream = upstream
        self.lock = threading.Lock()
        super().__init__(("127.0.0.1", 0), _Handler)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Handler(BaseHTTPRequestHandler):
    server: FlakyServer
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        server = self.server
        with server.lock:
            server.asked[self.path] += 1
            times = server.asked[self.path]
        manner = server.behaviour(self.path, times)
        if manner == "503":
            self._answer(503, b"")
            return
        try:
            with urllib.request.urlopen(server.upstream + self.path) as answer:
                status, body = answer.status, answer.read()
        except urllib.error.HTTPError as error:
            status, body = error.code, b""
        if manner == "flip":
            body = body[:-1] + bytes([body[-1] ^ 1])
        self._answer(status, body, half=manner == "cut")

    def _answer(self, status: int, body: bytes, *, half: bool = False) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: len(body) // 2] if half else body)
        self.close_connection = half

    def log_message(self, *_arguments: object) -> None:
        pass


@contextlib.contextmanager
def flaky(upstream: str, behaviour: Behaviour = lambda path, times: "") -> Iterator[FlakyServer]:
    """Run one for the length of a block."""
    server = FlakyServer(upstream, behaviour)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
