"""What a network driver decides, and nothing else: a new driver is a module and a line in `registry`.

Drivers are pure: wanted + seen → record and steps. Addresses, names, ports, files and records are the services'.
Must not: know any driver.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple, Protocol

from berth.base.paths import Layout
from berth.networks.firewall.ruleset import BridgePolicy
from berth.networks.model import LiveEndpoint, NetworkRecord
from berth.plan.model import Plan
from berth.wire.networks import NetworkCreate


class SeenLink(NamedTuple):
    """A link of the host, as far as drivers ask."""

    kind: str
    alias: str
    #: CIDR texts.
    addresses: tuple[str, ...] = ()
    #: It takes packets for loopback addresses from others (``route_localnet``).
    leads_loopback: bool = False


#: The links that are there, of those a driver asked about.
Seen = Mapping[str, SeenLink]


class Way(Enum):
    """How a default route leads out through an attachment."""

    NONE = "none"
    #: Through the gateway of its subnet.
    GATEWAY = "gateway"
    #: By the link itself.
    LINK = "link"


@dataclass(frozen=True, slots=True, kw_only=True)
class Traits:
    """What an attachment to a driver's networks has."""

    #: A link of its own in the container's namespace, with addresses, and names on user networks.
    links: bool = True
    #: The near end of that link is here (`LiveEndpoint.host_link`): host ports can lead to it.
    near_end: bool = False
    #: The container has the host's own namespace.
    on_host: bool = False
    #: There is one network, made at first start; nobody makes others.
    single: bool = False
    #: A network may have several subnets of a family.
    many_subnets: bool = False
    #: A plugin makes the network and the links, and has the last word on addresses (`berth.networks.foreign`).
    foreign: bool = False


class NetworkDriver(Protocol):
    """One kind of networks."""

    @property
    def traits(self) -> Traits:
        """What attachments have."""
        ...

    def check(self, want: NetworkCreate) -> None:
        """Refuse options that this driver cannot have. Raises `BadOption` and other errors of networks."""
        ...

    def check_beside(self, record: NetworkRecord, others: Iterable[NetworkRecord]) -> None:
        """Refuse a network that cannot be beside the others."""
        ...

    def bridge(self, ident: str, options: Mapping[str, str]) -> str:
        """Return the name of the bridge a network has, empty for none."""
        ...

    def way(self, options: Mapping[str, str], *, internal: bool) -> Way:
        """Return how the default route leads out through attachments, if it does."""
        ...

    def own_mac(self, record: NetworkRecord) -> bool:
        """Tell whether an attachment has a MAC of its own, which may be asked for."""
        ...

    def looks_at(self, record: NetworkRecord) -> tuple[str, ...]:
        """Name the links of the host that the following need to know of."""
        ...

    def settled(self, layout: Layout, record: NetworkRecord, seen: Seen) -> NetworkRecord:
        """Return the record of a network about to be made, with what is only known now; or refuse it."""
        ...

    def plan_network(self, layout: Layout, record: NetworkRecord, seen: Seen) -> Plan:
        """Plan what the host needs for a network, but for what is there already; used at start too."""
        ...

    def owned_links(self, record: NetworkRecord) -> tuple[str, ...]:
        """Name the links of the host that are there for this network only, and go with it."""
        ...

    def plan_unmake(self, layout: Layout, record: NetworkRecord, others: Iterable[NetworkRecord]) -> Plan:
        """Plan the end of a network nobody is on, beside the others; bridges retired are deleted later."""
        ...

    def policy(self, record: NetworkRecord) -> BridgePolicy | None:
        """Return what the network's bridge may do, None for networks without one."""
        ...

    def link_prefix(self, record: NetworkRecord) -> str:
        """Return how links in containers are named, but for the number."""
        ...

    def plan_endpoint(
        self, record: NetworkRecord, namespace: str, end: LiveEndpoint, *, way_out: Collection[int], hairpin: bool
    ) -> Plan:
        """Plan a container's link. `way_out`: the IP versions whose default routes lead through it.

        `hairpin`: the container may meet its own published ports.
        """
        ...
