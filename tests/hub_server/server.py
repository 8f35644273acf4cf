"""HTTP: requests come in, strike a fault or a route, and are logged; threads of the standard library's server.

What breaks in the server itself is kept in `crashes`, for a test that passes over a broken server tells nothing.
"""

import socket
import sys
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from urllib.parse import parse_qsl, urlsplit

from hub_server.accounts import Account, account_of
from hub_server.exchange import Answer, Refusal, Request
from hub_server.faults import Fault
from hub_server.hub import Hub
from hub_server.routes import answer
from hub_server.storage import Kind, Repository

HOST = "127.0.0.1"


@dataclass(frozen=True)
class Seen:
    """A request that came in: who asked, what was answered (0: the connection was broken off), and when."""

    method: str
    path: str
    account: str | None
    status: int
    time: float = field(default_factory=time.monotonic)


@dataclass
class HubServer:
    """A Hub at `url`, standing while it is used in a `with` block.

    `sent` is all that came in: address, headers but for Authorization, and body of each request.
    """

    port: int = 0
    hub: Hub = field(default_factory=Hub)
    faults: list[Fault] = field(default_factory=list)
    log: list[Seen] = field(default_factory=list)
    sent: list[bytes] = field(default_factory=list)
    crashes: list[BaseException] = field(default_factory=list)
    _listener: "_Listener | None" = None

    @property
    def url(self) -> str:
        """The address, without a slash at its end."""
        return f"http://{HOST}:{self.port}"

    def __enter__(self) -> "HubServer":
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Listen; the port stays the same over stops and starts."""
        self._listener = _Listener(self)
        self.port = self._listener.server_address[1]
        # the interval is what stopping takes
        threading.Thread(target=self._listener.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    def stop(self) -> None:
        """Stand still: connections are refused and those that are open are closed. What is stored stays."""
        if self._listener is not None:
            self._listener.shutdown()
            self._listener.close_all()
            self._listener = None

    def repository(self, name: str, *, kind: Kind = "model") -> Repository:
        """Return a repository to look at, whoever may see it."""
        return self.hub.storage.repositories[kind, name]

    def read(self, name: str, path: str, *, revision: str = "main", kind: Kind = "model") -> bytes:
        """Return the content of a file of a repository."""
        commit = self.repository(name, kind=kind).find(revision)
        assert commit is not None, f"{name} has no revision {revision}"
        return self.hub.storage.read(commit.files[path])

    def requests(self, method: str, part_of_path: str = "") -> list[Seen]:
        """Return the requests of a method that came in so far."""
        return [seen for seen in self.log if seen.method == method and part_of_path in seen.path]


class _Listener(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self, owner: HubServer) -> None:
        self.owner = owner
        self.lock = threading.RLock()
        self.open_connections: set[socket.socket] = set()
        super().__init__((HOST, owner.port), _Handler)

    def process_request(self, request: socket.socket, client_address: tuple[str, int]) -> None:  # type: ignore[override]
        self.open_connections.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: socket.socket) -> None:  # type: ignore[override]
        self.open_connections.discard(request)
        super().shutdown_request(request)

    def close_all(self) -> None:
        self.server_close()
        for connection in list(self.open_connections):
            # a client that keeps its connection would go on talking to a Hub that is gone
            _shut(connection)

    def handle_error(self, request: object, client_address: object) -> None:
        error = sys.exc_info()[1]
        if error is not None and not isinstance(error, ConnectionError):
            self.owner.crashes.append(error)


def _shut(connection: socket.socket) -> None:
    try:
        connection.shutdown(socket.SHUT_RDWR)
    except OSError:  # closed from the other side
        return


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Listener

    def log_message(self, format: str, *values: object) -> None:
        """Print nothing: the log is kept by the server."""

    def handle_any(self) -> None:
        """Answer a request of any method."""
        address = urlsplit(self.path)
        fault = self._find_fault(address.path)
        if fault is not None and fault.cuts:
            self.rfile.read(min(1, int(self.headers.get("Content-Length") or 0)))
            self._break_off(Request(self.command, address.path, {}, {}, b"", ""))
            return
        request = Request(
            method=self.command,
            path=address.path,
            query=dict(parse_qsl(address.query)),
            headers=self.headers,  # type: ignore[arg-type]
            body=self._read_body(),
            url=self.server.owner.url,
        )
        told = ((name, value) for name, value in self.headers.items() if name.lower() != "authorization")
        headers = "".join(f"\n{name}: {value}" for name, value in told)
        self.server.owner.sent.append(f"{self.path}{headers}\n".encode() + request.body)
        if fault is not None:
            time.sleep(fault.seconds)
        if fault is not None and not fault.loses:
            fault.calls()
        if fault is not None and fault.drops:
            self._break_off(request)
            return
        self._answer(request, fault or Fault("*", ""))

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = handle_any

    def _find_fault(self, path: str) -> Fault | None:
        with self.server.lock:
            return next((fault for fault in self.server.owner.faults if fault.strikes(self.command, path)), None)

    def _break_off(self, request: Request) -> None:
        self._note(request, None, 0)
        self.close_connection = True
        # unread input makes the system answer by a reset
        _shut(self.connection)

    def _answer(self, request: Request, fault: Fault) -> None:
        account: Account | None = None
        try:
            if fault.status is not None:
                headers = {"Retry-After": fault.retry_after} if fault.retry_after is not None else {}
                raise Refusal(fault.status, fault.message, headers=headers)
            with self.server.lock:
                hub = self.server.owner.hub
                account = account_of(request.headers.get("Authorization", ""), hub.accounts)
                answered = answer(hub, request, account)
        except Refusal as refusal:
            answered = refusal.answer()
        if fault.loses:
            fault.calls()
            self._break_off(request)
            return
        self._note(request, account, answered.status)
        self._send(answered)

    def _note(self, request: Request, account: Account | None, status: int) -> None:
        seen = Seen(request.method, request.path, None if account is None else account.name, status)
        self.server.owner.log.append(seen)

    def _send(self, answered: Answer) -> None:
        self.send_response(answered.status)
        for name, value in {**answered.headers, "Content-Length": str(len(answered.body))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(answered.body)

    def _read_body(self) -> bytes:
        if "chunked" not in self.headers.get("Transfer-Encoding", ""):
            length = int(self.headers.get("Content-Length") or 0)
            body = self.rfile.read(length)
            if len(body) < length:
                raise ConnectionResetError("the client has gone before the end of what it sent")
            return body
        pieces = []
        while size := int(self.rfile.readline().split(b";")[0], 16):
            pieces.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(pieces)
