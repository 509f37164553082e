"""The name server's process: one epoll loop over every container's sockets and a control socket.

Started by the daemon and outlives it. It ends when told to, or when it serves nothing and nobody is connected for a
while. Must not: import asyncio or anything else that names do not need.

    python -m berth.networks.dns.server --socket EXEC/dns.sock
"""

import sys
import time
from collections.abc import Sequence
from typing import assert_never

from berth.base.clock import SystemClock
from berth.networks.dns import control, report
from berth.networks.dns.model import Sockets
from berth.networks.dns.realms import Realms
from berth.networks.dns.served import Served
from berth.networks.dns.table import View
from berth.networks.dns.views import Views
from berth.networks.processes.control import Control
from berth.networks.processes.loop import Loop
from berth.networks.processes.packets import Answer, Reply, page
from berth.networks.processes.run import run

_By = Control[control.Request]


class Server:
    """Tables and served containers; does what the daemon asks for."""

    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self._views = Views()
        self._realms = Realms()
        self._clock = SystemClock()
        self._served: dict[str, Served] = {}
        #: By network: who has derived something from its table since it last changed.
        self._lookers: dict[str, set[Served]] = {}

    def decode(self, packet: bytes) -> control.Request:
        """Read a request."""
        return control.decode(packet)

    def fds_with(self, request: control.Request) -> int:
        """How many descriptors come with it."""
        return control.FDS if isinstance(request, control.Serve) else 0

    def idle(self) -> bool:
        """Tell whether nothing is served."""
        return not self._served

    def perform(self, request: control.Request, fds: Sequence[int], by: _By) -> Answer:
        """Do what is asked for. A connection that has begun a description changes that, not what askers see."""
        views = by.staged if isinstance(by.staged, Views) else self._views
        match request:
            case control.Serve(config=config):
                served = Served(self._loop, config, Sockets(*fds), self._realms, self._look)
                self._close_served(config.container_id)
                self._served[config.container_id] = served
                views.configs[config.container_id] = config
            case control.Configure(config=config):
                views.configs[config.container_id] = config
                if views is self._views and (known := self._served.get(config.container_id)) is not None:
                    known.config = config
                    known.stale()
            case control.Forget(container_id=ident):
                self._changed(views.networks_of(ident))
                views.forget(ident)
                self._close_served(ident)
            case control.Up(endpoint=endpoint):
                views.up(endpoint)
                self._changed((endpoint.network_id,), endpoint.container_id)
            case control.Down(container_id=ident, network_id=network_id):
                views.down(ident, network_id)
                self._changed((network_id,), ident)
            case control.Serving(after=after):
                return Answer(Reply(request.seq, ids=page(list(self._served), after)))
            case control.Recent() | control.Numbers() | control.Servers():
                return Answer(Reply(request.seq, body=self._told(request)))
            case control.Begin():
                by.staged = Views()
            case control.Commit():
                if isinstance(by.staged, Views):
                    self._swap(by.staged)
                by.staged = None
            case control.Quit():
                self._loop.stop()
            case _:
                assert_never(request)
        return Answer(Reply(request.seq))

    def _told(self, request: control.Recent | control.Numbers | control.Servers) -> object:
        """Make what somebody wants to see."""
        match request:
            case control.Recent(container_id=ident, after=number):
                known = self._served.get(ident)
                offset_s = self._clock.now_ns() / 1e9 - time.monotonic()
                return report.asked(known.ledger, number, offset_s) if known else ()
            case control.Numbers(after=after):
                chosen = sorted(ident for ident in self._served if ident > after)[: report.SUMS_A_PAGE]
                return tuple(report.sums(ident, self._served[ident].ledger) for ident in chosen)
            case control.Servers():
                return report.outside(self._realms.all())

    def _look(self, served: Served) -> View:
        served.looked_at = self._views.networks_of(served.container_id)
        for network_id in served.looked_at:
            self._lookers.setdefault(network_id, set()).add(served)
        return self._views.view(served.container_id)

    def _changed(self, network_ids: Sequence[str], container_id: str = "") -> None:
        """Let those that looked at these networks look again, and the container whose own set of networks changed."""
        for network_id in network_ids:
            for served in self._lookers.pop(network_id, ()):
                served.stale()
        if (own := self._served.get(container_id)) is not None:
            own.stale()

    def _swap(self, views: Views) -> None:
        self._views = views
        self._lookers.clear()
        for ident in set(self._served) - set(views.configs):
            self._close_served(ident)
        for ident, served in self._served.items():
            served.config = views.configs[ident]
            served.stale()

    def _close_served(self, container_id: str) -> None:
        served = self._served.pop(container_id, None)
        if served is not None:
            served.close()
            for network_id in served.looked_at:
                self._lookers.get(network_id, set()).discard(served)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the process; returns its exit status."""
    return run("berth-dns", "Answers names inside containers.", Server, argv)


if __name__ == "__main__":
    sys.exit(main())
