"""The front of a connection: answers pings and small requests, and gives it to the HTTP server for anything else.

A docker command is a ping and one small request; the machinery for requests in general would take as long as the
engine does for most of them. A connection that was given away never comes back.
Must not: know any noun.
"""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Final, cast

from aiohttp import web

from berth.api import small
from berth.api.hijack import Connection, Server
from berth.api.ping import quick_answer
from berth.api.small import SmallRequest, Unusual

#: Returns the answering of a small request; None for one that the HTTP server has to carry out.
Answering = Callable[[SmallRequest], "Coroutine[Any, Any, web.Response] | None"]

#: Above this many unread bytes a client is not read from until its request is answered.
READ_AHEAD_BYTES: Final = small.LONGEST


class Front(asyncio.Protocol):
    """One connection; its requests are answered one after the other."""

    def __init__(self, server: "FrontServer", answering: Answering) -> None:
        self._server = server
        self._answering = answering
        self._transport: asyncio.Transport | None = None
        self._waiting = b""
        self._ended = False
        #: Whether the client takes its answers.
        self.writable = True
        #: The request under way.
        self.work: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self._transport = cast("asyncio.Transport", transport)
        self._server.fronts.add(self)

    @property
    def reading(self) -> bool:
        """Whether the client is read from."""
        return self._transport is not None and self._transport.is_reading()

    def data_received(self, data: bytes) -> None:
        """Answer what has come whole."""
        self._waiting = self._waiting + data if self._waiting else data
        if not self._busy:
            self._next()
        elif len(self._waiting) > READ_AHEAD_BYTES and self._transport is not None:
            self._transport.pause_reading()

    def pause_writing(self) -> None:
        """A client that does not take its answers gets no further ones, and is soon not read from."""
        self.writable = False

    def resume_writing(self) -> None:
        """The client caught up."""
        self.writable = True
        if self.work is None:
            self._go_on()

    def eof_received(self) -> bool:
        """A client that will send no more still gets the answer under way."""
        self._ended = True
        return self._busy

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  asyncio's signature
        """Forget the connection; a request under way goes on to its end."""
        self._transport = None
        self._server.fronts.discard(self)

    def close(self) -> None:
        """Close as soon as no request is under way."""
        self._ended = True
        if not self._busy and self._transport is not None:
            self._transport.close()

    @property
    def _busy(self) -> bool:
        return self.work is not None or not self.writable

    def _next(self) -> None:
        while self._waiting and self._transport is not None and not self._busy:
            if (pong := quick_answer(self._waiting)) is not None:
                self._waiting = b""
                self._transport.write(pong)
                return
            try:
                found = small.parse(self._waiting)
            except Unusual:
                self._give_away()
                return
            if found is None:
                return
            request, rest = found
            answering = self._answering(request)
            if answering is None:
                self._give_away()
                return
            self._waiting = rest
            self.work = asyncio.get_running_loop().create_task(self._answer(request, answering))

    async def _answer(self, request: SmallRequest, answering: Coroutine[Any, Any, web.Response]) -> None:
        try:
            answer = await answering
        finally:
            self.work = None
        if self._transport is None:
            return
        self._transport.write(small.render(request, answer))
        self._go_on()

    def _go_on(self) -> None:
        if not self._busy:
            self._next()
            self._read_or_end()

    def _read_or_end(self) -> None:
        if self._transport is None or self._transport.is_closing():
            return
        if self._ended:
            if not self._busy:
                self._transport.close()
        elif len(self._waiting) <= READ_AHEAD_BYTES and not self._transport.is_reading():
            self._transport.resume_reading()

    def _give_away(self) -> None:
        transport, waiting = self._transport, self._waiting
        if transport is None:
            return
        self.connection_lost(None)
        heir = self._server.heir()
        transport.set_protocol(heir)
        heir.connection_made(transport)
        heir.data_received(waiting)
        if self._ended:
            heir.eof_received()


class FrontServer(Server):
    """The HTTP server behind fronts."""

    def __init__(self, *args: Any, answering: Answering, **kwargs: Any) -> None:  # noqa: ANN401  aiohttp's own
        super().__init__(*args, **kwargs)
        self._answering = answering
        self.fronts: set[Front] = set()

    def __call__(self) -> Connection:
        """Make the protocol of a new connection."""
        return cast("Connection", Front(self, self._answering))

    def heir(self) -> Connection:
        """Make the protocol of a connection that asked for more than a front can do."""
        return super().__call__()

    def pre_shutdown(self) -> None:
        """Close what is idle."""
        for front in tuple(self.fronts):
            front.close()
        super().pre_shutdown()

    async def shutdown(self, timeout: float | None = None) -> None:
        """Wait for the requests under way, for `timeout` seconds at most; none is broken off."""
        under_way = [front.work for front in self.fronts if front.work is not None]
        if under_way:
            await asyncio.wait(under_way, timeout=timeout)
        await super().shutdown(timeout)
