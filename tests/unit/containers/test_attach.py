"""The hub between a monitor and its viewers, over a socket pair in the monitor's place."""

import asyncio
import socket
from collections.abc import Iterator

import pytest

from berth.base.errors import Conflict, InvalidArgument
from berth.containers.attach import HIGH_WATER_BYTES, Hub, Viewer, check_size
from berth.kernel.pidfd import Held
from berth.wire.frames import STDERR, STDOUT, frame


class Client:
    """A client that takes what it is sent when it is allowed to."""

    def __init__(self) -> None:
        self.got = b""
        self.taking = asyncio.Event()
        self.taking.set()
        self.aborted = False
        self.to_read: asyncio.Queue[bytes] = asyncio.Queue()

    async def read(self) -> bytes:
        return await self.to_read.get()

    async def write(self, data: bytes) -> None:
        await self.taking.wait()
        if self.aborted:
            raise ConnectionError
        self.got += data

    async def gone(self) -> None:
        await asyncio.Event().wait()

    async def close(self) -> None:
        return

    def abort(self) -> None:
        self.aborted = True
        self.taking.set()


class Living(Held):
    """A process that does not end."""

    def __init__(self) -> None:
        super().__init__(1, -1)

    async def gone(self) -> None:
        await asyncio.Event().wait()


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, monitors = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.setblocking(False)
    monitors.settimeout(5)
    yield ours, monitors
    ours.close()
    monitors.close()


def viewer(client: Client, *, stdout: bool = True, stderr: bool = True, framed: bool = True) -> Viewer:
    return Viewer(client, stdout=stdout, stderr=stderr, framed=framed)


async def test_output_reaches_every_viewer_and_ends(pair: tuple[socket.socket, socket.socket]) -> None:
    ours, monitor = pair
    hub, one, two = Hub(ours), Client(), Client()
    first, second = viewer(one), viewer(two, stderr=False, framed=False)
    hub.join(first)
    hub.join(second)
    monitor.send(b"\x02out")
    monitor.send(b"\x03err")
    monitor.close()
    await asyncio.gather(first.pump(), second.pump())
    assert one.got == frame(STDOUT, b"out") + frame(STDERR, b"err")
    assert two.got == b"out"


async def test_the_last_bytes_are_not_lost_when_the_monitor_ends_with_unread_input(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    ours, monitor = pair
    hub, client = Hub(ours), Client()
    watching = viewer(client, framed=False)
    hub.join(watching)
    await hub.send(b"never read")
    monitor.send(b"\x02last words")
    monitor.close()
    await watching.pump()
    assert client.got == b"last words"


async def test_a_slow_viewer_holds_the_monitor_up_and_loses_nothing(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    ours, monitor = pair
    hub, client = Hub(ours, process=Living), Client()
    client.taking.clear()
    watching = viewer(client, framed=False)
    hub.join(watching)
    pumping = asyncio.get_running_loop().create_task(watching.pump())
    monitor.setblocking(False)
    sent = 0
    packet = b"\x02" + b"x" * 8192
    idle = 0
    while idle < 50:
        try:
            monitor.send(packet)
            sent += 8192
            idle = 0
        except BlockingIOError:
            idle += 1
        await asyncio.sleep(0)
    assert HIGH_WATER_BYTES < sent < 2 * HIGH_WATER_BYTES
    client.taking.set()
    monitor.setblocking(True)
    await asyncio.sleep(0)
    monitor.close()
    await pumping
    assert len(client.got) == sent


async def test_once_the_process_is_gone_a_slow_viewer_holds_nothing_up(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    ours, monitor = pair
    hub, client = Hub(ours), Client()
    client.taking.clear()
    hub.join(viewer(client))
    hub.unbound()
    for _ in range(300):
        monitor.send(b"\x02" + b"x" * 8192)
        await asyncio.sleep(0)
    monitor.close()
    await hub.over


async def test_input_is_cut_into_packets_and_closed(pair: tuple[socket.socket, socket.socket]) -> None:
    ours, monitor = pair
    hub = Hub(ours)
    await hub.send(b"y" * 20_000)
    await hub.close_stdin()
    await hub.send(b"too late")
    got = [monitor.recv(100_000) for _ in range(4)]
    assert [len(one) for one in got] == [8_000, 8_000, 4_000, 0]
    hub.close()


async def test_a_viewer_that_joins_an_ended_hub_ends(pair: tuple[socket.socket, socket.socket]) -> None:
    ours, monitor = pair
    hub = Hub(ours)
    monitor.close()
    await hub.over
    late = viewer(Client())
    hub.join(late)
    await late.pump()


def test_sizes_are_checked() -> None:
    assert check_size(24, 80) == (24, 80)
    for bad in ((None, 80), (-1, 80), (24, 70_000)):
        with pytest.raises((InvalidArgument, Conflict)):
            check_size(*bad)
