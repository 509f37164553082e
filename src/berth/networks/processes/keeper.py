"""The daemon's side of a small process: connects, starts it if need be, notices its end, revives it, tells it all anew.

The owner remembers first and tells then; so a call under way when the process dies has its effect in the next one.
Must not: know any control language.
"""

import asyncio
import logging
import socket
import sys
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from pathlib import Path
from typing import Final

from berth.base.aio import Tasks
from berth.base.errors import SystemFault, Unavailable
from berth.networks.processes import packets
from berth.networks.processes.loop import close_quietly
from berth.networks.processes.packets import Answer, Request

log = logging.getLogger(__name__)

#: How long a call waits for the process, dead and revived included, seconds.
LIMIT_S: Final = 20.0
#: How long a process just started may take until it answers, seconds (measured: 0.1), and how often that is looked at.
_START_LIMIT_S: Final = 10.0
_START_LOOK_S: Final = 0.02
#: Pauses after failed starts, seconds: the first is short, for one that is dying may still have let us in.
_PAUSES_S: Final = (0.02, 0.1, 1.0)


class Silent(Unavailable):
    """The process does not answer and could not be revived in time."""

    def __init__(self, name: str) -> None:
        super().__init__(f"the {name} does not answer; the daemon's log says why")


class Refused(SystemFault):
    """The process could not do what it was told."""

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(f"{name}: {reason}")


class Lost(Exception):
    """The connection ended; the keeper makes a new one."""


class Keeper:
    """Keeps a connection to a process at `path`.

    `spawn` starts it, detached; it returns once started. `describe` tells a new process everything, before anybody else
    may talk to it; `revived` runs in the background after that.
    """

    def __init__(
        self,
        name: str,
        path: Path,
        *,
        spawn: Callable[[], Awaitable[None]] | None,
        describe: Callable[["Connection"], Awaitable[None]],
        revived: Callable[[], Coroutine[None, None, None]],
    ) -> None:
        self._name = name
        self._path = path
        self._spawn = spawn
        self._describe = describe
        self._revived = revived
        self._connection: Connection | None = None
        self._ready = asyncio.Event()
        self._tasks = Tasks()
        self._closing = False

    @property
    def pid(self) -> int:
        """The process, or 0 before `start`."""
        return 0 if self._connection is None else self._connection.peer

    async def start(self) -> None:
        """Connect, starting the process if there is none; what it was told by others is left alone."""
        await self._connect()
        self._ready.set()
        self._tasks.start(self._name, self._keep())

    async def until_told(self, tell: Callable[["Connection"], Awaitable[object]]) -> None:
        """Tell the process; if it is lost meanwhile, tell the next one. Raises Silent, Refused."""
        try:
            async with asyncio.timeout(LIMIT_S):
                while True:
                    await self._ready.wait()
                    connection = self._connection
                    assert connection is not None
                    try:
                        await tell(connection)
                    except Lost:
                        if self._closing:
                            raise Silent(self._name) from None
                        await connection.gone.wait()
                    else:
                        return
        except TimeoutError:
            raise Silent(self._name) from None

    async def close(self) -> None:
        """Leave the process to itself: it goes on."""
        self._closing = True
        await self._tasks.close()
        if self._connection is not None:
            self._connection.close()

    async def quit(self, request: Callable[[int], Request]) -> None:
        """Tell the process to end, see it gone, and close."""
        self._closing = True
        connection = self._connection
        if connection is not None and not connection.lost.is_set():
            try:
                await connection.call(request(connection.seq()))
                await connection.lost.wait()
            except Lost:
                log.debug("the %s ended before it said so", self._name)
        await self.close()

    async def _keep(self) -> None:
        while True:
            assert self._connection is not None
            await self._connection.lost.wait()
            self._ready.clear()
            self._connection.gone.set()
            if self._closing:
                return
            log.warning("the %s is lost; it is started anew and told everything again", self._name)
            pauses = iter(_PAUSES_S)
            while not self._ready.is_set():
                try:
                    await self._connect()
                    await self._describe(self._connection)
                except (Lost, OSError, SystemFault, Unavailable) as exc:
                    pause_s = next(pauses, _PAUSES_S[-1])
                    log.error("the %s cannot be revived, again in %g s: %r", self._name, pause_s, exc)  # noqa: TRY400
                    await asyncio.sleep(pause_s)
                else:
                    self._ready.set()
            # Beside the calls, not before them: it may wait for locks that a call's owner holds.
            self._tasks.start(f"{self._name} revived", self._revived())

    async def _connect(self) -> None:
        """Connect to the process, after starting one if need be. Raises Silent."""
        sock = _reach(self._path)
        if sock is None and self._spawn is not None:
            await self._spawn()
            try:
                async with asyncio.timeout(_START_LIMIT_S):
                    while (sock := _reach(self._path)) is None:  # noqa: ASYNC110  a file another process makes
                        await asyncio.sleep(_START_LOOK_S)
            except TimeoutError:
                raise Silent(self._name) from None
        if sock is None:
            raise Silent(self._name)
        if self._connection is not None:
            self._connection.close()
        self._connection = Connection(self._name, sock)


def _reach(path: Path) -> socket.socket | None:
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
    try:
        sock.connect(str(path))
    except (FileNotFoundError, ConnectionRefusedError, BlockingIOError):
        sock.close()
        return None
    except OSError:
        sock.close()
        raise
    return sock


def _wake(ready: "asyncio.Future[None]") -> None:
    if not ready.done():
        ready.set_result(None)


class Connection:
    """One control connection: packets out in order, replies matched by number."""

    def __init__(self, name: str, sock: socket.socket) -> None:
        self._name = name
        self._sock = sock
        self._loop = asyncio.get_running_loop()
        self._seq = 0
        self._waiting: dict[int, asyncio.Future[Answer]] = {}
        self._turn = asyncio.Lock()
        credentials = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
        self.peer = int.from_bytes(credentials[:4], sys.byteorder)
        #: The other side hung up; then, that the keeper has taken note of it.
        self.lost = asyncio.Event()
        self.gone = asyncio.Event()
        self._loop.add_reader(sock.fileno(), self._on_reply)

    def seq(self) -> int:
        """Next request's number."""
        self._seq += 1
        return self._seq

    async def call(self, request: Request, fds: Sequence[int] = ()) -> Answer:
        """Send a request and wait for its reply. Raises Lost, Refused."""
        return await (await self.post(request, fds))

    async def post(self, request: Request, fds: Sequence[int] = ()) -> "asyncio.Future[Answer]":
        """Send a request; its reply is the future's. `fds` stay the caller's."""
        packet = packets.encode(request)
        if len(packet) >= packets.PACKET_LIMIT:
            raise Refused(self._name, f"{len(packet)} bytes are too many for one request")
        async with self._turn:
            if self.lost.is_set():
                raise Lost
            answer: asyncio.Future[Answer] = self._loop.create_future()
            self._waiting[request.seq] = answer
            try:
                while not self._sent(packet, fds):
                    await self._writable()
            except OSError:
                self.close()
            return answer

    async def ids(self, ask: Callable[[int, str], Request]) -> set[str]:
        """Ask for ids page by page: `ask` makes the request from its number and the last id known."""
        found: set[str] = set()
        after = ""
        while True:
            page = (await self.call(ask(self.seq(), after))).reply.ids
            found.update(page)
            if len(page) < packets.IDS_A_PAGE:
                return found
            after = page[-1]

    async def settle(self, under_way: "list[asyncio.Future[Answer]]") -> None:
        """Wait for the replies and empty the list; what was refused costs only itself. Raises Lost."""
        for answer in under_way:
            try:
                await answer
            except Refused as exc:
                log.warning("not described anew: %s", exc)
        under_way.clear()

    def close(self) -> None:
        """Hang up."""
        if self._sock.fileno() >= 0:
            self._loop.remove_reader(self._sock.fileno())
            self._sock.close()
        self.lost.set()
        for answer in self._waiting.values():
            if not answer.done():
                answer.set_exception(Lost())
                answer.exception()  # also when nobody waits (a cancelled caller), it is no news
        self._waiting.clear()

    def _sent(self, packet: bytes, fds: Sequence[int]) -> bool:
        try:
            socket.send_fds(self._sock, [packet], list(fds))
        except BlockingIOError:
            return False
        return True

    async def _writable(self) -> None:
        ready: asyncio.Future[None] = self._loop.create_future()
        fd = self._sock.fileno()
        self._loop.add_writer(fd, _wake, ready)
        try:
            await ready
        finally:
            self._loop.remove_writer(fd)

    def _on_reply(self) -> None:
        try:
            packet, fds, _, _ = socket.recv_fds(self._sock, packets.PACKET_LIMIT, packets.FDS_A_PACKET)
        except BlockingIOError:
            return
        except OSError:
            packet, fds = b"", []
        if not packet:
            self.close()
            return
        reply = packets.decode_reply(packet)
        answer = self._waiting.pop(reply.seq, None)
        if answer is None or answer.done():  # its caller was cancelled
            close_quietly(*fds)
        elif reply.error is None:
            answer.set_result(Answer(reply, tuple(fds)))
        else:
            answer.set_exception(Refused(self._name, reply.error))
