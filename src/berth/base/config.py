"""The engine's settings: one frozen tree out of defaults < file < flags, checked whole. Pure but for reading the file.

The file has dockerd's names (daemon.json) for what is the same. An unknown key is an error that names the nearest
known one.
"""

import difflib
import ipaddress
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import msgspec

from berth.base.errors import InvalidArgument
from berth.base.paths import DEFAULT_DATA_ROOT, DEFAULT_EXEC_ROOT, Layout

DEFAULT_CONFIG_FILE: Final = Path("/etc/berth/daemon.json")
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
    #: Address with prefix length of the default bridge; empty: from the pools.
    bip: str = ""
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
    #: Registries reached without TLS, besides those on loopback.
    insecure_registries: tuple[str, ...] = ()
    #: Mirrors of the default registry.
    registry_mirrors: tuple[str, ...] = ()
    #: Seconds a container gets to stop when nothing else says.
    shutdown_timeout: int = 15
    #: Labels of the engine, ``key=value``, shown by info.
    labels: tuple[str, ...] = ()
    #: Whether containers keep running while the engine is down; they always do.
    live_restore: bool = True

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
    twice = sorted(key for key in flags if key in values)
    if twice:
        raise BadSetting(f"given both as a flag and in {wanted}: {', '.join(twice)}")
    try:
        config = msgspec.convert(values | dict(flags), Config)
    except msgspec.ValidationError as exc:
        raise BadSetting(f"{wanted}: {exc}") from None
    _check(config)
    return config


def _refuse_unknown(path: Path, values: Mapping[str, Any]) -> None:
    known = [field.encode_name for field in msgspec.structs.fields(Config)]
    wrong = []
    for key in values:
        if key not in known:
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
    if config.bip:
        try:
            ipaddress.ip_interface(config.bip)
        except ValueError as exc:
            raise BadSetting(f"bip: {exc}") from None
    for text in config.host_gateway_ips:
        try:
            ipaddress.ip_address(text)
        except ValueError as exc:
            raise BadSetting(f"host-gateway-ips: {exc}") from None
    for pool in config.default_address_pools:
        try:
            network = ipaddress.ip_network(pool.base)
        except ValueError as exc:
            raise BadSetting(f"default-address-pools: {exc}") from None
        if not network.prefixlen <= pool.size <= network.max_prefixlen - 2:
            raise BadSetting(f"default-address-pools: size {pool.size} does not fit {pool.base}")
