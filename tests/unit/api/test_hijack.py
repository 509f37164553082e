"""Connections taken over from the HTTP server, on both event loops, over a socket pair."""

import asyncio
import logging
import socket
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, cast

import pytest
import uvloop
from aiohttp import web

from berth.api.call import Call
from berth.api.hijack import MULTIPLEXED, READ_AHEAD_BYTES, Hijacked, RawStream, Server, hijack

LOOPS = {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}
UPGRADE = b"POST /x HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: tcp\r\nContent-Length: 2\r\n\r\n{}"
PLAIN = b"POST /x HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}"
LIMIT_S = 10

Story = Callable[[socket.socket], Awaitable[None]]
Handler = Callable[[RawStream], Awaitable[None]]


@pytest.fixture(params=sorted(LOOPS))
def play(request: pytest.FixtureRequest, caplog: pytest.LogCaptureFixture) -> Callable[[Handler, Story], None]:
    """Run a handler against a client; nothing may be logged as an error, and no task may be left."""

    async def both(handler: Handler, story: Story) -> None:
        async def serve(request: web.BaseRequest) -> web.StreamResponse:
            if request.path == "/plain":
                return web.Response(text="plain")
            call = Call(request, cast("Any", None), (1, 47), {})
            await handler(await hijack(call, content_type=MULTIPLEXED))
            return Hijacked()

        ours, theirs = socket.socketpair()
        theirs.setblocking(False)
        loop = asyncio.get_running_loop()
        server = Server(serve, handler_cancellation=True, access_log=None)
        await loop.connect_accepted_socket(server, ours)
        try:
            async with asyncio.timeout(LIMIT_S):
                await story(theirs)
        finally:
            theirs.close()
            await server.shutdown(1)
        left = asyncio.all_tasks() - {asyncio.current_task()}
        assert not left or not (await asyncio.wait(left, timeout=LIMIT_S))[1]

    def run(handler: Handler, story: Story) -> None:
        with caplog.at_level(logging.WARNING), asyncio.Runner(loop_factory=LOOPS[request.param]) as runner:
            runner.run(both(handler, story))
        assert not caplog.records

    return run


async def received(sock: socket.socket, until: Callable[[bytes], bool] = lambda _: False) -> bytes:
    loop, got = asyncio.get_running_loop(), b""
    while not until(got) and (piece := await loop.sock_recv(sock, 65_536)):
        got += piece
    return got


def send(sock: socket.socket, data: bytes) -> Coroutine[Any, Any, None]:
    return asyncio.get_running_loop().sock_sendall(sock, data)


async def echo(stream: RawStream) -> None:
    while data := await stream.read():
        await stream.write(data)
    await stream.write(b"<end>")
    await stream.close()


@pytest.mark.parametrize("request_bytes", [UPGRADE, PLAIN])
def test_bytes_go_both_ways_after_a_half_close(play: Callable[[Handler, Story], None], request_bytes: bytes) -> None:
    async def story(client: socket.socket) -> None:
        await send(client, request_bytes)
        head = await received(client, lambda got: b"\r\n\r\n" in got)
        assert head.startswith(b"HTTP/1.1 101 UPGRADED" if request_bytes is UPGRADE else b"HTTP/1.1 200 OK")
        assert b"Content-Type: application/vnd.docker.multiplexed-stream\r\n" in head
        assert (b"Upgrade: tcp\r\n" in head) == (request_bytes is UPGRADE)
        await send(client, b"hello")
        client.shutdown(socket.SHUT_WR)
        assert await received(client) == b"hello<end>"

    play(echo, story)


@pytest.mark.parametrize("cut", [1, 20, len(UPGRADE) - 1, len(UPGRADE), len(UPGRADE) + 3])
def test_what_is_sent_before_the_answer_is_kept(play: Callable[[Handler, Story], None], cut: int) -> None:
    async def story(client: socket.socket) -> None:
        everything = UPGRADE + b"early bird"
        await send(client, everything[:cut])
        await asyncio.sleep(0)
        await send(client, everything[cut:])
        client.shutdown(socket.SHUT_WR)
        assert (await received(client)).endswith(b"\r\n\r\nearly bird<end>")

    play(echo, story)


def test_an_upgrade_that_is_not_granted_leaves_a_plain_connection(play: Callable[[Handler, Story], None]) -> None:
    async def story(client: socket.socket) -> None:
        await send(client, UPGRADE.replace(b"/x", b"/plain"))
        assert (await received(client, lambda got: got.endswith(b"plain"))).startswith(b"HTTP/1.1 200")
        await send(client, PLAIN.replace(b"/x", b"/plain"))
        assert (await received(client, lambda got: got.endswith(b"plain"))).startswith(b"HTTP/1.1 200")

    play(echo, story)


def test_a_client_that_sends_more_than_is_read_is_held_up(play: Callable[[Handler, Story], None]) -> None:
    size = 8 * READ_AHEAD_BYTES
    most = 0

    async def late(stream: RawStream) -> None:
        nonlocal most
        await stream.write(b"go")
        total = 0
        while total < size:
            for _ in range(20):
                await asyncio.sleep(0)
            piece = await stream.read()
            most = max(most, len(piece))
            total += len(piece)
        await stream.close()

    async def story(client: socket.socket) -> None:
        await send(client, UPGRADE)
        await received(client, lambda got: got.endswith(b"go"))
        await send(client, b"x" * size)
        assert await received(client) == b""

    play(late, story)
    assert most < 4 * READ_AHEAD_BYTES


def test_a_slow_client_holds_the_writer_up(play: Callable[[Handler, Story], None]) -> None:
    written = 0
    piece = b"x" * 100_000

    async def flood(stream: RawStream) -> None:
        nonlocal written
        for _ in range(100):
            await stream.write(piece)
            written += len(piece)
        await stream.close()

    async def story(client: socket.socket) -> None:
        await send(client, UPGRADE)
        for _ in range(200):
            await asyncio.sleep(0)
        assert written < 3_000_000
        assert len((await received(client)).partition(b"\r\n\r\n")[2]) == 10_000_000

    play(flood, story)


@pytest.mark.parametrize("half_first", [True, False])
def test_a_client_that_goes_away_is_noticed(play: Callable[[Handler, Story], None], *, half_first: bool) -> None:
    noticed = asyncio.Event()

    async def wait(stream: RawStream) -> None:
        await stream.gone()
        with pytest.raises(ConnectionError):
            await stream.write(b"x")
        assert await stream.read() == b""
        noticed.set()

    async def story(client: socket.socket) -> None:
        await send(client, UPGRADE)
        await received(client, lambda got: b"\r\n\r\n" in got)
        if half_first:
            client.shutdown(socket.SHUT_WR)
            for _ in range(20):
                await asyncio.sleep(0)
        client.close()
        await noticed.wait()

    play(wait, story)
