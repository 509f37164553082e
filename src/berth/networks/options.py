"""Driver options of a bridge network: text → typed, checked values. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import AddressValueError, IPv4Address
from typing import Final

from berth.networks.errors import BadOption
from berth.networks.model import MAX_LINK_NAME

BRIDGE_NAME: Final = "com.docker.network.bridge.name"
MASQUERADE: Final = "com.docker.network.bridge.enable_ip_masquerade"
ICC: Final = "com.docker.network.bridge.enable_icc"
HOST_BINDING: Final = "com.docker.network.bridge.host_binding_ipv4"
DEFAULT_BRIDGE: Final = "com.docker.network.bridge.default_bridge"
INHIBIT_IPV4: Final = "com.docker.network.bridge.inhibit_ipv4"
GATEWAY_MODE: Final = "com.docker.network.bridge.gateway_mode_ipv4"
MTU: Final = "com.docker.network.driver.mtu"
LINK_PREFIX: Final = "com.docker.network.container_iface_prefix"
HOST_IPV4: Final = "com.docker.network.host_ipv4"
ENDPOINT_LINK: Final = "com.docker.network.endpoint.ifname"

#: What Docker accepts of `gateway_mode_ipv4`.
GATEWAY_MODES: Final = ("nat", "nat-unprotected", "routed", "isolated")

#: Go's strconv.ParseBool.
_BOOLEANS: Final = {
    "1": True, "t": True, "T": True, "true": True, "TRUE": True, "True": True,
    "0": False, "f": False, "F": False, "false": False, "FALSE": False, "False": False,
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class BridgeOptions:
    """Options of a bridge network, with Docker's defaults."""

    name: str = ""
    masquerade: bool = True
    icc: bool = True
    #: Default address of published ports.
    host_binding: str = "0.0.0.0"  # noqa: S104  Docker's default, and what clients rely on
    inhibit_ipv4: bool = False
    gateway_mode: str = "nat"
    #: 0 = the kernel's.
    mtu: int = 0
    link_prefix: str = "eth"
    host_ipv4: str = ""


def parse_bridge(options: Mapping[str, str]) -> BridgeOptions:
    """Read a bridge network's options; unknown ones are ignored, as Docker does. Raises `BadOption`."""
    name = options.get(BRIDGE_NAME, "")
    if len(name) > MAX_LINK_NAME or "/" in name or any(char.isspace() for char in name) or name in (".", ".."):
        raise BadOption(
            f"invalid bridge name {name!r}: a link's name has 1 to {MAX_LINK_NAME} characters, no slash or space"
        )
    return BridgeOptions(
        name=name,
        masquerade=_boolean(options, MASQUERADE, default=True),
        icc=_boolean(options, ICC, default=True),
        host_binding=_address(options, HOST_BINDING) or "0.0.0.0",  # noqa: S104
        inhibit_ipv4=_boolean(options, INHIBIT_IPV4, default=False),
        gateway_mode=_gateway_mode(options),
        mtu=_mtu(options),
        link_prefix=_link_prefix(options),
        host_ipv4=_address(options, HOST_IPV4),
    )


def _boolean(options: Mapping[str, str], key: str, *, default: bool) -> bool:
    text = options.get(key)
    if text is None:
        return default
    if text not in _BOOLEANS:
        raise BadOption(f'failed to parse {key} value: {text} (strconv.ParseBool: parsing "{text}": invalid syntax)')
    return _BOOLEANS[text]


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


def _address(options: Mapping[str, str], key: str) -> str:
    text = options.get(key, "")
    if not text:
        return ""
    try:
        return str(IPv4Address(text))
    except AddressValueError:
        raise BadOption(f"failed to parse {key} value: {text} (invalid IPv4 address)") from None


def _gateway_mode(options: Mapping[str, str]) -> str:
    mode = options.get(GATEWAY_MODE, "") or "nat"
    if mode not in GATEWAY_MODES:
        raise BadOption(f"failed to parse {GATEWAY_MODE} value: {mode} (unknown gateway mode {mode})")
    return mode


def _link_prefix(options: Mapping[str, str]) -> str:
    prefix = options.get(LINK_PREFIX, "") or "eth"
    if len(prefix) > MAX_LINK_NAME - 3 or "/" in prefix or any(char.isspace() for char in prefix):
        raise BadOption(f"failed to parse {LINK_PREFIX} value: {prefix} (no start of a link's name)")
    return prefix
