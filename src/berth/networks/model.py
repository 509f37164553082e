"""What networks store and hand out: records, and the names they have in the kernel. Pure.

Must not: touch the kernel or know how records are kept.
"""

from typing import Final

import msgspec

from berth.base.paths import Layout
from berth.wire.networks import EndpointSettings, PortMap

#: Names that exist from the first start and cannot be made or removed.
PREDEFINED: Final = ("bridge", "host", "none")
#: Name of the network a container gets when it names none.
DEFAULT: Final = "bridge"

#: Gateways that mean: by the link itself, whoever is behind it.
BY_LINK4: Final = "0.0.0.0"  # noqa: S104  not an address to listen on
BY_LINK6: Final = "::"

#: Address management of the engine itself.
OWN_IPAM: Final = "default"

#: IFNAMSIZ - 1 (linux/if.h).
MAX_LINK_NAME: Final = 15


class Pool(msgspec.Struct, frozen=True):
    """One subnet of a network; texts are canonical CIDR or addresses."""

    subnet: str
    gateway: str = ""
    ip_range: str = ""
    #: Name and address, kept out of allocation.
    auxiliary: tuple[tuple[str, str], ...] = ()
    #: Whether a user named the subnet: only then may addresses be asked for (on user networks always).
    given: bool = False
    #: What a plugin that manages addresses calls it, and the address space it is of; else empty.
    pool_id: str = ""
    space: str = ""


class NetworkRecord(msgspec.Struct, frozen=True):
    """A network, durable."""

    id: str
    name: str
    driver: str
    created_ns: int = 0
    scope: str = "local"
    enable_ipv4: bool = True
    enable_ipv6: bool = False
    internal: bool = False
    attachable: bool = False
    ingress: bool = False
    config_only: bool = False
    config_from: str = ""
    ipam_driver: str = "default"
    ipam_options: dict[str, str] | None = None
    #: What was asked for, printed again for config-only networks.
    pools: tuple[Pool, ...] = ()
    options: dict[str, str] = {}
    labels: dict[str, str] = {}
    #: Name of the bridge link, empty for drivers without one.
    bridge: str = ""
    #: The bridge was there before us: never delete it.
    adopted_bridge: bool = False
    #: Such a bridge led packets for loopback addresses before we had it do so.
    led_loopback: bool = False
    #: Addresses that we have put on such a bridge, CIDR texts: they go with the network.
    lent_addresses: tuple[str, ...] = ()
    #: Links of the host that were made for it, beside a bridge: its parent, a shim.
    made_links: tuple[str, ...] = ()

    @property
    def is_predefined(self) -> bool:
        """Whether the network is one of bridge, host, none."""
        return self.name in PREDEFINED


class Tenant(msgspec.Struct, frozen=True):
    """What a container wants of networks; durable, one per container, keyed by its id."""

    container_id: str
    name: str
    hostname: str = ""
    domainname: str = ""
    #: ``HostConfig.NetworkMode``: default, bridge, host, none, ``container:<id>`` or a network.
    mode: str = "default"
    #: Name of the container that `mode` names by id, for when that one is made anew.
    joins: str = ""
    #: By network name as Docker prints it; may be empty, then `mode` names the only one.
    endpoints: dict[str, EndpointSettings] = {}
    port_bindings: PortMap = {}
    publish_all_ports: bool = False
    #: ``80/tcp`` → the only subnets that may use what is published of it.
    publish_from: dict[str, tuple[str, ...]] = {}
    #: ``"80/tcp"``: of image, ``--expose`` and ``-p`` together.
    exposed_ports: tuple[str, ...] = ()
    dns: tuple[str, ...] = ()
    dns_options: tuple[str, ...] = ()
    dns_search: tuple[str, ...] = ()
    extra_hosts: tuple[str, ...] = ()
    links: tuple[str, ...] = ()
    mac_address: str = ""
    sysctls: dict[str, str] = {}


class Linked(msgspec.Struct, frozen=True):
    """A container that another is linked to on the default network (``--link``), as it is when the other starts."""

    alias: str
    container_id: str
    address: str
    #: ``"80/tcp"``
    exposed_ports: tuple[str, ...] = ()


class Sandbox(msgspec.Struct, frozen=True):
    """What a container's start needs of its networks."""

    #: Path of the pinned namespace; None = the host's own.
    netns_path: str | None
    #: Target inside the container → file on the host: ``/etc/hosts``, ``/etc/resolv.conf``, ``/etc/hostname``.
    files: dict[str, str] = {}
    links: tuple[Linked, ...] = ()


class Published(msgspec.Struct, frozen=True, order=True):
    """One port published in fact."""

    protocol: str
    container_port: int
    host_ip: str
    host_port: int
    #: The only subnets that may use it; empty for everybody.
    sources: tuple[str, ...] = ()


class Shape(msgspec.Struct, frozen=True):
    """Limits of an attachment, all zero for none; in is what the container receives, out what it sends."""

    #: Bytes a second.
    rate_in: int = 0
    rate_out: int = 0
    #: How long every packet it sends waits, microseconds.
    delay_us: int = 0
    #: Of a million packets it sends, how many are lost.
    loss_ppm: int = 0


NO_LIMITS: Final = Shape()


class Lease(msgspec.Struct, frozen=True):
    """An address on loan from a DHCP server, and what it takes to keep it."""

    address: str
    prefix: int
    router: str
    server: str
    #: Hexadecimal: whom to send to.
    server_mac: str
    #: Hexadecimal: what the server knows the container by.
    client_id: str
    hostname: str
    obtained_ns: int
    #: How long it lasts, when to ask its server to keep it, when to ask any (T1, T2); zero for ever.
    seconds: int
    renewal: int
    rebinding: int

    @property
    def ends_ns(self) -> int:
        """When it ends, nanoseconds since the epoch; 0 for never."""
        return self.obtained_ns + self.seconds * 1_000_000_000 if self.seconds else 0


class LiveEndpoint(msgspec.Struct, frozen=True):
    """A container's attachment to one network, as it is in the kernel; gone at reboot."""

    network_id: str
    network_name: str
    endpoint_id: str
    host_link: str = ""
    #: Name inside the container.
    link: str = ""
    mac: str = ""
    ipv4: str = ""
    prefix4: int = 0
    gateway4: str = ""
    ipv6: str = ""
    prefix6: int = 0
    gateway6: str = ""
    gw_priority: int = 0
    #: Where the IPv4 address comes from, if from a DHCP server.
    lease: Lease | None = None
    #: The default route never leads through it.
    no_default_route: bool = False
    #: Further addresses, CIDR texts.
    link_local: tuple[str, ...] = ()
    shape: Shape = NO_LIMITS
    #: What the link was called on the host before it was moved in; empty for links of our own.
    source: str = ""
    #: Routes a plugin asked for: prefix, and gateway or nothing.
    routes: tuple[tuple[str, str], ...] = ()
    #: A plugin is being asked; nothing is in the namespace yet.
    pending: bool = False

    def gateway(self, version: int) -> str:
        """Return where the default route of an IP version leads, empty for nowhere."""
        return self.gateway4 if version == 4 else self.gateway6


class LiveSandbox(msgspec.Struct, frozen=True):
    """A running container's namespace, attachments and published ports; gone at reboot."""

    container_id: str
    sandbox_id: str
    #: Pinned namespace, empty for the host's.
    netns_path: str = ""
    #: In the order they were attached.
    endpoints: tuple[LiveEndpoint, ...] = ()
    published: tuple[Published, ...] = ()
    #: Whether the name server holds sockets in the namespace.
    has_dns: bool = False
    #: An attachment is about to come, go or change: set before the kernel is asked, taken back with the new record.
    changing: bool = False
    #: Attachments that are being taken away: shown no more, and gone at the latest when an engine starts.
    leaving: tuple[LiveEndpoint, ...] = ()
    #: Container whose namespace this one shares, and its name: one made anew under it may take its place.
    shared_with: str = ""
    shared_name: str = ""

    def on(self, network_id: str) -> LiveEndpoint | None:
        """Return the attachment to a network."""
        return next((end for end in self.endpoints if end.network_id == network_id), None)


class LastHeld(msgspec.Struct, frozen=True):
    """The addresses a container had when it ended, by network id, to be given again; gone at reboot."""

    container_id: str
    addresses: dict[str, tuple[str, ...]]


def bridge_name(network_id: str) -> str:
    """Name the bridge link of a network, as Docker does."""
    return f"br-{network_id[:12]}"


def veth_name(layout: Layout, endpoint_id: str) -> str:
    """Name the host side of a container link."""
    return (layout.veth_prefix + endpoint_id)[: len(layout.veth_prefix) + 8]


def alias_mark(layout: Layout) -> str:
    """Start of the ifalias of every bridge this engine made: how it knows its own."""
    return f"berth{layout.instance}:network:"


def retired_group(layout: Layout) -> int:
    """Number of the link group in which this engine's links wait to be deleted."""
    return 0x6265_0000 | int(layout.instance or "0", 16)
