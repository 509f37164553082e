"""``berthd``: read the settings, take the lock, wire, adopt what runs, serve, end cleanly.

A clean end leaves containers running, as a kill does.
"""

import argparse
import asyncio
import contextlib
import errno
import fcntl
import gc
import logging
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from berth import VERSION
from berth.base import log as logs
from berth.base.config import Config, load
from berth.base.errors import EngineError, SystemFault
from berth.base.paths import Layout
from berth.daemon import room
from berth.daemon.lifecycle import serve
from berth.kernel import nft
from berth.kernel.lowfiles import open_as_many_as_may_be

log = logging.getLogger(__name__)

#: Flags that are settings of the same name: text ones, and ones that may be repeated.
_TEXT: Final = (
    "data-root", "exec-root", "group", "log-level", "pidfile", "default-runtime", "bridge", "bip", "bip6", "fixed-cidr",
    "fixed-cidr-v6", "default-gateway", "default-gateway-v6", "ip", "volume-trash",
)  # fmt: skip
#: Flags that are on or off; ``--icc=false``, as Docker writes it.
_SWITCHES: Final = (
    "ipv6", "icc", "ip-masq", "allow-direct-routing", "ip-forward", "userland-proxy", "iptables", "ip6tables",
    "ip-forward-no-drop",
)  # fmt: skip
#: Flags of dockerd's that are read to say why there is nothing for them here.
_OF_DOCKERD: Final = ("userland-proxy-path", "network-control-plane-mtu", "bridge-accept-fwmark", "firewall-backend")
_REPEATED: Final = (
    "dns", "dns-opt", "dns-search", "host-gateway-ip", "insecure-registry", "registry-mirror", "label",
)  # fmt: skip
_PLURAL: Final = {
    "dns": "dns",
    "dns-opt": "dns-opts",
    "dns-search": "dns-search",
    "host-gateway-ip": "host-gateway-ips",
    "insecure-registry": "insecure-registries",
    "registry-mirror": "registry-mirrors",
    "label": "labels",
}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="berthd", description="The Berth container engine.")
    parser.add_argument("-H", "--host", action="append", help="unix:///path, tcp://host:port or fd:// (repeatable)")
    parser.add_argument("--config-file", type=Path, help="settings as JSON (default /etc/berth/daemon.json)")
    parser.add_argument("-D", "--debug", action="store_true", help="same as --log-level debug")
    parser.add_argument("-p", dest="pidfile", help=argparse.SUPPRESS)
    parser.add_argument("-g", dest="group_short", help=argparse.SUPPRESS)
    parser.add_argument("-l", dest="log_level", help=argparse.SUPPRESS)
    parser.add_argument("-v", "--version", action="version", version=f"Berth version {VERSION}")
    parser.add_argument("--validate", action="store_true", help="check the settings and end")
    parser.add_argument("--mtu", type=int, help="MTU of container links, in bytes")
    helps = {
        "data-root": "what survives a reboot (default /var/lib/berth)",
        "exec-root": "what does not; on tmpfs (default /run/berth)",
        "group": "group that may use the unix socket",
        "log-level": "debug, info, warn, error or fatal",
        "pidfile": "where to write the process id",
        "default-runtime": "crun, runc or a path (default: the first that works here)",
        "bridge": "bridge of the host to use for the default network, or none for no default network",
        "bip": "address of the default bridge, with prefix length",
        "bip6": "its IPv6 address",
        "fixed-cidr": "range that containers on the default bridge get addresses from",
        "fixed-cidr-v6": "the same for IPv6",
        "default-gateway": "where the default route of containers on the default bridge leads",
        "default-gateway-v6": "the same for IPv6",
        "ip": "address on which ports are published when none is named (default 0.0.0.0)",
        "volume-trash": "how long a removed volume is kept, or off (default 24h)",
        "ipv6": "let the default bridge have IPv6",
        "icc": "let containers on the default bridge talk to each other (default true)",
        "ip-masq": "let what leaves the default bridge have the host's address (default true)",
        "allow-direct-routing": "let published ports be reached at containers' own addresses from outside",
        "ip-forward": "let the engine make the host forward (default true)",
        "userland-proxy": "let the proxy pass on what rules cannot (default true)",
        "iptables": argparse.SUPPRESS,
        "ip6tables": argparse.SUPPRESS,
        "ip-forward-no-drop": argparse.SUPPRESS,
        "dns": "name server for containers",
        "dns-opt": "resolver option for containers",
        "dns-search": "search domain for containers",
        "host-gateway-ip": "address that host-gateway in --add-host stands for",
        "insecure-registry": "registry reached without TLS",
        "registry-mirror": "mirror of the default registry",
        "label": "label of the engine, key=value",
    }
    for name in _TEXT:
        parser.add_argument(*(["-b"] if name == "bridge" else []), f"--{name}", help=helps[name])
    for name in _OF_DOCKERD:
        parser.add_argument(f"--{name}", help=argparse.SUPPRESS)
    for name in _REPEATED:
        parser.add_argument(f"--{name}", action="append", help=helps[name])
    for name in _SWITCHES:
        parser.add_argument(f"--{name}", type=_switch, nargs="?", const=True, metavar="BOOL", help=helps[name])
    pools = "range for networks without a subnet: base=10.0.0.0/8,size=24 (repeatable)"
    parser.add_argument("--default-address-pool", action="append", type=_pool, help=pools)
    options = "option of networks that do not name it: driver=option=value (repeatable)"
    parser.add_argument("--default-network-opt", action="append", type=_network_option, help=options)
    return parser


def _switch(text: str) -> bool:
    """Read a word as Docker's client does (Go's strconv.ParseBool)."""
    word = text.lower()
    if word not in ("1", "t", "true", "0", "f", "false"):
        raise argparse.ArgumentTypeError(f"{text!r} is neither true nor false")
    return word in ("1", "t", "true")


def _pool(text: str) -> dict[str, Any]:
    found = dict(one.partition("=")[::2] for one in text.split(","))
    if set(found) != {"base", "size"} or not found["size"].isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not base=SUBNET,size=BITS")
    return {"base": found["base"], "size": int(found["size"])}


def _network_option(text: str) -> tuple[str, str, str]:
    driver, _, rest = text.partition("=")
    option, equals, value = rest.partition("=")
    if not (driver and option and equals):
        raise argparse.ArgumentTypeError(f"{text!r} is not driver=option=value")
    return driver, option, value


def settings(argv: Sequence[str]) -> Config:
    """Turn a command line into checked settings. Raises `BadSetting`."""
    args = vars(_parser().parse_args(argv))
    flags: dict[str, Any] = {}
    for name in (*_TEXT, *_OF_DOCKERD):
        value = args[name.replace("-", "_")]
        if value is not None:
            flags[name] = value
    for name in _REPEATED:
        value = args[name.replace("-", "_")]
        if value is not None:
            flags[_PLURAL[name]] = value
    for name in _SWITCHES:
        value = args[name.replace("-", "_")]
        if value is not None:
            flags[name] = value
    if args["default_address_pool"]:
        flags["default-address-pools"] = args["default_address_pool"]
    for driver, option, value in args["default_network_opt"] or ():
        flags.setdefault("default-network-opts", {}).setdefault(driver, {})[option] = value
    if args["mtu"] is not None:
        flags["mtu"] = args["mtu"]
    if args["host"]:
        flags["hosts"] = args["host"]
    if args["debug"]:
        flags["log-level"] = "debug"
    config = load(args["config_file"], flags)
    if args["validate"]:
        sys.stdout.write("configuration OK\n")
        raise SystemExit(0)
    return config


def _lock_file(root: Path) -> int:
    """Make a state directory, and open the file in it that is locked."""
    try:
        root.mkdir(parents=True, exist_ok=True, mode=0o711)
        return os.open(root / "berthd.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as exc:
        if exc.errno in (errno.ENOSPC, errno.EDQUOT):
            raise  # told with who is full
        why = "is no directory" if isinstance(exc, FileExistsError | NotADirectoryError) else str(exc.strerror).lower()
        raise SystemExit(
            f"berthd: {root} cannot be used: {why}; choose others with --data-root and --exec-root"
        ) from None


@contextlib.contextmanager
def _sole_user(layout: Layout) -> Any:  # noqa: ANN401  a context manager of nothing
    """Hold a lock on the state directories: two engines on one would undo each other's work."""
    fd, data = _lock_file(layout.exec_root), _lock_file(layout.data_root)
    try:
        for one, root in ((fd, layout.exec_root), (data, layout.data_root)):
            try:
                fcntl.flock(one, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise SystemExit(f"berthd: {root} is in use by another berthd; stop it or choose other roots") from None
        room.check(layout)
        os.ftruncate(fd, 0)
        os.write(fd, f"{os.getpid()}\n".encode())
        yield
    finally:
        os.close(fd)
        os.close(data)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the daemon until SIGTERM or SIGINT; the exit status."""
    try:
        config = settings(sys.argv[1:] if argv is None else argv)
    except EngineError as exc:
        sys.stderr.write(f"berthd: {exc}\n")
        return 1
    if os.geteuid() != 0:
        sys.stderr.write("berthd: needs root for namespaces, mounts and links; start it with sudo\n")
        return 1
    logs.set_up(config.log_level)
    os.umask(0o022)
    open_as_many_as_may_be()  # each running container needs some
    nft.low_files()
    try:
        _run(config)
    except EngineError as exc:
        log.error("cannot start: %s", room.explained(exc, config.layout) or exc)  # noqa: TRY400  an expected end needs no stack
        return 1
    except Exception as exc:  # a border: of what nobody foresaw the stack is told
        told = room.explained(exc, config.layout)
        if told is None:
            raise
        log.error("cannot start: %s", told)  # noqa: TRY400
        return 1
    return 0


def _run(config: Config) -> None:
    with _sole_user(config.layout):
        try:
            if config.pidfile:
                _note_pid(Path(config.pidfile))
            _loop_policy()
            asyncio.run(_until_told(config))
        finally:
            if config.pidfile:
                Path(config.pidfile).unlink(missing_ok=True)


def _note_pid(file: Path) -> None:
    try:
        file.write_text(f"{os.getpid()}\n", encoding="ascii")
    except OSError as exc:
        named = OSError(exc.errno, exc.strerror, str(file))  # a write that fails does not say of what
        raise SystemFault(f"cannot write the process id to {file}: {exc.strerror}") from named


def _loop_policy() -> None:
    try:
        import uvloop
    except ImportError:
        return  # a dependency, but the engine is whole without it
    uvloop.install()


async def _until_told(config: Config) -> None:
    told = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, told.set)
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    # Start-up objects live as long as the process: keep the collector from walking them at each full pass.
    gc.collect()
    gc.freeze()
    await serve(config, told)


if __name__ == "__main__":
    raise SystemExit(main())
