"""The engine's settings: one frozen tree out of defaults < file < flags, checked whole. Pure but for reading the file.

The file has dockerd's names (daemon.json) for what is the same. An unknown key is an error that names the nearest
known one.
"""

import difflib
import ipaddress
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import msgspec

from berth.base.errors import InvalidArgument
from berth.base.paths import DEFAULT_DATA_ROOT, DEFAULT_EXEC_ROOT, Layout
from berth.base.units import BadDuration, parse_age_ns

DEFAULT_CONFIG_FILE: Final = Path("/etc/berth/daemon.json")
#: Name in place of a bridge's: there is no default network.
NO_BRIDGE: Final = "none"
LOG_LEVELS: Final = ("debug", "info", "warn", "error", "fatal")


class BadSetting(InvalidArgument):
    """A setting is unknown or has a bad value."""


class AddressPool(msgspec.Struct, frozen=True):
    """A range that networks without a subnet are cut from, each `size` bits long."""

    base: str
    size: int


class Config(msgspec.Struct, frozen=True, kw_only=True, rename="kebab", forbid_unknown_fields=True):
    """Settings, each with dockerd's name in kebab case."""

    #: Where to listen: ``unix:///path``, ``tcp://host:port`` or ``fd://`` (socket activation).
    hosts: tuple[str, ...] = ()
    #: What survives a reboot.
    data_root: str = str(DEFAULT_DATA_ROOT)
    #: What does not; on tmpfs.
    exec_root: str = str(DEFAULT_EXEC_ROOT)
    #: Group that may use the unix socket; empty leaves it to root.
    group: str = ""
    #: Least severity that is logged.
    log_level: str = "info"
    #: Where this engine writes its process id; empty: nowhere.
    pidfile: str = ""
    #: OCI runtime to use: ``crun``, ``runc`` or a path; empty: the first that works.
    default_runtime: str = ""
    #: Bridge of the host to use for the default network, ``none`` for no default network; empty: one of our own.
    bridge: str = ""
    #: Address with prefix length of the default bridge; empty: from the pools.
    bip: str = ""
    #: The same for IPv6.
    bip6: str = ""
    #: Range that containers on the default bridge get their addresses from; empty: the whole subnet.
    fixed_cidr: str = ""
    #: The same for IPv6.
    fixed_cidr_v6: str = ""
    #: Where the default route of containers on the default bridge leads; empty: to the bridge.
    default_gateway: str = ""
    #: The same for IPv6.
    default_gateway_v6: str = ""
    #: Whether the default bridge has IPv6.
    ipv6: bool = False
    #: Whether containers on the default bridge may talk to each other.
    icc: bool = True
    #: Address on which ports of containers on the default bridge are published when none is named.
    ip: str = "0.0.0.0"  # noqa: S104  Docker's default
    #: Whether what leaves the default bridge has the host's address.
    ip_masq: bool = True
    #: Whether the host is made to forward, without which nothing leaves a bridge.
    ip_forward: bool = True
    #: Whether ports published on IPv6 addresses reach containers without IPv6, by way of the proxy.
    userland_proxy: bool = True
    #: What dockerd can be told of its rules; ours are always made, in a table of nftables of our own.
    iptables: bool = True
    ip6tables: bool = True
    ip_forward_no_drop: bool = True
    firewall_backend: str = "nftables"
    #: Options of networks that do not name them, by driver.
    default_network_opts: dict[str, dict[str, str]] = {}
    #: Largest packet of container links, in bytes; 0: as the kernel has it (1500).
    mtu: int = 0
    #: Ranges for networks that name no subnet; empty: the built-in ones.
    default_address_pools: tuple[AddressPool, ...] = ()
    #: Whether published ports may be reached at containers' own addresses from outside, on every bridge network.
    allow_direct_routing: bool = False
    #: Name servers for containers that name none; empty: the host's.
    dns: tuple[str, ...] = ()
    #: Options of resolv.conf.
    dns_opts: tuple[str, ...] = ()
    #: Search domains of resolv.conf.
    dns_search: tuple[str, ...] = ()
    #: What ``host-gateway`` in ``--add-host`` stands for; empty: the host's addresses on the default bridge.
    host_gateway_ips: tuple[str, ...] = ()
    #: Whether containers on the default bridge have names and the name server, too (Docker's have not).
    default_bridge_names: bool = False
    #: Directories in which plugins' sockets are looked for, after this engine's own; Docker's place.
    plugin_socket_dirs: tuple[str, ...] = ("/run/docker/plugins",)
    #: Directories in which .spec and .json files say where plugins listen; Docker's places.
    plugin_file_dirs: tuple[str, ...] = ("/etc/docker/plugins", "/usr/lib/docker/plugins")
    #: Seconds a plugin may take for one answer.
    plugin_timeout: int = 60
    #: Seconds a file system of another machine, or of a process (FUSE), may take to answer before it counts as hanging.
    volume_timeout: int = 30
    #: Seconds a mount of such a file system may take; Docker gives volume plugins as much.
    mount_timeout: int = 120
    #: Registries reached without TLS, besides those on loopback.
    insecure_registries: tuple[str, ...] = ()
    #: Mirrors of the default registry.
    registry_mirrors: tuple[str, ...] = ()
    #: Seconds a container gets to stop when nothing else says.
    shutdown_timeout: int = 15
    #: Labels of the engine, ``key=value``, shown by info.
    labels: tuple[str, ...] = ()
    #: How long a removed volume that had a name is kept (``24h``, ``7d``), or ``off``.
    volume_trash: str = "24h"
    #: Whether containers keep running while the engine is down; they always do.
    live_restore: bool = True

    @property
    def volume_trash_ns(self) -> int:
        """Nanoseconds a removed volume is kept; 0: not at all."""
        return 0 if self.volume_trash == "off" else parse_age_ns(self.volume_trash)

    @property
    def layout(self) -> Layout:
        """The two roots."""
        return Layout(Path(self.data_root), Path(self.exec_root))

    @property
    def listen(self) -> tuple[str, ...]:
        """Where to listen, with the default filled in."""
        return self.hosts or (f"unix://{self.layout.socket}",)


def load(path: Path | None, flags: Mapping[str, Any]) -> Config:
    """Read the file (the default one may be missing), lay the flags over it, check the whole.

    Raises `BadSetting` naming every bad key.
    """
    values: dict[str, Any] = {}
    wanted = path or DEFAULT_CONFIG_FILE
    try:
        values = msgspec.json.decode(wanted.read_bytes(), type=dict[str, Any])
    except FileNotFoundError:
        if path is not None:
            raise BadSetting(f"configuration file {path} does not exist") from None
    except msgspec.DecodeError as exc:
        raise BadSetting(f"{wanted}: not a JSON object: {exc}") from None
    _refuse_unknown(wanted, values)
    _refuse_unknown(Path("command line"), flags)
    twice = sorted(key for key in flags if key in values)
    if twice:
        raise BadSetting(f"given both as a flag and in {wanted}: {', '.join(twice)}")
    try:
        config = msgspec.convert(values | dict(flags), Config)
    except msgspec.ValidationError as exc:
        raise BadSetting(f"{wanted}: {exc}") from None
    _check(config)
    # The table of mounts knows no symbolic links: what is mounted below one would never be found there.
    roots = {name: os.path.realpath(getattr(config, name)) for name in ("data_root", "exec_root")}
    return msgspec.structs.replace(config, **roots)


#: Settings of dockerd's networks for which there is nothing here → why.
_OF_DOCKERD: Final = {
    "userland-proxy-path": "one proxy of the engine's own serves all ports; userland-proxy=false does without it",
    "network-control-plane-mtu": "there is no swarm here",
    "bridge-accept-fwmark": "accept what carries a mark in the table berth-user, which is asked first",
}


def _refuse_unknown(path: Path, values: Mapping[str, Any]) -> None:
    known = [field.encode_name for field in msgspec.structs.fields(Config)]
    wrong = []
    for key in values:
        if key in _OF_DOCKERD:
            wrong.append(f"{key} is dockerd's: {_OF_DOCKERD[key]}")
        elif key not in known:
            near = difflib.get_close_matches(key, known, 1)
            wrong.append(f"unknown key {key!r}" + (f", did you mean {near[0]!r}?" if near else ""))
    if wrong:
        raise BadSetting(f"{path}: " + "; ".join(wrong))


def _check(config: Config) -> None:
    if config.log_level not in LOG_LEVELS:
        raise BadSetting(f"invalid log level {config.log_level!r}: one of {', '.join(LOG_LEVELS)}")
    for name, root in (("data-root", config.data_root), ("exec-root", config.exec_root)):
        if not Path(root).is_absolute():
            raise BadSetting(f"{name} must be an absolute path, not {root!r}")
    for name, seconds in (("volume-timeout", config.volume_timeout), ("mount-timeout", config.mount_timeout)):
        if seconds < 1:
            raise BadSetting(f"{name} must be at least one second, not {seconds}")
    try:
        if config.volume_trash_ns < 0:
            raise BadSetting(f"volume-trash: {config.volume_trash} is less than nothing")
    except BadDuration as exc:
        raise BadSetting(f"volume-trash: {exc}; a duration such as 24h or 7d, or off") from None
    if config.bridge and (config.bip or config.bip6):
        raise BadSetting("You specified -b & --bip, mutually exclusive options. Please specify only one")
    check_addresses(config)
    _check_rules(config)
    for text in config.host_gateway_ips:
        _parsed("host-gateway-ips", text, ipaddress.ip_address, 0)
    for pool in config.default_address_pools:
        try:
            network = ipaddress.ip_network(pool.base)
        except ValueError as exc:
            raise BadSetting(f"default-address-pools: {exc}") from None
        if not network.prefixlen <= pool.size <= network.max_prefixlen - 2:
            raise BadSetting(f"default-address-pools: size {pool.size} does not fit {pool.base}")


def _check_rules(config: Config) -> None:
    """Refuse what would be to do without rules: they are what keeps networks apart."""
    for name, is_on in (("iptables", config.iptables), ("ip6tables", config.ip6tables)):
        if not is_on:
            raise BadSetting(
                f"{name}=false: rules are not made by iptables here but in a table of nftables of the engine's own, "
                "which leaves everybody else's alone; containers would be neither reached nor kept apart without it"
            )
    if not config.ip_forward_no_drop:
        raise BadSetting("ip-forward-no-drop=false: the engine never says what becomes of others' forwarded packets")
    if config.firewall_backend != "nftables":
        raise BadSetting(f"firewall-backend {config.firewall_backend!r}: there is nftables only")


def check_addresses(config: Config) -> None:
    """Refuse settings of the default bridge that are no addresses, or do not go together."""
    for version, bip, fixed, gateway in (
        (4, config.bip, config.fixed_cidr, config.default_gateway),
        (6, config.bip6, config.fixed_cidr_v6, config.default_gateway_v6),
    ):
        suffix = "" if version == 4 else "-v6"
        names = ("bip" if version == 4 else "bip6", f"fixed-cidr{suffix}", f"default-gateway{suffix}")
        own = _parsed(names[0], bip, ipaddress.ip_interface, version)
        inner = _parsed(names[1], fixed, ipaddress.ip_network, version)
        way_out = _parsed(names[2], gateway, ipaddress.ip_address, version)
        subnet = own.network if own else inner
        if own and inner and not (inner.overlaps(own.network) and inner.prefixlen >= own.network.prefixlen):
            raise BadSetting(f"{names[1]}: {inner} is not within {own.network}, the subnet of {names[0]}")
        if subnet and way_out and way_out not in subnet:
            raise BadSetting(f"{names[2]}: {way_out} is not within {subnet}")
    _parsed("ip", config.ip, ipaddress.ip_address, 0)


def _parsed(name: str, text: str, parse: Callable[[str], Any], version: int) -> Any:  # noqa: ANN401  three kinds
    if not text:
        return None
    try:
        found = parse(text)
    except ValueError as exc:
        raise BadSetting(f"{name}: {exc}") from None
    if version and found.version != version:
        raise BadSetting(f"{name}: {text} is not IPv{version}")
    return found
