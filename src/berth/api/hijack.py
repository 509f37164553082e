"""Takes a connection over from the HTTP server and makes it a raw stream with flow control both ways.

aiohttp knows no hijacking for protocols other than WebSocket. So the transport gets a protocol of ours, and the
server's own is told that its connection is lost, which makes it forget the connection without touching the socket;
the handler then returns an answer that writes nothing.
"""

import asyncio
import logging
import select
import socket
from http import HTTPStatus
from typing import Any, Final, cast

from aiohttp import web
from aiohttp.web_protocol import RequestHandler

from berth.api.call import Call
from berth.api.headers import HEADERS
from berth.api.small import is_foreign

log = logging.getLogger(__name__)

#: Above this many unread bytes the client is not read from until half of them are taken.
READ_AHEAD_BYTES: Final = 256 * 1024

#: A request's head longer than this is left to the parser, which refuses it.
HEAD_BYTES: Final = 64 * 1024

#: How long a stream that has ended is still read from, in seconds, when its client keeps sending.
LINGER_S: Final = 2.0

RAW: Final = "application/vnd.docker.raw-stream"
MULTIPLEXED: Final = "application/vnd.docker.multiplexed-stream"


class StreamLost(ConnectionError):
    """The client is gone."""


class RawStream(asyncio.Protocol):
    """A hijacked connection: bytes in, bytes out, each direction closed by itself."""

    def __init__(self, transport: asyncio.Transport) -> None:
        self._loop = asyncio.get_running_loop()
        self._transport = transport
        self._incoming: list[bytes] = []
        self._held = 0
        self._ended = False
        self._lost = False
        self._reading_paused = False
        self._reader: asyncio.Future[None] | None = None
        self._writable = asyncio.Event()
        self._writable.set()
        self._gone = self._loop.create_future()
        self._watch: select.epoll | None = None
        self._discarding = False

    # --- what the event loop calls ------------------------------------------------------------------------------
    def data_received(self, data: bytes) -> None:
        """Keep what came; stop reading when too much waits."""
        if self._discarding:
            return
        self._incoming.append(data)
        self._held += len(data)
        if self._held > READ_AHEAD_BYTES and not self._reading_paused:
            self._reading_paused = True
            self._transport.pause_reading()
        self._wake()

    def eof_received(self) -> bool:
        """Note the half-close; True keeps the other direction open."""
        if not self._ended:
            self._ended = True
            self._watch_for_hangup()
            self._wake()
        return True

    def pause_writing(self) -> None:
        """The client is slower than we are."""
        self._writable.clear()

    def resume_writing(self) -> None:
        """The client caught up."""
        self._writable.set()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  asyncio's signature
        """Both directions are gone."""
        self._ended = self._lost = True
        self._writable.set()
        self._stop_watching()
        self._wake()
        if not self._gone.done():
            self._gone.set_result(None)

    # --- what handlers call ---------------------------------------------------------------------------------------
    async def read(self) -> bytes:
        """Return what the client sent since the last time, waiting for some; empty = it will send no more."""
        while not self._incoming and not self._ended:
            self._reader = self._loop.create_future()
            try:
                await self._reader
            finally:
                self._reader = None
        data = b"".join(self._incoming)
        self._incoming.clear()
        self._held = 0
        if self._reading_paused and not self._lost:
            self._reading_paused = False
            self._transport.resume_reading()
        return data

    async def write(self, data: bytes) -> None:
        """Send, and wait while the client does not take it. Raises `StreamLost`."""
        if self._lost:
            raise StreamLost
        self._transport.write(data)
        if not self._writable.is_set():
            await self._writable.wait()
        if self._lost:
            raise StreamLost

    async def gone(self) -> None:
        """Wait until the client has closed both directions or the stream was closed here."""
        await asyncio.shield(self._gone)

    async def close(self) -> None:
        """Send what is still buffered, then close both directions.

        What the client still sends is read and dropped for a while: closing on unread bytes resets the connection
        (RFC 2525, section 2.17), and the client would lose the end of the output.
        """
        if not self._lost and not self._ended and self._transport.can_write_eof():
            self._transport.write_eof()
            await self._linger()
        if not self._lost:
            self._transport.close()
        await self.gone()

    def abort(self) -> None:
        """Close at once, dropping what is buffered."""
        self._transport.abort()

    async def _linger(self) -> None:
        self._discarding = True
        self._incoming.clear()
        if self._reading_paused:
            self._reading_paused = False
            self._transport.resume_reading()
        self._wake()
        deadline = self._loop.time() + LINGER_S
        while not self._ended and (left := deadline - self._loop.time()) > 0:
            self._reader = self._loop.create_future()
            await asyncio.wait((self._reader,), timeout=left)
        self._reader = None

    # --- inner ------------------------------------------------------------------------------------------------------
    def _wake(self) -> None:
        if self._reader is not None and not self._reader.done():
            self._reader.set_result(None)

    def _watch_for_hangup(self) -> None:
        # After a half-close the event loop no longer watches the socket, and a client that goes away while nothing is
        # sent would never be noticed. EPOLLHUP tells; a nested epoll is how a loop without that event can wait for it.
        sock = cast("socket.socket | None", self._transport.get_extra_info("socket"))
        if sock is None or self._lost:
            return
        self._watch = select.epoll()
        self._watch.register(sock.fileno(), select.EPOLLHUP | select.EPOLLERR)
        self._loop.add_reader(self._watch.fileno(), self._hung_up)

    def _hung_up(self) -> None:
        self._stop_watching()
        self._transport.abort()

    def _stop_watching(self) -> None:
        if self._watch is not None:
            self._loop.remove_reader(self._watch.fileno())
            self._watch.close()
            self._watch = None


class Hijacked(web.StreamResponse):
    """The answer a handler returns after a hijack: everything has been said, nothing more is written."""

    async def prepare(self, request: web.BaseRequest) -> Any:  # noqa: ANN401, ARG002  aiohttp's signature
        """Write nothing."""
        return None

    async def write_eof(self, data: bytes = b"") -> None:
        """Write nothing."""

    @property
    def prepared(self) -> bool:
        """Keep the server from adding headers."""
        return True


class Connection(RequestHandler):
    """A connection that may be hijacked: what a client sends right behind an upgrade request is kept for the stream.

    aiohttp knows only upgrades to WebSocket and would parse it as one more request. Only the first request of a
    connection is looked at: clients open a connection of its own for a stream.
    """

    __slots__ = ("_head", "_left", "ended", "held", "looking")

    def __init__(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401  aiohttp's own
        super().__init__(*args, **kwargs)
        self.looking = True
        self.ended = False
        self.held = b""
        self._head = b""
        self._left: int | None = None

    def data_received(self, data: bytes) -> None:
        """Give the parser the request, and keep the rest if it is to become a stream."""
        if not self.looking:
            super().data_received(data)
            return
        if self._left is None:
            data = self._head + data
            end = data.find(b"\r\n\r\n")
            if end < 0 and len(data) <= HEAD_BYTES and not is_foreign(data):
                self._head = data
                return
            self._head = b""
            length = _upgrade_length(data[:end]) if end >= 0 else None
            if length is None:
                self.looking = False
                super().data_received(data)
                return
            self._left = end + 4 + length
        request, rest = data[: self._left], data[self._left :]
        self._left -= len(request)
        if request:
            super().data_received(request)
        if rest:
            self.held += rest
            if len(self.held) > READ_AHEAD_BYTES and self.transport is not None:
                self.transport.pause_reading()

    def eof_received(self) -> bool | None:  # type: ignore[override]
        """Keep a connection that may become a stream open: its other direction is still wanted."""
        if self.looking and self._left is not None:
            self.ended = True
            return True
        super().eof_received()
        return None

    async def finish_response(self, *args: Any, **kwargs: Any) -> tuple[web.StreamResponse, bool]:  # noqa: ANN401
        """Answer; where it did not become a stream after all, what was kept is the next request."""
        answer = await super().finish_response(*args, **kwargs)
        if self.looking and self.transport is not None:
            self.looking = False
            held, self.held = self.held, b""
            if held:
                super().data_received(held)
            if self.ended:
                self.close()
            elif not self.transport.is_reading():
                self.transport.resume_reading()
        return answer

    def handle_error(
        self, request: web.BaseRequest, status: int = 500, exc: BaseException | None = None, message: str | None = None
    ) -> web.StreamResponse:
        """Answer what is no HTTP as any mistake of a client; everybody can make one, so the log is spared."""
        if status != HTTPStatus.BAD_REQUEST or request.writer.output_size > 0:
            return super().handle_error(request, status, exc, message)
        said = " ".join((message or str(exc)).split())
        log.debug("no HTTP request: %s", said)
        answer = web.json_response({"message": f"malformed HTTP request: {said}"}, status=status)
        answer.force_close()
        return answer


def _upgrade_length(head: bytes) -> int | None:
    """Return the length of the body of an upgrade request; None for any other request."""
    fields = {name.strip().lower(): value.strip() for name, _, value in
              (line.partition(b":") for line in head.split(b"\r\n")[1:])}  # fmt: skip
    if fields.get(b"upgrade", b"").lower() != b"tcp" or b"transfer-encoding" in fields:
        return None
    length = fields.get(b"content-length", b"0")
    return int(length) if length.isdigit() else None


class Server(web.Server):
    """The HTTP server, its connections ready to be hijacked."""

    def __call__(self) -> Connection:
        """Make the protocol of a new connection."""
        return Connection(self, loop=self._loop, **self._kwargs)


async def hijack(call: Call, *, content_type: str) -> RawStream:
    """Send the head of the answer and take the connection over; the body must have been read.

    The handler ends with ``return Hijacked()``.
    """
    await call.raw_body()
    server = cast("Connection", call.request.protocol)
    transport = server.transport
    if transport is None:
        raise StreamLost
    stream = RawStream(transport)
    transport.set_protocol(stream)
    # From here on the server must neither write to nor close the transport, nor cancel this task for losing it.
    server.transport = None
    server._task_handler = None  # noqa: SLF001  no public way
    early, server.held = server.held, b""
    server.connection_lost(None)
    transport.write(_head(call, content_type))
    if early:
        stream.data_received(early)
    if server.ended:
        stream.eof_received()
    elif not transport.is_reading() and not transport.is_closing():
        transport.resume_reading()
    return stream


def _head(call: Call, content_type: str) -> bytes:
    wanted = call.request.headers.get("Upgrade", "")
    if wanted:
        lines = ["HTTP/1.1 101 UPGRADED", f"Content-Type: {content_type}", "Connection: Upgrade", f"Upgrade: {wanted}"]
    else:
        lines = ["HTTP/1.1 200 OK", f"Content-Type: {content_type}"]
    lines += [f"{name}: {value}" for name, value in HEADERS.items()]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()
