"""Parses ``--network`` in both forms, with the older flags beside it, into what the API wants. Pure."""

from __future__ import annotations

from berth.cli.errors import CommandFailed
from berth.cli.flags import Parsed, split_csv

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

#: Driver options of Berth's that the long form takes without ``driver-opt=``.
_OUR_OPTIONS = ("rate-in", "rate-out", "delay", "loss", "no-default-route")
_NOT_NETWORKS = ("", "default", "bridge", "host", "none")


def user_defined(mode: str) -> bool:
    """Whether a network mode names a network that a user made."""
    return mode not in _NOT_NETWORKS and not mode.startswith("container:")


def check_network(text: str) -> dict[str, Any]:
    """Parse one ``--network``; the long form is ``name=…,alias=…``.

    Raises:
        ValueError: In Docker's words.
    """
    if "=" not in text:
        return {"name": text}
    found: dict[str, Any] = {"name": ""}
    for field in split_csv(text):
        key, equals, value = field.partition("=")
        if not equals or not key.strip():
            raise ValueError(f"invalid field {field}")
        key, value = key.strip().lower(), value.strip()
        if key in ("name", "ip", "ip6", "mac-address"):
            found[key] = value
        elif key in ("alias", "link-local-ip"):
            found.setdefault(key, []).append(value)
        elif key == "driver-opt":
            name, equals, option = value.partition("=")
            if not equals:
                raise ValueError("invalid key value pair format in driver options")
            found.setdefault(key, {})[name.lower()] = option
        elif key in _OUR_OPTIONS:
            found.setdefault("driver-opt", {})[key] = value
        elif key == "gw-priority":
            try:
                found[key] = int(value)
            except ValueError:
                raise ValueError(f'invalid gw-priority: strconv.Atoi: parsing "{value}": invalid syntax') from None
        else:
            raise ValueError(f"invalid field key {key}")
    if not found["name"]:
        raise ValueError("network name/id is not specified")
    return found


#: key of the long form, the older flag, how the complaint about both calls it
_OLDER = (
    ("alias", "network-alias", "per-network alias"),
    ("links", "link", "per-network links"),
    ("ip", "ip", "per-network IPv4 address"),
    ("ip6", "ip6", "per-network IPv6 address"),
    ("mac-address", "mac-address", "per-network MAC address"),
    ("link-local-ip", "link-local-ip", "per-network link-local IP addresses"),
)


def endpoints(parsed: Parsed) -> tuple[str, dict[str, Any]]:
    """Return the network mode and the endpoint settings of each network.

    Raises:
        CommandFailed: Flags that contradict each other.
    """
    networks: list[dict[str, Any]] = [dict(network) for network in parsed.list("network")]
    mode = networks[0]["name"] if networks else "default"
    if not networks:
        networks = [{"name": "default"}]
    found: dict[str, Any] = {}
    user = own = False
    for index, network in enumerate(networks):
        name = network["name"]
        user = user or user_defined(name)
        own = own or not user_defined(name)
        if index == 0:
            _older_flags(network, parsed)
        settings = _settings(network)
        if name in found:
            raise CommandFailed(f'network "{name}" is specified multiple times', 125)
        if len(networks) > 1 or settings or not parsed.list("network"):
            found[name] = settings
    if len(networks) > 1 and user and own:
        raise CommandFailed(
            "conflicting options: cannot attach both user-defined and non-user-defined network-modes", 125
        )
    return mode, found


def _older_flags(network: dict[str, Any], parsed: Parsed) -> None:
    for key, flag, words in _OLDER:
        value = parsed.value(flag)
        if not value:
            continue
        if network.get(key):
            raise CommandFailed(f"conflicting options: cannot specify both --{flag} and {words}", 125)
        if key == "links" and not user_defined(network["name"]):
            continue  # on the default bridge a link is an entry in a hosts file, and part of HostConfig
        network[key] = value


def _settings(network: dict[str, Any]) -> dict[str, Any]:
    name = network["name"]
    if not name.strip():
        raise CommandFailed("no name set for network", 125)
    if not user_defined(name) and network.get("alias"):
        raise CommandFailed("network-scoped aliases are only supported for user-defined networks", 125)
    settings: dict[str, Any] = {}
    if network.get("alias"):
        settings["Aliases"] = network["alias"]
    if network.get("links"):
        settings["Links"] = network["links"]
    if network.get("driver-opt"):
        settings["DriverOpts"] = network["driver-opt"]
    if network.get("mac-address"):
        settings["MacAddress"] = network["mac-address"]
    if network.get("gw-priority"):
        settings["GwPriority"] = network["gw-priority"]
    addresses = {
        wire: network[key]
        for wire, key in (("IPv4Address", "ip"), ("IPv6Address", "ip6"), ("LinkLocalIPs", "link-local-ip"))
        if network.get(key)
    }
    if addresses:
        settings["IPAMConfig"] = addresses
    return settings
