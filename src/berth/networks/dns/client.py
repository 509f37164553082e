"""The daemon's side of the name server: keeps what must be served, tells it, revives it.

Memory comes first: a change is remembered, then told. Whenever the server is lost, a new one is started and told
everything remembered. Must not: decide answers, make sockets or change namespaces (the networks service hands them in).
"""

import asyncio
import logging
import os
import sys
from collections.abc import Awaitable, Callable, Iterable, Iterator
from pathlib import Path
from typing import Final

import msgspec

from berth.base.errors import EngineError
from berth.networks.dns import control
from berth.networks.dns.ledger import REMEMBERED
from berth.networks.dns.model import NamedEndpoint, ServeConfig, Sockets
from berth.networks.dns.report import LINES_A_PAGE, SUMS_A_PAGE, Asked, Outside, Sums
from berth.networks.processes.keeper import Connection, Keeper
from berth.networks.processes.loop import close_quietly
from berth.networks.processes.packets import Answer

log = logging.getLogger(__name__)

#: Containers for which sockets are made anew at once.
_RESUPPLY_AT_ONCE: Final = 8
#: Requests sent before their replies are waited for.
_WINDOW: Final = 64


def command(socket_path: Path) -> tuple[str, ...]:
    """Return the command line of the server's process."""
    # -P: whatever lies in the working directory is not imported.
    return (sys.executable, "-P", "-m", "berth.networks.dns.server", "--socket", str(socket_path))


class DnsClient:
    """Connection to the name server's process, which outlives this one.

    `spawn` starts the process if none answers at `socket_path` (detached from this one; see `command`); it returns once
    started, the client waits for the socket itself. `resupply` opens new sockets in a container's namespace when the
    server lost the old ones (it died) and makes the redirect lead to them; it may raise to say that the container is
    gone. `resupply` runs in the background and may call this client.

    Every method may raise `keeper.Silent` (503) and `keeper.Refused` (500).
    """

    def __init__(
        self,
        socket_path: Path,
        *,
        spawn: Callable[[], Awaitable[None]] | None = None,
        resupply: Callable[[str], Awaitable[Sockets]] | None = None,
    ) -> None:
        self._resupply = resupply
        self._configs: dict[str, ServeConfig] = {}
        self._endpoints: dict[tuple[str, str], NamedEndpoint] = {}
        #: Containers whose `serve` is under way.
        self._in_hand: dict[str, Sockets] = {}
        self._keeper = Keeper(
            "name server", socket_path, spawn=spawn, describe=self._describe, revived=self._resupply_after_loss
        )

    @property
    def pid(self) -> int:
        """The server's process, 0 before `start`."""
        return self._keeper.pid

    def config_of(self, container_id: str) -> ServeConfig:
        """Return how a container is to be served. Raises KeyError."""
        return self._configs[container_id]

    async def start(self) -> None:
        """Connect, starting the server if there is none; from then on reconnect and re-serve whenever it is lost.

        What a server that was there already serves is left alone until `adopt`.
        """
        await self._keeper.start()

    async def adopt(self, configs: Iterable[ServeConfig], endpoints: Iterable[NamedEndpoint]) -> set[str]:
        """After a restart of the daemon: make the server serve exactly these, in one swap; sockets it has it keeps.

        Gives the ids it has no sockets for: `serve` them (done already for all where `resupply` is given and works).
        """
        self._configs = {config.container_id: config for config in configs}
        self._endpoints = {(endpoint.container_id, endpoint.network_id): endpoint for endpoint in endpoints}
        await self._keeper.until_told(self._describe)
        return await self._resupply_missing()

    async def serve(self, config: ServeConfig, udp_fd: int, tcp_fd: int, netns_fd: int) -> None:
        """Serve a container over these sockets (see `Sockets`). They are taken over: closed here in any case."""
        ident = config.container_id
        sockets = Sockets(udp_fd, tcp_fd, netns_fd)
        self._configs[ident] = config
        self._in_hand[ident] = sockets
        try:
            await self._keeper.until_told(lambda to: to.call(control.Serve(to.seq(), config), sockets))
        finally:
            if self._in_hand.get(ident) is sockets:
                del self._in_hand[ident]
            for fd in sockets:
                os.close(fd)

    async def configure(self, config: ServeConfig) -> None:
        """Change how an already served container is served; its sockets stay."""
        self._configs[config.container_id] = config
        await self._keeper.until_told(lambda to: to.call(control.Configure(to.seq(), config)))

    async def forget(self, container_id: str) -> None:
        """Stop serving a container, drop its endpoints and close its sockets. May be repeated."""
        self._configs.pop(container_id, None)
        for key in [key for key in self._endpoints if key[0] == container_id]:
            del self._endpoints[key]
        await self._keeper.until_told(lambda to: to.call(control.Forget(to.seq(), container_id)))

    async def endpoint_up(self, endpoint: NamedEndpoint) -> None:
        """Make an endpoint's names known on its network; replaces what (container, network) had before (rename too)."""
        self._endpoints[endpoint.container_id, endpoint.network_id] = endpoint
        await self._keeper.until_told(lambda to: to.call(control.Up(to.seq(), endpoint)))

    async def endpoint_down(self, container_id: str, network_id: str) -> None:
        """Drop the names a container had on a network. May be repeated."""
        self._endpoints.pop((container_id, network_id), None)
        await self._keeper.until_told(lambda to: to.call(control.Down(to.seq(), container_id, network_id)))

    async def serving(self) -> set[str]:
        """Ids of the containers the server holds sockets for."""
        found: set[str] = set()

        async def ask(to: Connection) -> None:
            found.update(await to.ids(control.Serving))

        await self._keeper.until_told(ask)
        return found

    async def recent(self, container_id: str, after: int = 0) -> list[Asked]:
        """Return a container's last queries, oldest first, those numbered beyond `after`."""
        found: list[Asked] = []

        async def ask(to: Connection) -> None:
            found.clear()
            number = after
            while True:
                reply = (await to.call(control.Recent(to.seq(), container_id, number))).reply
                page = msgspec.convert(reply.body, list[Asked])
                found.extend(page)
                if len(page) < LINES_A_PAGE or len(found) >= REMEMBERED:  # else a busy asker would keep us here
                    return
                number = page[-1].number

        await self._keeper.until_told(ask)
        return found

    async def numbers(self) -> list[Sums]:
        """Return what each served container asked, in numbers."""
        found: list[Sums] = []

        async def ask(to: Connection) -> None:
            found.clear()
            after = ""
            while True:
                reply = (await to.call(control.Numbers(to.seq(), after))).reply
                page = msgspec.convert(reply.body, list[Sums])
                found.extend(page)
                if len(page) < SUMS_A_PAGE:
                    return
                after = page[-1].container_id

        await self._keeper.until_told(ask)
        return found

    async def servers(self) -> list[Outside]:
        """Return how the servers outside do."""
        found: list[Outside] = []

        async def ask(to: Connection) -> None:
            reply = (await to.call(control.Servers(to.seq()))).reply
            found[:] = msgspec.convert(reply.body, list[Outside])

        await self._keeper.until_told(ask)
        return found

    @property
    def has_work(self) -> bool:
        """Tell whether any container is to be served."""
        return bool(self._configs)

    async def close(self) -> None:
        """Leave the server to itself: it goes on serving."""
        await self._keeper.close()

    async def quit(self) -> None:
        """End the server's process too, and close."""
        await self._keeper.quit(control.Quit)

    async def _resupply_after_loss(self) -> None:
        missing = await self._resupply_missing()
        log.warning("the name server is back; %d containers wait for sockets", len(missing))

    async def _resupply_missing(self) -> set[str]:
        missing = set(self._configs) - await self.serving()
        if self._resupply is None:
            return missing
        resupply = self._resupply
        turns = asyncio.Semaphore(_RESUPPLY_AT_ONCE)

        async def one(ident: str) -> bool:
            async with turns:
                config = self._configs.get(ident)
                if config is None or ident in self._in_hand:
                    return True
                try:
                    sockets = await resupply(ident)
                    if ident not in self._configs:  # forgotten meanwhile
                        close_quietly(*sockets)
                        return True
                    await self.serve(config, *sockets)
                except (OSError, EngineError) as exc:
                    log.warning("names stay unserved in container %s: %s", ident[:12], exc)
                    return False
                return True

        order = sorted(missing)
        done = await asyncio.gather(*(one(ident) for ident in order))
        return {ident for ident, well in zip(order, done, strict=True) if not well}

    async def _describe(self, to: Connection) -> None:
        """Tell all that is remembered, in one swap. Calls of others may come between: memory is read late."""
        await to.call(control.Begin(to.seq()))
        under_way: list[asyncio.Future[Answer]] = []
        for request in self._remembered(to):
            under_way.append(await to.post(request))
            if len(under_way) == _WINDOW:
                await to.settle(under_way)
        await to.settle(under_way)
        await to.call(control.Commit(to.seq()))

    def _remembered(self, to: Connection) -> Iterator[control.Request]:
        for ident in tuple(self._configs):
            config = self._configs.get(ident)
            if config is not None:
                yield control.Configure(to.seq(), config)
        for key in tuple(self._endpoints):
            endpoint = self._endpoints.get(key)
            if endpoint is not None:
                yield control.Up(to.seq(), endpoint)
