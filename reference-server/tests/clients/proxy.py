"""A recording proxy between a client and the server: shows what really went over the wire, without query and credential.

It speaks HTTP/1.1 on a free loopback port, passes bodies on as they come, and ends one side when the other ends.
"""

import base64
import http.client
import io
import json
import select
import socket
import threading
import time
import urllib.parse
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler

from loopback import LoopbackServer

IDLE_SECONDS = 120


@dataclass
class Exchange:
    """One request and its answer; `session` is what the client sent, `kind` the `typ` of the token it came with, `ended` stays None while the answer is open."""

    method: str
    path: str
    session: str | None
    rpc_method: str | None
    tool: str | None
    started: float
    kind: str | None = None
    status: int | None = None
    issued_session: str | None = None
    ended: float | None = None

    def __str__(self):
        about = " ".join(part for part in (self.rpc_method, self.tool) if part)
        session = f"session …{self.session[-6:]}" if self.session else "no session"
        took = "still open" if self.ended is None else f"{self.ended - self.started:.2f} s"
        return f"{self.method} {self.path} [{about}] {session} → {self.status} ({took})"


class Proxy:
    """Records every exchange with `upstream`, the scheme and authority of the server; `added` is what each request gets.

    What a client can't send itself is added: the conformance suite has no option for headers.
    """

    def __init__(self, upstream, added=None):
        url = urllib.parse.urlsplit(upstream)
        self.upstream = (url.hostname, url.port)
        self.added = added or {}
        self.exchanges = []
        self.changed = threading.Condition()
        self.closing = threading.Event()
        self.server = LoopbackServer(Handler, owner=self)

    def __enter__(self):
        self.server.__enter__()
        return self

    def __exit__(self, *error):
        self.closing.set()
        self.server.__exit__(*error)

    def address_of(self, url):
        """Returns `url` with the proxy's authority in the place of the server's."""
        return urllib.parse.urlsplit(url)._replace(netloc=self.server.authority).geturl()

    def add(self, exchange):
        with self.changed:
            self.exchanges.append(exchange)
            self.changed.notify_all()

    def note(self, exchange, **seen):
        with self.changed:
            for name, value in seen.items():
                setattr(exchange, name, value)
            self.changed.notify_all()

    def calls(self, tool=None):
        """Returns the tool calls so far, in the order in which they arrived."""
        with self.changed:
            return [e for e in self.exchanges if e.rpc_method == "tools/call" and tool in (None, e.tool)]

    def wait_for(self, condition, timeout):
        """Waits until some exchange meets `condition` and returns it, or None after `timeout` seconds."""
        def find():
            return next((exchange for exchange in self.exchanges if condition(exchange)), None)

        with self.changed:
            self.changed.wait_for(find, timeout)
            return find()

    def __str__(self):
        with self.changed:
            return "on the wire:\n" + "\n".join(f"  {exchange}" for exchange in self.exchanges)


def kind_of(authorization):
    """Returns what the header of a Bearer token says it is, which is no secret."""
    header = authorization.removeprefix("Bearer ").partition(".")[0]
    try:
        return json.loads(base64.urlsafe_b64decode(header + "=" * (-len(header) % 4))).get("typ")
    except ValueError:
        return None


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def forward(self):
        proxy = self.server.owner
        # One exchange per connection: the end of the server's connection is the end of the answer, cut or not.
        self.close_connection = True
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        exchange = self.record(body)
        try:
            with socket.create_connection(proxy.upstream, timeout=IDLE_SECONDS) as upstream:
                upstream.sendall(self.request_head() + body)
                self.pass_back(upstream, exchange)
        except OSError:
            pass  # one side went away, which ends the exchange
        finally:
            proxy.note(exchange, ended=time.monotonic())

    do_GET = do_POST = do_DELETE = do_PUT = do_HEAD = do_OPTIONS = forward

    def record(self, body):
        try:
            message = json.loads(body)
        except ValueError:
            message = None
        message = message if isinstance(message, dict) else {}
        rpc_method = message.get("method")
        exchange = Exchange(
            method=self.command,
            path=urllib.parse.urlsplit(self.path).path,
            session=self.headers.get("Mcp-Session-Id"),
            rpc_method=rpc_method,
            tool=message["params"].get("name") if rpc_method == "tools/call" else None,
            started=time.monotonic(),
            kind=kind_of(self.headers.get("Authorization", "")),
        )
        self.server.owner.add(exchange)
        return exchange

    def request_head(self):
        proxy = self.server.owner
        host, port = proxy.upstream
        lines = [f"{self.command} {self.path} HTTP/1.1", "Connection: close"]
        for name, value in self.headers.items():
            if name.lower() in ("host", "origin"):
                # The server refuses what is not its own. What names a third party is passed on: that is for it to refuse.
                value = value.replace(self.server.authority, f"{host}:{port}")
            if name.lower() != "connection":
                lines.append(f"{name}: {value}")
        lines += [f"{name}: {value}" for name, value in proxy.added.items()]
        return "\r\n".join([*lines, "", ""]).encode("latin-1")

    def pass_back(self, upstream, exchange):
        """Copies the answer as it comes, until the server ends it, the client leaves or the proxy closes."""
        head = b""
        while not self.server.owner.closing.is_set():
            readable, _, _ = select.select([upstream, self.connection], [], [], 0.5)
            if self.connection in readable:
                return
            if upstream in readable:
                piece = upstream.recv(65536)
                if not piece:
                    return
                if exchange.status is None:
                    head += piece
                    self.note_head(exchange, head)
                self.connection.sendall(piece)

    def note_head(self, exchange, head):
        head, complete, _ = head.partition(b"\r\n\r\n")
        if complete:
            status_line, _, fields = head.partition(b"\r\n")
            headers = http.client.parse_headers(io.BytesIO(fields + b"\r\n\r\n"))
            self.server.owner.note(
                exchange, status=int(status_line.split()[1]), issued_session=headers.get("Mcp-Session-Id")
            )

    def log_message(self, *_):
        pass
