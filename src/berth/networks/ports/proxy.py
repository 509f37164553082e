"""The port proxy's process: one for all ports that the kernel's NAT cannot publish.

It holds the sockets, so host ports stay taken, and connections go on, while the daemon is away. Must not: choose ports.

    python -m berth.networks.ports.proxy --socket EXEC/proxy.sock
"""

import os
import socket
import sys
from collections.abc import Sequence
from ipaddress import ip_address
from typing import assert_never

from berth.networks.ports import proxy_control
from berth.networks.ports.proxy_control import Target
from berth.networks.ports.relay import TcpRelay, UdpRelay
from berth.networks.processes.control import Control
from berth.networks.processes.loop import Loop
from berth.networks.processes.packets import Answer, Reply, page
from berth.networks.processes.run import run


class Held:
    """One socket, and the relay behind it if there is a target."""

    def __init__(self, loop: Loop, fd: int, target: Target | None, before: "Held | None") -> None:
        self.relay: TcpRelay | UdpRelay | None = None
        if target is None:
            self.sock = socket.socket(fileno=fd)
            return
        ip_address(target.address)  # ValueError for a name: connecting would look it up, and wait
        self.sock = socket.socket(fileno=fd)
        if self.sock.type == socket.SOCK_STREAM:
            old = before.relay if before is not None and isinstance(before.relay, TcpRelay) else None
            self.relay = TcpRelay(loop, self.sock, target, before=old)
            if before is not None and old is not None:
                before.relay = None
        else:
            self.relay = UdpRelay(loop, self.sock, target)

    def close(self) -> None:
        """Close the socket and end its connections."""
        if self.relay is not None:
            self.relay.close()
        self.sock.close()


class Proxy:
    """The held sockets by key; does what the daemon asks for."""

    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self._held: dict[str, Held] = {}

    def decode(self, packet: bytes) -> proxy_control.Request:
        """Read a request."""
        return proxy_control.decode(packet)

    def fds_with(self, request: proxy_control.Request) -> int:
        """How many descriptors come with it."""
        return 1 if isinstance(request, proxy_control.Hold) else 0

    def idle(self) -> bool:
        """Tell whether nothing is held."""
        return not self._held

    def perform(self, request: proxy_control.Request, fds: Sequence[int], by: Control[proxy_control.Request]) -> Answer:
        """Do what is asked for."""
        del by
        match request:
            case proxy_control.Hold(key=key, target=target):
                before = self._held.get(key)
                self._held[key] = Held(self._loop, fds[0], target, before)
                if before is not None:
                    before.close()
            case proxy_control.Release(key=key):
                if (old := self._held.pop(key, None)) is not None:
                    old.close()
            case proxy_control.Fetch(key=key):
                if key not in self._held:
                    raise ValueError(f"{key} is not held")
                return Answer(Reply(request.seq), (os.dup(self._held[key].sock.fileno()),))
            case proxy_control.Holding(after=after):
                return Answer(Reply(request.seq, ids=page(list(self._held), after)))
            case proxy_control.Quit():
                self._loop.stop()
            case _:
                assert_never(request)
        return Answer(Reply(request.seq))


def main(argv: Sequence[str] | None = None) -> int:
    """Run the process; returns its exit status."""
    return run("berth-proxy", "Passes on what comes in on published ports.", Proxy, argv)


if __name__ == "__main__":
    sys.exit(main())
