"""A web server on a loopback port that says, byte for byte, what a test tells it to say.

``with HttpServer() as server:`` then

- ``server.on("/path", behaviour)``: a function that gets the :class:`Exchange` and writes the answer;
- ``server.script("name", stub)``: replays the stub of an ``http_request`` step, an item a request, and returns the URL
  to put into the step. ``{"error": ..}`` breaks the connection, as does a request behind the end of the list.
"""

from __future__ import annotations

import contextlib
import json
import socket
import ssl
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

JSON = "application/json"


@dataclass
class Exchange:
    """One request, and the connection to answer it on.

    :param target: The request's path and query as sent.
    :param headers: Names in lower case.
    """

    method: str
    target: str
    headers: dict[str, str]
    body: bytes
    connection: socket.socket
    number: int
    server: HttpServer
    keep_open: bool = field(default=False)

    def write(self, data: bytes) -> None:
        """Send bytes as they are."""
        self.connection.sendall(data)

    def answer(self, status: int = 200, body: bytes = b"", **headers: str) -> None:
        """Send an answer with its length; the connection stays open. ``_`` in a header's name stands for ``-``."""
        lines = [f"HTTP/1.1 {status} Stub"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        if not {"content_length", "transfer_encoding"} & set(headers):
            lines.append(f"content-length: {len(body)}")
        self.write("\r\n".join([*lines, "", ""]).encode("latin-1") + body)
        self.keep_open = True

    def redirect(self, location: str, status: int = 302) -> None:
        """Send a redirect."""
        self.answer(status, location=location)

    def wait(self) -> None:
        """Say nothing until the client goes or the server stops."""
        with contextlib.suppress(OSError):
            while self.connection.recv(4096):
                pass


Behaviour = Callable[[Exchange], None]


class HttpServer:
    """The server; its threads end with the context.

    :param context: For TLS.

    ``requests`` are those so far, ``connections`` counts; ``closed`` is released at the end of each connection.
    """

    def __init__(self, context: ssl.SSLContext | None = None) -> None:
        self.requests: list[Exchange] = []
        self.connections = 0
        self.closed = threading.Semaphore(0)
        self._context = context
        self._routes: dict[str, Behaviour] = {}
        self._scripts: dict[str, list[Any] | Any] = {}
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])

    def __enter__(self) -> HttpServer:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        with self._lock:
            for connection in self._open:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)

    def url(self, path: str = "/", host: str = "127.0.0.1") -> str:
        """Return a URL of this server; every name may be meant to lead here."""
        return f"{'https' if self._context else 'http'}://{host}:{self.port}{path}"

    def on(self, path: str, behaviour: Behaviour) -> None:
        """Answer requests of a path (without its query) so from now on."""
        self._routes[path] = behaviour

    def script(self, name: str, stub: Any) -> str:
        """Replay a stub and return the URL that does so.

        The answers have exactly the stub's headers; their end is the end of the connection.

        :param name: Unique in the server, e.g. workflow and task.
        :param stub: One output for every request, or a list with an item a request.
        """
        for item in stub if isinstance(stub, list) else [stub]:
            _check_output(item)
        self._scripts[name] = list(stub) if isinstance(stub, list) else stub
        self.on(f"/{name}", lambda exchange: self._replay(name, exchange))
        return self.url(f"/{name}")

    def _replay(self, name: str, exchange: Exchange) -> None:
        with self._lock:
            script = self._scripts[name]
            if isinstance(script, list):
                item = script.pop(0) if script else {"error": "the script is exhausted"}
            else:
                item = script
        if set(item) != {"error"}:
            head = [f"HTTP/1.1 {item['status']} Stub", *(f"{key}: {text}" for key, text in item["headers"].items())]
            body = json.dumps(item["json"]) if "json" in item else item["text"]
            exchange.write("\r\n".join([*head, "", ""]).encode() + body.encode())

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with self._lock:
                self.connections += 1
                self._open.add(connection)
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, raw: socket.socket) -> None:
        connection = raw
        try:
            if self._context:
                connection = self._context.wrap_socket(raw, server_side=True)
            # One request after the other, as long as the answers say where they end.
            while (exchange := self._read(connection)) is not None:
                self._routes.get(exchange.target.partition("?")[0], _not_found)(exchange)
                if not exchange.keep_open:
                    break
        except OSError:
            pass  # The client has gone, or the test is over.
        finally:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            connection.close()
            with self._lock:
                self._open.discard(raw)
            self.closed.release()

    def _read(self, connection: socket.socket) -> Exchange | None:
        data = b""
        while b"\r\n\r\n" not in data:
            piece = connection.recv(65_536)
            if not piece:
                return None
            data += piece
        head, _, body = data.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        method, target, _ = first.split(" ")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        while len(body) < int(headers.get("content-length", 0)):
            body += connection.recv(65_536)
        with self._lock:
            exchange = Exchange(method, target, headers, body, connection, len(self.requests), self)
            self.requests.append(exchange)
        return exchange


def _not_found(exchange: Exchange) -> None:
    exchange.answer(404)


def _check_output(item: Any) -> None:
    """Refuse a stub that no server can have caused.

    :raises ValueError: It is one.
    """
    if set(item) == {"error"}:
        return
    types = [value for name, value in item["headers"].items() if name == "content-type"]
    is_json = bool(types) and (types[0].startswith(JSON) or types[0].partition(";")[0].endswith("+json"))
    if set(item) != {"status", "headers", "json" if is_json and item.get("text") != "" else "text"}:
        raise ValueError(f"a stub must be {{status, headers, json or text}} as its content-type says; got {item}")
