"""Looks after name servers outside, every few seconds: the host's may change, any may die.

Must not: judge servers (the name server does) or know how names are answered.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Final

from berth.base.aio import in_thread
from berth.events.bus import Bus
from berth.events.model import Event
from berth.networks.dns.client import DnsClient
from berth.networks.host_servers import host_resolv_conf
from berth.networks.hosts_files import ResolvConf

log = logging.getLogger(__name__)

#: Seconds between two looks.
LOOK_S: Final = 5.0


class ServerWatch:
    """`follow_host` makes running containers ask the host's present servers."""

    def __init__(self, dns: DnsClient | None, bus: Bus, follow_host: Callable[[], Awaitable[None]]) -> None:
        self._dns = dns
        self._bus = bus
        self._follow_host = follow_host
        self._dead: set[str] = set()
        self._host: ResolvConf | None = None

    async def watch(self) -> None:
        """Look for as long as the engine runs."""
        while True:
            await self.look()
            await asyncio.sleep(LOOK_S)

    async def look(self) -> None:
        """Follow the host's servers; tell, once, that a server died or came back."""
        before, self._host = self._host, await in_thread(host_resolv_conf)
        if before is not None and before.servers != self._host.servers:
            log.info("the host's name servers are %s now; containers follow", ", ".join(self._host.servers) or "none")
            await self._follow_host()
        if self._dns is None or not self._dns.has_work:
            return
        servers = {one.address: one for one in await self._dns.servers()}
        dead = {address for address, one in servers.items() if one.dead_in}
        for address in sorted(dead - self._dead):
            self._tell("name-server-down", address, servers[address].why)
        for address in sorted((self._dead - dead) & set(servers)):
            self._tell("name-server-up", address, "")
        self._dead = dead

    def _tell(self, action: str, address: str, reason: str) -> None:
        attributes = {"name": address} | ({"reason": reason} if reason else {})
        self._bus.publish(Event(type="daemon", action=action, actor_id=address, attributes=attributes))
