"""The table of address managements. Must not: decide anything about networks."""

from collections.abc import Mapping
from typing import Final

from berth.networks.ipam.base import Ipam
from berth.networks.ipam.dhcp.pools import DHCP, DhcpPools
from berth.networks.ipam.none import Null
from berth.networks.ipam.remote import Remote
from berth.networks.model import OWN_IPAM
from berth.plugins.rpc import Plugins

#: Those that are there without a plugin, besides the engine's own.
IPAMS: Final[Mapping[str, Ipam]] = {DHCP: DhcpPools(), "null": Null()}


def foreign_ipam(name: str, plugins: Plugins) -> Ipam | None:
    """Return an address management by name; None for the engine's own. A plugin is not looked for yet."""
    if name in ("", OWN_IPAM):
        return None
    return IPAMS.get(name) or Remote(plugins, name)
