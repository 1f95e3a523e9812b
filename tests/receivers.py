"""Receivers of webhooks: real HTTP servers in threads, which fail, hang, die and come back."""

import base64
import contextlib
import hmac
import json
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.nodes import free_port


@dataclass(frozen=True)
class Posted:
    """A request that a receiver was sent."""

    path: str
    headers: Message
    body: bytes
    at: float

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(frozen=True)
class Reply:
    """What a receiver does with a request."""

    status: int = 204
    headers: dict[str, str] = field(default_factory=dict)
    hang: bool = False
    """Answer nothing, until the receiver is stopped."""


Behaviour = Callable[[Posted], Reply]


class Receiver:
    """Listens on one port, again and again; keeps what it was sent."""

    def __init__(self, port: int | None = None) -> None:
        self.port = port or free_port()
        self.behaviour: Behaviour = lambda _posted: Reply()
        self.requests: list[Posted] = []
        """All, in the order in which they came."""
        self.taken: list[Posted] = []
        """Those that were answered with success."""
        self._server: ThreadingHTTPServer | None = None
        self._stopping = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook"

    def start(self) -> None:
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                receiver._answer(self)

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            block_on_close = False
            request_queue_size = 128

            def handle_error(self, request: Any, client_address: Any) -> None:
                pass  # who hangs up is tested for

        self._stopping.clear()
        self._server = Server(("127.0.0.1", self.port), Handler)
        threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True
        ).start()

    def stop(self) -> None:
        """Close the port: connecting is refused."""
        if self._server is not None:
            self._stopping.set()
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    def _answer(self, request: BaseHTTPRequestHandler) -> None:
        body = request.rfile.read(int(request.headers["Content-Length"]))
        if self._stopping.is_set():  # a connection of before: it breaks, as its server would
            request.close_connection = True
            return
        posted = Posted(request.path, request.headers, body, time.time())
        self.requests.append(posted)
        reply = self.behaviour(posted)
        if reply.hang:
            self._stopping.wait(60)
            request.close_connection = True
            return
        # Before the answer: whoever has it may look here.
        if 200 <= reply.status < 300:
            self.taken.append(posted)
        with contextlib.suppress(ConnectionError):
            request.send_response(reply.status)
            for name, value in reply.headers.items():
                request.send_header(name, value)
            if reply.status != 204:
                request.send_header("Content-Length", "0")
            request.end_headers()


def is_signed(posted: Posted, key: bytes) -> bool:
    """Whether a signature holds, by the text of Standard Webhooks and nothing of ours."""
    headers = posted.headers
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + posted.body
    expected = base64.b64encode(hmac.digest(key, signed, "sha256")).decode()
    return headers["webhook-signature"] == f"v1,{expected}"


def out_of_order(taken: Iterable[Posted]) -> list[str]:
    """Return the ids of what came first when something later of its study had come."""
    seen: set[str] = set()
    last: dict[str, int] = {}
    wrong = []
    for posted in taken:
        told, key = posted.json, posted.headers["webhook-id"]
        if key not in seen:
            if told["sequence"] < last.get(told["study"], 0):
                wrong.append(key)
            last[told["study"]] = told["sequence"]
        seen.add(key)
    return wrong


@contextlib.contextmanager
def receiving() -> Iterator[Receiver]:
    receiver = Receiver()
    receiver.start()
    try:
        yield receiver
    finally:
        receiver.stop()
