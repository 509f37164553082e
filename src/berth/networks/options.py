"""Driver options of a bridge network: text → typed, checked values. Pure."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from ipaddress import ip_address
from typing import Final, NamedTuple

from berth.networks.errors import BadOption
from berth.networks.model import MAX_LINK_NAME

BRIDGE_NAME: Final = "com.docker.network.bridge.name"
MASQUERADE: Final = "com.docker.network.bridge.enable_ip_masquerade"
ICC: Final = "com.docker.network.bridge.enable_icc"
HOST_BINDING: Final = "com.docker.network.bridge.host_binding_ipv4"
DEFAULT_BRIDGE: Final = "com.docker.network.bridge.default_bridge"
INHIBIT_IPV4: Final = "com.docker.network.bridge.inhibit_ipv4"
GATEWAY_MODES: Final = {
    4: "com.docker.network.bridge.gateway_mode_ipv4",
    6: "com.docker.network.bridge.gateway_mode_ipv6",
}
TRUSTED: Final = "com.docker.network.bridge.trusted_host_interfaces"
MTU: Final = "com.docker.network.driver.mtu"
LINK_PREFIX: Final = "com.docker.network.container_iface_prefix"
HOST_SOURCES: Final = {4: "com.docker.network.host_ipv4", 6: "com.docker.network.host_ipv6"}
#: The flags ``--ipv4`` and ``--ipv6`` as options, so that a daemon's defaults can set them.
ENABLE: Final = {4: "com.docker.network.enable_ipv4", 6: "com.docker.network.enable_ipv6"}
#: Ours: name servers for a network's containers that name none themselves, separated by commas.
NAME_SERVERS: Final = "berth.network.dns"
#: How often, and after how many milliseconds again, neighbours are told of a container that has just come.
ADVERTISE_COUNT: Final = "com.docker.network.advertise_addr_nmsgs"
ADVERTISE_MS: Final = "com.docker.network.advertise_addr_ms"
#: Ours: bytes of the largest TCP segment that links of the network carry whole, by IPv4; the kernel's word for it.
SEGMENT: Final = "berth.network.gso_max_size"
#: What every link carries (linux/netdevice.h, GSO_LEGACY_MAX_SIZE), and the most that any can (GSO_MAX_SIZE).
PLAIN_SEGMENT: Final = 65_536
MOST_SEGMENT: Final = 524_280
ENDPOINT_LINK: Final = "com.docker.network.endpoint.ifname"

#: What a link's name may not hold: dev_valid_name in net/core/dev.c, ``%``, which numbers names there (``br%d`` makes
#: br0), and ``"``, which no name in a rule can have.
NO_LINK_NAME: Final = re.compile(r'[\s/:%"]|\A\.{1,2}\Z|\Alo\Z|\Aall\Z|\Adefault\Z')


def is_link_name(name: str) -> bool:
    """Tell whether a link can have a name; none is one that the kernel makes up."""
    return len(name.encode()) <= MAX_LINK_NAME and not NO_LINK_NAME.search(name)


#: Names of auxiliary addresses that are containers' way out instead of the bridge.
DEFAULT_GATEWAYS: Final = {4: "DefaultGatewayIPv4", 6: "DefaultGatewayIPv6"}

#: Go's strconv.ParseBool.
BOOLEANS: Final = {
    "1": True, "t": True, "T": True, "true": True, "TRUE": True, "True": True,
    "0": False, "f": False, "F": False, "false": False, "FALSE": False, "False": False,
}  # fmt: skip


class Advertisements(NamedTuple):
    """How often neighbours are told of a new address, and the time between in milliseconds; Docker's defaults."""

    times: int = 3
    interval_ms: int = 1000


class GatewayMode(Enum):
    """How a network's containers and the world outside meet, one for each family."""

    NAT = "nat"
    #: Unpublished ports may be reached as well.
    UNPROTECTED = "nat-unprotected"
    #: Containers' own addresses are used outside; published ports may be reached there.
    ROUTED = "routed"
    #: Not even the host has an address there.
    ISOLATED = "isolated"


@dataclass(frozen=True, slots=True, kw_only=True)
class BridgeOptions:
    """Options of a bridge network, with Docker's defaults."""

    name: str = ""
    masquerade: bool = True
    icc: bool = True
    #: Default address of published ports, of either family.
    host_binding: str = "0.0.0.0"  # noqa: S104  Docker's default, and what clients rely on
    inhibit_ipv4: bool = False
    mode4: GatewayMode = GatewayMode.NAT
    mode6: GatewayMode = GatewayMode.NAT
    #: Links of the host from which published ports may be reached at containers' own addresses.
    trusted: tuple[str, ...] = ()
    #: 0 = the kernel's.
    mtu: int = 0
    link_prefix: str = "eth"
    #: Fixed addresses for what leaves, empty for the outgoing link's.
    source4: str = ""
    source6: str = ""
    #: Forms of the flags; None = not given.
    enable_ipv4: bool | None = None
    enable_ipv6: bool | None = None
    #: Ours, see `NAME_SERVERS`.
    name_servers: tuple[str, ...] = ()
    #: Ours, see `SEGMENT`; 0 = not given.
    segment: int = 0

    def mode(self, version: int) -> GatewayMode:
        """Return the gateway mode of an IP version."""
        return self.mode4 if version == 4 else self.mode6


def parse_bridge(options: Mapping[str, str]) -> BridgeOptions:
    """Read a bridge network's options; unknown ones are ignored, as Docker does. Raises `BadOption`."""
    name = options.get(BRIDGE_NAME, "")
    # of the loopback interface is said, as by Docker, what it is not
    if name != "lo" and not is_link_name(name):
        raise BadOption(
            f"invalid bridge name {name!r}: a link's name has 1 to {MAX_LINK_NAME} bytes, no space, slash, colon, "
            "percent sign or quotation mark"
        )
    return BridgeOptions(
        name=name,
        masquerade=parse_boolean(options, MASQUERADE, default=True),
        icc=parse_boolean(options, ICC, default=True),
        host_binding=_address(options, HOST_BINDING) or "0.0.0.0",  # noqa: S104
        inhibit_ipv4=parse_boolean(options, INHIBIT_IPV4, default=False),
        mode4=_gateway_mode(options, 4),
        mode6=_gateway_mode(options, 6),
        trusted=_trusted(options),
        mtu=_mtu(options),
        link_prefix=_link_prefix(options),
        source4=_address(options, HOST_SOURCES[4], 4),
        source6=_address(options, HOST_SOURCES[6], 6),
        enable_ipv4=parse_boolean(options, ENABLE[4], default=True) if ENABLE[4] in options else None,
        enable_ipv6=parse_boolean(options, ENABLE[6], default=False) if ENABLE[6] in options else None,
        name_servers=name_servers(options),
        segment=_whole(options, SEGMENT, 0, (PLAIN_SEGMENT, MOST_SEGMENT), "a number of bytes"),
    )


def advertisements(options: Mapping[str, str]) -> Advertisements:
    """Return how neighbours are told of a network's new addresses, of whatever driver. Raises `BadOption`."""
    usual = Advertisements()
    return Advertisements(
        _whole(options, ADVERTISE_COUNT, usual.times, (0, 3), "an integer"),
        _whole(options, ADVERTISE_MS, usual.interval_ms, (100, 2000), "integer milliseconds"),
    )


def _whole(options: Mapping[str, str], key: str, default: int, span: tuple[int, int], kind: str) -> int:
    text = options.get(key)
    if text is None:
        return default
    try:
        value = int(text)
    except ValueError:
        raise BadOption(f'value for option {key} "{text}" must be {kind}') from None
    if not span[0] <= value <= span[1]:
        raise BadOption(f"{key} must be in the range {span[0]} to {span[1]}")
    return value


def name_servers(options: Mapping[str, str]) -> tuple[str, ...]:
    """Return the name servers of a network's own. Raises `BadOption`."""
    found = tuple(text.strip() for text in options.get(NAME_SERVERS, "").split(",") if text.strip())
    for text in found:
        try:
            ip_address(text)
        except ValueError:
            raise BadOption(f"failed to parse {NAME_SERVERS} value: {text} (invalid address)") from None
    return found


def parse_boolean(options: Mapping[str, str], key: str, *, default: bool) -> bool:
    """Read a yes or no as Go does. Raises `BadOption`."""
    text = options.get(key)
    if text is None:
        return default
    if text not in BOOLEANS:
        raise BadOption(f'failed to parse {key} value: {text} (strconv.ParseBool: parsing "{text}": invalid syntax)')
    return BOOLEANS[text]


def _mtu(options: Mapping[str, str]) -> int:
    text = options.get(MTU, "")
    if not text:
        return 0
    try:
        mtu = int(text)
    except ValueError:
        raise BadOption(
            f'failed to parse {MTU} value: {text} (strconv.Atoi: parsing "{text}": invalid syntax)'
        ) from None
    if mtu < 0 or mtu > 65_535:
        raise BadOption(f"invalid MTU number: {mtu}")
    return mtu


def _address(options: Mapping[str, str], key: str, version: int = 0) -> str:
    text = options.get(key, "")
    if not text:
        return ""
    try:
        found = ip_address(text)
    except ValueError:
        raise BadOption(f"failed to parse {key} value: {text} (nil ip)") from None
    if version and found.version != version:
        raise BadOption(f"failed to parse {key} value: {text} (not an IPv{version} address)")
    return str(found)


def _gateway_mode(options: Mapping[str, str], version: int) -> GatewayMode:
    key = GATEWAY_MODES[version]
    text = options.get(key)
    if text is None:
        return GatewayMode.NAT
    try:
        return GatewayMode(text)
    except ValueError:
        raise BadOption(f"failed to parse {key} value: {text} (unknown gateway mode {text})") from None


def _trusted(options: Mapping[str, str]) -> tuple[str, ...]:
    found = tuple(one for one in options.get(TRUSTED, "").split(":") if one)
    for name in found:
        if not is_link_name(name):
            raise BadOption(f"failed to parse {TRUSTED} value: {name!r} is no link's name")
    return found


def _link_prefix(options: Mapping[str, str]) -> str:
    prefix = options.get(LINK_PREFIX, "") or "eth"
    if not is_link_name(f"{prefix}000"):
        raise BadOption(f"failed to parse {LINK_PREFIX} value: {prefix} (no start of a link's name)")
    return prefix
