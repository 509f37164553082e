"""The daemon's side of the name server: keeps what must be served, tells it, revives it.

Memory comes first: a change is remembered, then told. Whenever the server is lost, a new one is started and told
everything remembered, so a call that was under way has either its effect or its effect is described anew.
Must not: decide answers, make sockets or change namespaces (the networks service hands the sockets in).
"""

import asyncio
import logging
import os
import socket
import sys
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final

from berth.base.aio import Tasks
from berth.base.errors import SystemFault, Unavailable
from berth.networks.dns import control
from berth.networks.dns.model import NamedEndpoint, ServeConfig, Sockets

log = logging.getLogger(__name__)

#: How long a call waits for the server, dead and revived included, seconds.
LIMIT_S: Final = 20.0
#: How long a server just started may take until it answers, seconds (measured: 0.1), and how often that is looked at.
_START_LIMIT_S: Final = 10.0
_START_LOOK_S: Final = 0.02
#: Pause after a failed start, seconds.
_PAUSE_S: Final = 1.0
#: Containers for which sockets are made anew at once.
_RESUPPLY_AT_ONCE: Final = 8
#: Requests sent before their replies are waited for.
_WINDOW: Final = 64


class NameServerSilent(Unavailable):
    """The name server does not answer and could not be revived in time."""

    def __init__(self) -> None:
        super().__init__(
            f"the name server does not answer within {LIMIT_S:g} s; names of containers cannot be changed now"
        )


class NameServerRefused(SystemFault):
    """The name server could not do what it was told."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"name server: {reason}")


class _Lost(Exception):
    """The connection ended; the keeper makes a new one."""


def command(socket_path: Path) -> tuple[str, ...]:
    """Return the command line of the server's process."""
    return (sys.executable, "-m", "berth.networks.dns.server", "--socket", str(socket_path))


class DnsClient:
    """Connection to the name server's process, which outlives this one.

    `spawn` starts the process if none answers at `socket_path` (detached from this one; see `command`); it returns once
    started, the client waits for the socket itself. `resupply` opens new sockets in a container's namespace when the
    server lost the old ones (it died) and makes the redirect lead to them; it may raise to say that the container is
    gone. `resupply` runs in the background and may call this client.
    """

    def __init__(
        self,
        socket_path: Path,
        *,
        spawn: Callable[[], Awaitable[None]] | None = None,
        resupply: Callable[[str], Awaitable[Sockets]] | None = None,
    ) -> None:
        self._path = socket_path
        self._spawn = spawn
        self._resupply = resupply
        self._configs: dict[str, ServeConfig] = {}
        self._endpoints: dict[tuple[str, str], NamedEndpoint] = {}
        #: Sockets of `serve` calls under way, by container.
        self._in_hand: dict[str, Sockets] = {}
        self._connection: _Connection | None = None
        self._ready = asyncio.Event()
        self._tasks = Tasks()
        self._closing = False
        self.pid = 0

    async def start(self) -> None:
        """Connect, starting the server if there is none; from then on reconnect and re-serve whenever it is lost.

        What a server that was there already serves is left alone until `adopt`.
        """
        await self._connect()
        self._ready.set()
        self._tasks.start("name server", self._keep())

    async def adopt(self, configs: Iterable[ServeConfig], endpoints: Iterable[NamedEndpoint]) -> set[str]:
        """After a restart of the daemon: make the server serve exactly these, in one swap; sockets it has it keeps.

        Gives the ids it has no sockets for: `serve` them (done already for all where `resupply` is given and works).
        """
        self._configs = {config.container_id: config for config in configs}
        self._endpoints = {(endpoint.container_id, endpoint.network_id): endpoint for endpoint in endpoints}
        await self._until_told(self._describe)
        return await self._resupply_missing()

    async def serve(self, config: ServeConfig, udp_fd: int, tcp_fd: int, netns_fd: int) -> None:
        """Serve a container over these sockets (see `Sockets`). They are taken over: closed here in any case."""
        ident = config.container_id
        sockets = Sockets(udp_fd, tcp_fd, netns_fd)
        self._configs[ident] = config
        self._in_hand[ident] = sockets
        try:
            await self._until_told(lambda to: to.call(control.Serve(to.seq(), config), sockets))
        finally:
            if self._in_hand.get(ident) is sockets:
                del self._in_hand[ident]
            for fd in sockets:
                os.close(fd)

    async def configure(self, config: ServeConfig) -> None:
        """Change how an already served container is served; its sockets stay."""
        self._configs[config.container_id] = config
        await self._until_told(lambda to: to.call(control.Configure(to.seq(), config)))

    async def forget(self, container_id: str) -> None:
        """Stop serving a container, drop its endpoints and close its sockets. May be repeated."""
        self._configs.pop(container_id, None)
        for key in [key for key in self._endpoints if key[0] == container_id]:
            del self._endpoints[key]
        await self._until_told(lambda to: to.call(control.Forget(to.seq(), container_id)))

    async def endpoint_up(self, endpoint: NamedEndpoint) -> None:
        """Make an endpoint's names known on its network; replaces what (container, network) had before (rename too)."""
        self._endpoints[endpoint.container_id, endpoint.network_id] = endpoint
        await self._until_told(lambda to: to.call(control.Up(to.seq(), endpoint)))

    async def endpoint_down(self, container_id: str, network_id: str) -> None:
        """Drop the names a container had on a network. May be repeated."""
        self._endpoints.pop((container_id, network_id), None)
        await self._until_told(lambda to: to.call(control.Down(to.seq(), container_id, network_id)))

    async def serving(self) -> set[str]:
        """Ids of the containers the server holds sockets for."""
        found: set[str] = set()

        async def ask(to: "_Connection") -> None:
            found.update(await to.serving())

        await self._until_told(ask)
        return found

    async def close(self) -> None:
        """Leave the server to itself: it goes on serving."""
        self._closing = True
        await self._tasks.close()
        if self._connection is not None:
            self._connection.close()

    async def quit(self) -> None:
        """End the server's process too, and close."""
        self._closing = True
        connection = self._connection
        if connection is not None and not connection.lost.is_set():
            try:
                await connection.call(control.Quit(connection.seq()))
                await connection.lost.wait()
            except _Lost:
                log.debug("the name server ended before it said so")
        await self.close()

    async def _until_told(self, tell: Callable[["_Connection"], Awaitable[object]]) -> None:
        """Tell the server; if it is lost meanwhile, tell the next one."""
        try:
            async with asyncio.timeout(LIMIT_S):
                while True:
                    await self._ready.wait()
                    connection = self._connection
                    assert connection is not None
                    try:
                        await tell(connection)
                    except _Lost:
                        if self._closing:
                            raise NameServerSilent from None
                        await connection.gone.wait()
                    else:
                        return
        except TimeoutError:
            raise NameServerSilent from None

    async def _keep(self) -> None:
        while True:
            assert self._connection is not None
            await self._connection.lost.wait()
            self._ready.clear()
            self._connection.gone.set()
            if self._closing:
                return
            log.warning("the name server is lost; it is started anew and told everything again")
            while not self._ready.is_set():
                try:
                    await self._connect()
                    await self._describe(self._connection)
                except (_Lost, OSError, SystemFault, Unavailable) as exc:
                    log.error("the name server cannot be revived, again in %.0f s: %r", _PAUSE_S, exc)  # noqa: TRY400
                    await asyncio.sleep(_PAUSE_S)
                else:
                    self._ready.set()
            # Beside the calls, not before them: making sockets may wait for locks that a call's owner holds.
            self._tasks.start("name server sockets", self._resupply_after_loss())

    async def _resupply_after_loss(self) -> None:
        missing = await self._resupply_missing()
        log.warning("the name server is back; %d containers wait for sockets", len(missing))

    async def _resupply_missing(self) -> set[str]:
        missing = set(self._configs) - await self.serving()
        if self._resupply is None:
            return missing
        turns = asyncio.Semaphore(_RESUPPLY_AT_ONCE)

        async def one(ident: str) -> bool:
            assert self._resupply is not None
            async with turns:
                config = self._configs.get(ident)
                if config is None or ident in self._in_hand:
                    return True
                try:
                    sockets = await self._resupply(ident)
                except (OSError, SystemFault, Unavailable) as exc:
                    log.warning("names stay unserved in container %s: %s", ident[:12], exc)
                    return False
                await self.serve(self._configs.get(ident, config), *sockets)
                if ident not in self._configs:
                    await self.forget(ident)
                return True

        order = sorted(missing)
        done = await asyncio.gather(*(one(ident) for ident in order))
        return {ident for ident, well in zip(order, done, strict=True) if not well}

    async def _describe(self, to: "_Connection") -> None:
        """Tell all that is remembered, in one swap. Calls of others may come between: memory is read late."""
        await to.call(control.Begin(to.seq()))
        under_way: list[asyncio.Future[control.Reply]] = []
        for request in self._remembered(to):
            under_way.append(await to.post(request))
            if len(under_way) == _WINDOW:
                await _settle(under_way)
        await _settle(under_way)
        await to.call(control.Commit(to.seq()))

    def _remembered(self, to: "_Connection") -> Iterator[control.Request]:
        for ident in tuple(self._configs):
            config = self._configs.get(ident)
            if config is not None:
                yield control.Configure(to.seq(), config)
        for key in tuple(self._endpoints):
            endpoint = self._endpoints.get(key)
            if endpoint is not None:
                yield control.Up(to.seq(), endpoint)

    async def _connect(self) -> None:
        """Connect to the server, after starting one if need be. Raises NameServerSilent."""
        sock = _reach(self._path)
        if sock is None and self._spawn is not None:
            await self._spawn()
            try:
                async with asyncio.timeout(_START_LIMIT_S):
                    while (sock := _reach(self._path)) is None:  # noqa: ASYNC110  a file another process makes
                        await asyncio.sleep(_START_LOOK_S)
            except TimeoutError:
                raise NameServerSilent from None
        if sock is None:
            raise NameServerSilent
        self._connection = _Connection(sock)
        self.pid = self._connection.peer


async def _settle(under_way: list[asyncio.Future[control.Reply]]) -> None:
    """Wait for the replies; what was refused costs only itself. Raises _Lost."""
    for answer in under_way:
        try:
            await answer
        except NameServerRefused as exc:
            log.warning("not described anew: %s", exc)
    under_way.clear()


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


class _Connection:
    """One control connection: packets out in order, replies matched by number."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._loop = asyncio.get_running_loop()
        self._seq = 0
        self._waiting: dict[int, asyncio.Future[control.Reply]] = {}
        self._turn = asyncio.Lock()
        credentials = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
        self.peer = int.from_bytes(credentials[:4], sys.byteorder)
        #: The other side hung up; then, that the keeper has taken note of it.
        self.lost = asyncio.Event()
        self.gone = asyncio.Event()
        self._loop.add_reader(sock.fileno(), self._on_reply)

    def seq(self) -> int:
        """Next request's number; 0 is the server's word for a request it could not read."""
        self._seq += 1
        return self._seq

    async def call(self, request: control.Request, fds: Sequence[int] = ()) -> control.Reply:
        """Send a request and wait for its reply. Raises _Lost, NameServerRefused."""
        return await (await self.post(request, fds))

    async def post(self, request: control.Request, fds: Sequence[int] = ()) -> asyncio.Future[control.Reply]:
        """Send a request; its reply is the future's."""
        packet = control.encode(request)
        if len(packet) >= control.PACKET_LIMIT:
            raise NameServerRefused(f"{len(packet)} bytes of names for one container are too many")
        async with self._turn:
            if self.lost.is_set():
                raise _Lost
            answer: asyncio.Future[control.Reply] = self._loop.create_future()
            self._waiting[request.seq] = answer
            try:
                while not self._sent(packet, fds):
                    await self._writable()
            except OSError:
                self._hang_up()
            return answer

    async def serving(self) -> set[str]:
        """Ask for all ids, page by page."""
        found: set[str] = set()
        after = ""
        while True:
            page = (await self.call(control.Serving(self.seq(), after))).ids
            found.update(page)
            if len(page) < control.IDS_A_PAGE:
                return found
            after = page[-1]

    def close(self) -> None:
        """Hang up."""
        self._hang_up()

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
            packet = self._sock.recv(control.PACKET_LIMIT)
        except BlockingIOError:
            return
        except OSError:
            packet = b""
        if not packet:
            self._hang_up()
            return
        reply = control.decode_reply(packet)
        answer = self._waiting.pop(reply.seq, None)
        if answer is None or answer.done():  # its caller was cancelled
            return
        if reply.error is None:
            answer.set_result(reply)
        else:
            answer.set_exception(NameServerRefused(reply.error))

    def _hang_up(self) -> None:
        if self._sock.fileno() >= 0:
            self._loop.remove_reader(self._sock.fileno())
            self._sock.close()
        self.lost.set()
        for answer in self._waiting.values():
            if not answer.done():
                answer.set_exception(_Lost())
                answer.exception()  # also when nobody waits (a cancelled caller), it is no news
        self._waiting.clear()
