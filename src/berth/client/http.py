"""A small blocking HTTP/1.1 client for the Engine API: keep-alive, streams, hijacked connections.

One `Client` belongs to one thread; clients are cheap, so a program with threads makes one for each (`Client.clone`).
Paths are sent without a version: the engine then speaks its newest one and says which in every answer (`api_version`).
``DOCKER_API_VERSION`` in the environment fixes one, as with Docker's own client.

    client = Client("unix:///run/berth/berth.sock")
    client.get("/networks", {"filters": {"name": ["web"]}})      # decoded JSON
    client.post("/containers/create", {"name": "web"}, {"Image": "nginx"})
    for note in client.stream("POST", "/images/create", {"fromImage": "nginx"}).records(): ...
    link = client.hijack("POST", "/containers/web/attach", {"stream": True, "stdin": True})
"""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Callable, Iterable, Iterator, Mapping

from berth.client.errors import ApiError, ClientError, ConnectionBroken
from berth.client.host import choose_host, dial

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import IO, Any, Self

    Query = Mapping[str, object]
    Headers = Mapping[str, str]
    Body = object
    Json = Any

#: Bytes asked of the socket at once; also how much of an upload is read ahead.
CHUNK = 65_536
#: Longest head of an answer we accept.
_MAX_HEAD = 262_144

_SAFE = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~/:@!$'()*,;")


def quote(text: str) -> str:
    """Escape a text for use in a path or a query (`urllib.parse` costs six milliseconds to import)."""
    return "".join(chr(byte) if byte in _SAFE else f"%{byte:02X}" for byte in text.encode("utf-8", "surrogateescape"))


def part(text: str) -> str:
    """Escape one segment of a path: a name that holds a slash stays one segment. Raises `ClientError` for none."""
    if not text:
        raise ClientError("invalid name or ID: value is empty")
    return quote(text).replace("/", "%2F")


def encode_query(query: Query | None) -> str:
    """Print a query with its leading question mark.

    None is left out, booleans become 1 and 0, dicts and lists of `filters` and friends JSON, other lists repeated keys.
    """
    parts: list[str] = []
    for key, value in (query or {}).items():
        if value is None:
            continue
        if isinstance(value, bool):
            parts.append(f"{key}={int(value)}")
        elif isinstance(value, dict):
            parts.append(f"{key}={quote(json.dumps(value, separators=(',', ':')))}")
        elif isinstance(value, list | tuple):
            parts.extend(f"{key}={quote(str(item))}" for item in value)
        else:
            parts.append(f"{key}={quote(str(value))}")
    return "?" + "&".join(parts) if parts else ""


class Wire:
    """One connection with what was read from it too early."""

    __slots__ = ("buffer", "closed", "sock")

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.buffer = b""
        self.closed = False

    def close(self) -> None:
        """Hang up; a thread blocked in a read of this connection wakes."""
        if not self.closed:
            self.closed = True
            try:
                self.sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass  # the peer was first
            self.sock.close()

    def fresh(self) -> bool:
        """Whether an idle connection is still good: nothing to read, not even the end."""
        if self.buffer:
            return False
        try:
            self.sock.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
        except BlockingIOError:
            return True
        except (OSError, ValueError):
            return False  # ValueError: a TLS connection cannot be looked into, so it is not used twice
        return False

    def more(self) -> bool:
        """Read once into the buffer; False at the end."""
        try:
            data = self.sock.recv(CHUNK)
        except OSError as error:
            raise ConnectionBroken(f"error during connect: {error.strerror or error}") from error
        self.buffer += data
        return bool(data)

    def some(self, most: int = CHUNK) -> bytes:
        """Return what is there, at most `most` bytes, waiting for the first; empty at the end."""
        if not self.buffer and not self.more():
            return b""
        data, self.buffer = self.buffer[:most], self.buffer[most:]
        return data

    def line(self) -> bytes:
        """Read up to and without CRLF."""
        while (at := self.buffer.find(b"\r\n")) < 0:
            if len(self.buffer) > _MAX_HEAD or not self.more():
                raise ConnectionBroken("unexpected EOF")
        line, self.buffer = self.buffer[:at], self.buffer[at + 2 :]
        return line

    def head(self) -> tuple[int, dict[str, str]]:
        """Read status line and headers; header names in lower case."""
        while (at := self.buffer.find(b"\r\n\r\n")) < 0:
            if len(self.buffer) > _MAX_HEAD or not self.more():
                raise ConnectionBroken("unexpected EOF")
        lines = self.buffer[:at].decode("latin-1").split("\r\n")
        self.buffer = self.buffer[at + 4 :]
        words = lines[0].split(" ", 2)
        if not words[0].startswith("HTTP/1.") or len(words) < 2 or not words[1].isdecimal():
            raise ConnectionBroken(f"malformed HTTP response {lines[0]!r}")
        headers: dict[str, str] = {}
        for line in lines[1:]:
            name, _, value = line.partition(":")
            headers[name.strip().lower()] = value.strip()
        return int(words[1]), headers


class Response:
    """An answer whose body is read as it comes. Use as a context manager, or read it to its end.

    Attributes:
        status: The HTTP status.
        headers: The headers, names in lower case.
    """

    __slots__ = ("_client", "_left", "_mode", "_wire", "headers", "status")

    def __init__(self, client: Client, wire: Wire, method: str, status: int, headers: dict[str, str]) -> None:
        self._client = client
        self._wire = wire
        self.status = status
        self.headers = headers
        self._left = 0
        if method == "HEAD" or status in (204, 304):
            self._mode = "done"
        elif "chunked" in headers.get("transfer-encoding", "").lower():
            self._mode = "chunked"
        elif "content-length" in headers:
            self._mode, self._left = "sized", int(headers["content-length"])
        else:
            self._mode = "until-close"
        if self._mode == "sized" and not self._left:
            self._mode = "done"
        if self._mode == "done":
            self._finish()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Give up what was not read. Safe from another thread: a blocked read ends."""
        if self._mode != "done":
            self._wire.close()
            self._mode = "done"

    def _finish(self) -> None:
        self._mode = "done"
        if self.headers.get("connection", "").lower() == "close":
            self._wire.close()
        else:
            self._client.give_back(self._wire)

    def chunks(self) -> Iterator[bytes]:
        """Yield the body piece by piece, as soon as something arrives."""
        while self._mode != "done":
            if self._mode == "chunked" and not self._left:
                self._left = int(self._wire.line().partition(b";")[0], 16)
                if not self._left:
                    while self._wire.line():
                        pass  # trailers
                    self._finish()
                    return
            data = self._wire.some(CHUNK if self._mode == "until-close" else self._left)
            if not data:
                closed = self._mode == "until-close" or self._wire.closed
                self.close()
                if not closed:
                    raise ConnectionBroken("unexpected EOF")
                return
            if self._mode != "until-close":
                self._left -= len(data)
                if not self._left:
                    if self._mode == "sized":
                        self._finish()
                    elif self._wire.line():
                        raise ConnectionBroken("malformed chunked encoding")
            yield data

    def read(self) -> bytes:
        """Return the rest of the body."""
        return b"".join(self.chunks())

    def lines(self) -> Iterator[bytes]:
        """Yield the body line by line, without line ends; empty lines are left out."""
        rest = b""
        for data in self.chunks():
            *whole, rest = (rest + data).split(b"\n")
            for line in whole:
                if line := line.strip(b"\r\x1e "):
                    yield line
        if rest := rest.strip(b"\r\x1e "):
            yield rest

    def records(self) -> Iterator[Json]:
        """Yield the JSON values of a streamed body (progress, events, stats), one a line."""
        for line in self.lines():
            yield json.loads(line)

    def decoded(self) -> Json:
        """Return the body as a value: JSON decoded, other text as text, nothing as None."""
        data = self.read()
        if not data:
            return None
        if "json" in self.headers.get("content-type", "json"):
            return json.loads(data)
        return data.decode("utf-8", "replace")


class Hijacked:
    """A connection taken over after its upgrade: raw bytes both ways.

    Attributes:
        sock: The socket; write to it, shut it down, hand it to a poller.
        leftover: Bytes that came together with the answer's head: they are first in the stream.
        content_type: What the engine says the stream is (multiplexed or raw); may be empty.
    """

    __slots__ = ("_wire", "content_type", "leftover", "sock")

    def __init__(self, wire: Wire, content_type: str) -> None:
        self._wire = wire
        self.sock = wire.sock
        self.leftover = wire.buffer
        self.content_type = content_type

    def read(self) -> bytes:
        """Return the next bytes, empty at the end of the stream."""
        if self.leftover:
            data, self.leftover = self.leftover, b""
            return data
        try:
            return self.sock.recv(CHUNK)
        except (ConnectionError, OSError):
            return b""

    def half_close(self) -> None:
        """Say that no more input comes; output goes on."""
        try:
            self.sock.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # the other side is gone already; reading will tell

    def close(self) -> None:
        """Hang up."""
        self._wire.close()


class Client:
    """Calls to one engine.

    Args:
        host: ``unix:///path`` or ``tcp://name:port``; None chooses as `choose_host` does.
        version: Put ``/v<version>`` before every path; None leaves it to the engine, or to ``DOCKER_API_VERSION``.
        timeout: Seconds to wait for a TCP connection.
        connect: Makes a connection to an address.
    """

    def __init__(
        self,
        host: str | None = None,
        *,
        version: str | None = None,
        timeout: float | None = None,
        connect: Callable[[str, float | None], socket.socket] = dial,
    ) -> None:
        self.host = choose_host(host)
        self._connect = connect
        fixed = version or os.environ.get("DOCKER_API_VERSION", "")
        self._prefix = f"/v{fixed.removeprefix('v')}" if fixed else ""
        self._timeout = timeout
        self._idle: Wire | None = None
        self._version: tuple[int, int] | None = None

    def clone(self) -> Client:
        """Return a client of the same engine for another thread."""
        twin = Client(self.host, timeout=self._timeout, connect=self._connect)
        twin._prefix, twin._version = self._prefix, self._version
        return twin

    def close(self) -> None:
        """Close the idle connection. The client may be used again."""
        if self._idle is not None:
            self._idle.close()
            self._idle = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def get(self, path: str, query: Query | None = None) -> Json:
        """GET and decode."""
        return self.request("GET", path, query).decoded()

    def post(self, path: str, query: Query | None = None, body: Body = None, headers: Headers | None = None) -> Json:
        """POST and decode. A body of bytes, a file or an iterator of bytes is sent as it is, anything else as JSON."""
        return self.request("POST", path, query, body, headers).decoded()

    def put(self, path: str, query: Query | None = None, body: Body = None, headers: Headers | None = None) -> Json:
        """PUT and decode; bodies as in `post`."""
        return self.request("PUT", path, query, body, headers).decoded()

    def delete(self, path: str, query: Query | None = None) -> Json:
        """DELETE and decode."""
        return self.request("DELETE", path, query).decoded()

    def stream(
        self, method: str, path: str, query: Query | None = None, body: Body = None, headers: Headers | None = None
    ) -> Response:
        """Send a request and return its answer unread: `Response.chunks`, `lines`, `records`; leave with `close`."""
        return self.request(method, path, query, body, headers)

    def request(
        self, method: str, path: str, query: Query | None = None, body: Body = None, headers: Headers | None = None
    ) -> Response:
        """Send a request, return its answer unread.

        Raises:
            ApiError: The engine answered 400 or more.
            ConnectFailed: Nobody answers at the address.
            ConnectionBroken: The engine hung up.
        """
        wire = self._take()
        try:
            broken = self._send(wire, method, path, query, body, headers or {})
            status, heads = wire.head()
            while 100 <= status < 200 and status != 101:
                status, heads = wire.head()
        except BaseException:
            wire.close()  # also an interrupt in mid-request leaves the connection useless
            raise
        self._learn(heads)
        response = Response(self, wire, method, status, heads)
        if broken:
            heads["connection"] = "close"  # the engine answered before it had read all we had to send
        if status >= 400:
            raise _error(response, path)
        return response

    def hijack(
        self, method: str, path: str, query: Query | None = None, body: Body = None, headers: Headers | None = None
    ) -> Hijacked:
        """Send a request that takes the connection over (attach, exec start).

        Raises:
            ApiError: The engine answered 400 or more.
        """
        wire = Wire(self._connect(self.host, self._timeout))
        extra = {"Connection": "Upgrade", "Upgrade": "tcp", **(headers or {})}
        try:
            self._send(wire, method, path, query, body, extra)
            status, heads = wire.head()
        except BaseException:
            wire.close()
            raise
        self._learn(heads)
        if status >= 400:
            raise _error(Response(self, wire, method, status, heads), path)
        return Hijacked(wire, heads.get("content-type", ""))

    def api_version(self) -> tuple[int, int]:
        """Return the API version in use; asks the engine only if no answer has told it yet."""
        if self._prefix:
            major, _, minor = self._prefix[2:].partition(".")
            return int(major), int(minor or 0)
        if self._version is None:
            self.request("GET", "/_ping").read()
        return self._version or (1, 41)

    def give_back(self, wire: Wire) -> None:
        """Keep a connection whose answer was read to the end for the next request."""
        if self._idle is None and not wire.closed and not wire.buffer:
            self._idle = wire
        elif self._idle is not wire:
            wire.close()

    def _take(self) -> Wire:
        wire, self._idle = self._idle, None
        if wire is not None:
            if not wire.closed and wire.fresh():
                return wire
            wire.close()
        return Wire(self._connect(self.host, self._timeout))

    def _learn(self, headers: Mapping[str, str]) -> None:
        major, _, minor = headers.get("api-version", "").partition(".")
        if major.isdecimal() and minor.isdecimal():
            self._version = int(major), int(minor)

    def _send(
        self, wire: Wire, method: str, path: str, query: Query | None, body: Body, headers: Mapping[str, str]
    ) -> bool:
        """Send one request; True if the engine stopped listening before its end (its answer then says why)."""
        lines = [f"{method} {self._prefix}{path}{encode_query(query)} HTTP/1.1", "Host: localhost", "User-Agent: berth"]
        pieces: Iterable[bytes] = ()
        payload, kind = b"", ""
        if body is None:
            if method in ("POST", "PUT"):
                lines.append("Content-Length: 0")
        elif isinstance(body, bytes | bytearray):
            payload, kind = bytes(body), "application/x-tar"
            lines.append(f"Content-Length: {len(payload)}")
        elif hasattr(body, "read"):
            lines.append("Transfer-Encoding: chunked")
            pieces, kind = _pieces(body), "application/x-tar"  # type: ignore[arg-type]
        elif isinstance(body, Iterator):
            lines.append("Transfer-Encoding: chunked")
            pieces, kind = body, "application/x-tar"
        else:
            payload = json.dumps(body, separators=(",", ":")).encode("utf-8", "surrogateescape")
            lines.append(f"Content-Length: {len(payload)}")
            kind = "application/json"
        if kind and not any(name.lower() == "content-type" for name in headers):
            lines.append(f"Content-Type: {kind}")
        lines.extend(f"{name}: {value}" for name, value in headers.items())
        head = "\r\n".join(lines).encode("latin-1", "replace") + b"\r\n\r\n"
        try:
            wire.sock.sendall(head + payload)
            if pieces:
                for piece in pieces:
                    if piece:
                        wire.sock.sendall(b"%x\r\n%b\r\n" % (len(piece), piece))
                wire.sock.sendall(b"0\r\n\r\n")
        except (BrokenPipeError, ConnectionResetError):
            return True
        return False


def _pieces(source: IO[bytes]) -> Iterator[bytes]:
    # read1: a pipe's bytes are sent on as they come, not when a whole piece is full.
    read = getattr(source, "read1", source.read)
    while piece := read(CHUNK):
        yield piece


def _error(response: Response, path: str) -> ApiError:
    """Turn an answer of 400 or more into an error with the engine's words."""
    data = response.read()
    text = data.decode("utf-8", "replace").strip()
    message = text
    if text.startswith("{"):
        try:
            decoded = json.loads(text)
        except ValueError:
            decoded = None
        if isinstance(decoded, dict):
            message = str(decoded.get("message") or decoded.get("Message") or text)
    if not message:
        message = f"request returned {response.status} for API route {path}, check if the server supports it"
    return ApiError(response.status, message.strip())
