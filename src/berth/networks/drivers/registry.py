"""The table of network drivers. Must not: decide anything about networks."""

from collections.abc import Mapping
from typing import Final

from berth.networks.drivers.base import NetworkDriver
from berth.networks.drivers.bridge import Bridge
from berth.networks.drivers.host import Host
from berth.networks.drivers.ipvlan import Ipvlan
from berth.networks.drivers.macvlan import Macvlan
from berth.networks.drivers.none import Null
from berth.networks.drivers.remote import Remote
from berth.networks.model import NetworkRecord

DRIVERS: Final[Mapping[str, NetworkDriver]] = {
    "bridge": Bridge(),
    "host": Host(),
    "ipvlan": Ipvlan(),
    "macvlan": Macvlan(),
    "null": Null(),
}


#: What a driver is that is none of these: whether there is such a plugin is seen when it is asked.
REMOTE: Final = Remote()


def driver_named(name: str) -> NetworkDriver:
    """Return a driver by the name users give it; any name unknown here is a plugin's."""
    return DRIVERS.get(name, REMOTE)


def driver_of(record: NetworkRecord) -> NetworkDriver:
    """Return a network's driver."""
    return driver_named(record.driver)
