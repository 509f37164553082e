"""The use case "what is reached from where": asks records, and the kernel for who listens. Changes nothing."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from berth.base.aio import in_thread
from berth.kernel import listeners, netns
from berth.kernel.listeners import Listener
from berth.networks.model import LiveSandbox, Tenant
from berth.networks.options import GatewayMode, parse_bridge
from berth.networks.ports.exposure import Exposure, of_host_network, of_open_network, of_published
from berth.networks.register import Register
from berth.store.base import Records


class Exposed:
    """Tells every port by which containers are reached."""

    def __init__(self, tenants: Records[Tenant], live: Records[LiveSandbox], register: Register) -> None:
        self._tenants, self._live, self._register = tenants, live, register

    async def all(self, on_host: Mapping[str, Sequence[int]]) -> list[Exposure]:
        """Return them all; `on_host` are the processes of containers on the host's network, by container's name."""
        found = await in_thread(self._of_sandboxes)
        for name, pids in on_host.items():
            found += of_host_network(name, await in_thread(_listening, pids))
        return sorted(found, key=lambda one: (one.port, one.protocol, one.address, one.container))

    def _of_sandboxes(self) -> list[Exposure]:
        found = []
        for live in self._live.all():
            tenant = self._tenants.get(live.container_id)
            name = tenant.name if tenant else live.container_id[:12]
            found += of_published(name, live)
            for end in live.endpoints if live.netns_path and not live.shared_with else ():
                record = self._register.by_id(end.network_id)
                options = parse_bridge(record.options if record else {})
                if end.host_link and GatewayMode.UNPROTECTED in (options.mode(4), options.mode(6)):
                    found += of_open_network(name, end, options, netns.inside(live.netns_path, listeners.listening))
        return found


def _listening(pids: Sequence[int]) -> list[Listener]:
    """List what processes on the host's network listen to."""
    if not pids:
        return []
    there = listeners.listening(Path(f"/proc/{pids[0]}/net"))
    owned = listeners.owners({one.inode for one in there}, pids)
    return [one for one in there if one.inode in owned]
