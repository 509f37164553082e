"""The daemon's side of the name server: keeps what must be served, tells it, revives it.

Must not: decide answers, make sockets or change namespaces (the networks service hands the sockets in).
"""

from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path

from berth.networks.dns.model import NamedEndpoint, ServeConfig, Sockets


class DnsClient:
    """Connection to the name server's process, which outlives this one.

    `spawn` starts the process if none answers at `socket_path` (it must be detached from this one); returns once started,
    the client waits for the socket itself. `resupply` opens new sockets in a container's namespace when the server
    lost the old ones (it died) and makes the redirect lead to them; it may raise to say that the container is gone.
    """

    def __init__(
        self,
        socket_path: Path,
        *,
        spawn: Callable[[], Awaitable[None]] | None = None,
        resupply: Callable[[str], Awaitable[Sockets]] | None = None,
    ) -> None:
        raise NotImplementedError

    async def start(self) -> None:
        """Connect, starting the server if there is none; from then on reconnect and re-serve whenever it is lost."""
        raise NotImplementedError

    async def adopt(self, configs: Iterable[ServeConfig], endpoints: Iterable[NamedEndpoint]) -> set[str]:
        """After a restart of the daemon: make the server serve exactly these, in one swap; what it serves keeps its sockets.

        Gives the ids it has no sockets for: `serve` them (done already for all where `resupply` is given and works).
        """
        raise NotImplementedError

    async def serve(self, config: ServeConfig, udp_fd: int, tcp_fd: int, netns_fd: int) -> None:
        """Serve a container over these sockets (see `Sockets`). The descriptors are taken over: closed here in any case."""
        raise NotImplementedError

    async def configure(self, config: ServeConfig) -> None:
        """Change how an already served container is served; its sockets stay."""
        raise NotImplementedError

    async def forget(self, container_id: str) -> None:
        """Stop serving a container, drop its endpoints and close its sockets. May be repeated."""
        raise NotImplementedError

    async def endpoint_up(self, endpoint: NamedEndpoint) -> None:
        """Make an endpoint's names known on its network; replaces what (container, network) had before (rename too)."""
        raise NotImplementedError

    async def endpoint_down(self, container_id: str, network_id: str) -> None:
        """Drop the names a container had on a network. May be repeated."""
        raise NotImplementedError

    async def serving(self) -> set[str]:
        """Ids of the containers the server holds sockets for."""
        raise NotImplementedError

    async def close(self) -> None:
        """Leave the server to itself: it goes on serving."""
        raise NotImplementedError

    async def quit(self) -> None:
        """End the server's process too, and close."""
        raise NotImplementedError
