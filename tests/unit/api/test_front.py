"""Connections that begin at a front: pings and small requests answered there, everything else by the HTTP server."""

import asyncio
import logging
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import pytest
import uvloop
from aiohttp import web

from berth.api.front import READ_AHEAD_BYTES, FrontServer
from berth.api.small import SmallRequest

LOOPS = {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}
PING = b"HEAD /_ping HTTP/1.1\r\nHost: x\r\n\r\n"
SMALL = b"GET /small HTTP/1.1\r\nHost: x\r\n\r\n"
LIMIT_S = 10

Story = Callable[[socket.socket, "Served"], Awaitable[None]]


class Served:
    """What carries requests out; `gate` holds small ones back."""

    def __init__(self) -> None:
        self.gate = asyncio.Event()
        self.gate.set()
        self.entered = asyncio.Event()
        self.done: list[str] = []
        self.padding = ""
        self.server = FrontServer(self.large, answering=self.small, handler_cancellation=True, access_log=None)

    def small(self, request: SmallRequest) -> "Coroutine[Any, Any, web.Response] | None":
        return None if request.path == "/stream" else self._answer(request)

    async def _answer(self, request: SmallRequest) -> web.Response:
        self.entered.set()
        await self.gate.wait()
        self.done.append(request.path_qs)
        return web.Response(text=f"small {request.path_qs} {request.body.decode()}{self.padding}")

    async def large(self, request: web.BaseRequest) -> web.StreamResponse:
        body = await request.text()
        return web.Response(text=f"large {request.path_qs} {body}")


@asynccontextmanager
async def _connected(served: Served) -> AsyncIterator[socket.socket]:
    ours, theirs = socket.socketpair()
    theirs.setblocking(False)
    await asyncio.get_running_loop().connect_accepted_socket(served.server, ours)
    try:
        async with asyncio.timeout(LIMIT_S):
            yield theirs
    finally:
        theirs.close()
        await served.server.shutdown(1)


@pytest.fixture(params=sorted(LOOPS))
def play(request: pytest.FixtureRequest, caplog: pytest.LogCaptureFixture) -> Callable[[Story], None]:
    """Play a client; nothing may be logged as an error."""

    async def both(story: Story) -> None:
        served = Served()
        async with _connected(served) as sock:
            await story(sock, served)

    def run(story: Story) -> None:
        with caplog.at_level(logging.WARNING), asyncio.Runner(loop_factory=LOOPS[request.param]) as runner:
            runner.run(both(story))
        assert not caplog.records

    return run


async def send(sock: socket.socket, data: bytes) -> None:
    await asyncio.get_running_loop().sock_sendall(sock, data)


async def answers(sock: socket.socket, *ends: bytes) -> bytes:
    """Read until all of `ends` have come in this order, and nothing after."""
    loop, got = asyncio.get_running_loop(), b""
    while True:
        at, found = 0, True
        for end in ends:
            at = got.find(end, at)
            found = found and at >= 0
            at += len(end)
        if found and at == len(got):
            return got
        piece = await loop.sock_recv(sock, 65536)
        assert piece, got
        got += piece


def test_a_ping_and_a_small_request(play: Callable[[Story], None]) -> None:
    async def story(sock: socket.socket, served: Served) -> None:
        await send(sock, PING)
        await answers(sock, b"\r\n\r\n")
        await send(sock, SMALL)
        assert b"HTTP/1.1 200 OK" in await answers(sock, b"small /small ")
        assert served.done == ["/small"]

    play(story)


def test_it_may_come_byte_by_byte(play: Callable[[Story], None]) -> None:
    async def story(sock: socket.socket, served: Served) -> None:
        whole = b"POST /small?x=1 HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc"
        for at in range(len(whole)):
            await send(sock, whole[at : at + 1])
            await asyncio.sleep(0)
        await answers(sock, b"small /small?x=1 abc")

    play(story)


def test_requests_sent_at_once_are_answered_in_order(play: Callable[[Story], None]) -> None:
    async def story(sock: socket.socket, served: Served) -> None:
        several = [SMALL.replace(b"small", b"small?%d" % i) for i in range(5)]
        await send(sock, b"".join(several))
        await answers(sock, *(b"small /small?%d " % i for i in range(5)))

    play(story)


@pytest.mark.parametrize("before", [b"", PING, SMALL])
def test_the_rest_is_the_servers(play: Callable[[Story], None], before: bytes) -> None:
    async def story(sock: socket.socket, served: Served) -> None:
        if before:
            await send(sock, before)
            await answers(sock, b"small /small " if before == SMALL else b"\r\n\r\n")
        for request in (SMALL.replace(b"Host", b"Expires: 0\r\nHost"), SMALL.replace(b"/small", b"/stream"), SMALL):
            await send(sock, request)
        await answers(sock, b"large /small ", b"large /stream ", b"large /small ")

    play(story)


def test_a_client_that_will_send_no_more_gets_its_answer(play: Callable[[Story], None]) -> None:
    async def story(sock: socket.socket, served: Served) -> None:
        served.gate.clear()
        await send(sock, SMALL)
        await served.entered.wait()
        sock.shutdown(socket.SHUT_WR)
        await asyncio.sleep(0)
        served.gate.set()
        await answers(sock, b"small /small ")
        assert await asyncio.get_running_loop().sock_recv(sock, 10) == b""

    play(story)


def test_a_request_whose_client_left_runs_to_its_end(play: Callable[[Story], None]) -> None:
    async def story(sock: socket.socket, served: Served) -> None:
        served.gate.clear()
        await send(sock, SMALL)
        await served.entered.wait()
        sock.close()
        await asyncio.sleep(0)
        served.gate.set()
        while not served.done or served.server.fronts:  # noqa: ASYNC110  it tells nobody
            await asyncio.sleep(0)

    play(story)


def test_a_client_that_talks_on_is_not_read_for_ever(play: Callable[[Story], None]) -> None:
    async def story(sock: socket.socket, served: Served) -> None:
        served.gate.clear()
        await send(sock, SMALL)
        await served.entered.wait()
        sending = asyncio.ensure_future(send(sock, SMALL * (100 * READ_AHEAD_BYTES // len(SMALL))))
        (front,) = served.server.fronts
        while front.reading:  # noqa: ASYNC110  it tells nobody
            await asyncio.sleep(0)
        assert not sending.done()
        sending.cancel()

    play(story)


def test_a_client_that_takes_no_answers_gets_no_more(play: Callable[[Story], None]) -> None:
    async def story(sock: socket.socket, served: Served) -> None:
        served.padding = "x" * 50_000
        count = 200
        sending = asyncio.ensure_future(send(sock, SMALL * count))
        (front,) = served.server.fronts
        while front.writable:  # noqa: ASYNC110  it tells nobody
            await asyncio.sleep(0)
        before = len(served.done)
        for _ in range(50):
            await asyncio.sleep(0)
        assert before <= len(served.done) <= before + 1 < count
        got = 0
        while got < count * 50_000:
            got += len(await asyncio.get_running_loop().sock_recv(sock, 1 << 20))
        await sending
        assert len(served.done) == count

    play(story)


@pytest.mark.parametrize("beginning", [b"\x16\x03\x01\x02\x00", b"GET /small HTTP/1.1\nHost: x\n\n"])
def test_a_client_that_speaks_something_else_is_told_at_once(play: Callable[[Story], None], beginning: bytes) -> None:
    async def story(sock: socket.socket, served: Served) -> None:
        await send(sock, beginning)
        got = b""
        while piece := await asyncio.get_running_loop().sock_recv(sock, 65536):
            got += piece
        assert b" 400 Bad Request\r\n" in got

    play(story)


def test_an_end_waits_for_what_is_under_way(play: Callable[[Story], None]) -> None:
    async def story(sock: socket.socket, served: Served) -> None:
        served.gate.clear()
        await send(sock, SMALL)
        await served.entered.wait()
        served.server.pre_shutdown()
        ending = asyncio.ensure_future(served.server.shutdown(5))
        await asyncio.sleep(0)
        served.gate.set()
        await answers(sock, b"small /small ")
        await ending
        assert await asyncio.get_running_loop().sock_recv(sock, 10) == b""

    play(story)
