"""The daemon's side of the port proxy: hands sockets over, gets them back after a restart, revives it.

How `networks` uses it, for a port published on ``0.0.0.0:8080`` to a container without IPv6:

    fd = open_listener("tcp", "::", 8080)                    # OSError: the port is taken
    await proxy.hold("tcp/::/8080", fd, Target("172.17.0.2", 80))
    …
    await proxy.release("tcp/::/8080")

A key is the caller's own; `Target` None only keeps a bound socket, so that its port stays taken without the daemon.
Must not: choose ports or write rules.
"""

import asyncio
import os
import socket
import sys
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from typing import Final

from berth.networks.ports import proxy_control
from berth.networks.ports.proxy_control import Target
from berth.networks.processes.keeper import Connection, Keeper
from berth.networks.processes.packets import Answer

#: Connections that may wait to be taken.
_BACKLOG: Final = 1024
#: Requests sent before their replies are waited for.
_WINDOW: Final = 64


def command(socket_path: Path) -> tuple[str, ...]:
    """Return the command line of the proxy's process."""
    # -P: whatever lies in the working directory is not imported.
    return (sys.executable, "-P", "-m", "berth.networks.ports.proxy", "--socket", str(socket_path))


def open_listener(protocol: str, host_ip: str, port: int) -> int:
    """Bind a socket for `hold` in this namespace, listening if `protocol` is tcp. Raises OSError.

    An IPv6 address is bound for IPv6 alone: IPv4 has its own rules.
    """
    kind = socket.SOCK_STREAM if protocol == "tcp" else socket.SOCK_DGRAM
    family = socket.AF_INET6 if ":" in host_ip else socket.AF_INET
    sock = socket.socket(family, kind | socket.SOCK_CLOEXEC)
    try:
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        if kind == socket.SOCK_STREAM:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((host_ip, port))
        if kind == socket.SOCK_STREAM:
            sock.listen(_BACKLOG)
    except OSError:
        sock.close()
        raise
    return sock.detach()


class ProxyClient:
    """Connection to the proxy's process, which outlives this one.

    `spawn` starts it, detached (see `command`). The daemon keeps a copy of each socket it handed over: if the proxy
    dies, a new one gets it, and the port was never free. Methods raise `keeper.Silent` (503), `keeper.Refused` (500).
    """

    def __init__(self, socket_path: Path, *, spawn: Callable[[], Awaitable[None]] | None = None) -> None:
        self._held: dict[str, tuple[int, Target | None]] = {}
        self._keeper = Keeper("port proxy", socket_path, spawn=spawn, describe=self._describe, revived=self._revived)

    @property
    def pid(self) -> int:
        """The proxy's process, 0 before `start`."""
        return self._keeper.pid

    async def start(self) -> None:
        """Connect, starting the proxy if there is none; what it holds already goes on until `keep_only`."""
        await self._keeper.start()

    async def hold(self, key: str, fd: int, target: Target | None) -> None:
        """Hand a bound (and listening) socket over, with where its traffic goes. `fd` is taken over in any case."""
        old = self._held.pop(key, None)
        self._held[key] = (fd, target)
        if old is not None:
            os.close(old[0])
        try:
            await self._keeper.until_told(lambda to: to.call(proxy_control.Hold(to.seq(), key, target), (fd,)))
        except BaseException:
            if self._held.get(key) == (fd, target):
                del self._held[key]
                os.close(fd)
            raise

    async def release(self, key: str) -> None:
        """Close a socket and the connections that came in by it. May be repeated."""
        old = self._held.pop(key, None)
        if old is not None:
            os.close(old[0])
        await self._keeper.until_told(lambda to: to.call(proxy_control.Release(to.seq(), key)))

    async def holding(self) -> set[str]:
        """Keys of the sockets it holds."""
        found: set[str] = set()

        async def ask(to: Connection) -> None:
            found.update(await to.ids(proxy_control.Holding))

        await self._keeper.until_told(ask)
        return found

    async def fetch(self, key: str) -> int:
        """Get a copy of a held socket: after a restart of the daemon, its port is taken by ourselves."""
        got: list[Answer] = []

        async def ask(to: Connection) -> None:
            got.append(await to.call(proxy_control.Fetch(to.seq(), key)))

        await self._keeper.until_told(ask)
        return got[0].fds[0]

    async def keep_only(self, wanted: dict[str, Target | None]) -> set[str]:
        """After a restart of the daemon: keep what it holds of `wanted`, release all else; give the keys it lacks."""
        there = await self.holding()
        for key in sorted(there - wanted.keys()):
            await self.release(key)
        for key in sorted(there & wanted.keys()):
            await self.hold(key, await self.fetch(key), wanted[key])
        return set(wanted) - there

    async def close(self) -> None:
        """Leave the proxy to itself: it goes on."""
        await self._keeper.close()
        self._forget(tuple(self._held))

    async def quit(self) -> None:
        """End the proxy's process too, and close."""
        await self._keeper.quit(proxy_control.Quit)
        self._forget(tuple(self._held))

    def _forget(self, keys: Iterable[str]) -> None:
        for key in keys:
            os.close(self._held.pop(key)[0])

    async def _describe(self, to: Connection) -> None:
        under_way: list[asyncio.Future[Answer]] = []
        for key in tuple(self._held):
            if key in self._held:
                fd, target = self._held[key]
                under_way.append(await to.post(proxy_control.Hold(to.seq(), key, target), (fd,)))
            if len(under_way) == _WINDOW:
                await to.settle(under_way)
        await to.settle(under_way)

    async def _revived(self) -> None:
        """Everything was handed over before anybody else may talk."""
