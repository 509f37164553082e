"""The local driver's mounts: which calls of mount(2) its options ask for. Pure."""

import errno
import os
import re
from typing import Final, NamedTuple

from berth.volumes.options import LocalOptions, masked, split_mount_options

_MS_RDONLY: Final = 0x1
_MS_REMOUNT: Final = 0x20
_MS_BIND: Final = 0x1000
_MS_REC: Final = 0x4000
_PROPAGATION: Final = 0x20000 | 0x40000 | 0x80000 | 0x100000
#: What a bind mount only takes in a second call.
_BIND_SETTINGS: Final = 0x1 | 0x2 | 0x4 | 0x8 | 0x400 | 0x800 | 0x200000 | 0x1000000
#: Types that name their server in the device, as ``//host/share``.
_SHARES: Final = ("cifs", "smb3", "smbfs")
_SHARE: Final = re.compile(r"(?://|\\\\)([^/\\]+)")
_OWN_ADDRESS: Final = re.compile(r"(?:^|,)ip=")
#: TCP ports of servers (RFC 7530, section 3.1; RFC 1002 and Microsoft's direct hosting of SMB).
_PORTS: Final = {"nfs": 2049, "nfs4": 2049, "cifs": 445, "smb3": 445}
_ADDRESS: Final = re.compile(r"(?:^|,)addr=([^,]*)")


class MountCall(NamedTuple):
    """The arguments of one mount(2)."""

    source: str
    target: str
    fstype: str
    flags: int
    data: str


def mount_calls(options: LocalOptions, target: str, address: str = "") -> tuple[MountCall, ...]:
    """Return the calls that mount a volume at `target`; `address` stands in for the host name in ``addr=``."""
    flags, data = split_mount_options(options.o)
    if wants_loop(options):
        data = ",".join(word for word in data.split(",") if word != "loop")
    if address and not _ADDRESS.search(data):
        data = f"{data},ip={address}" if data else f"ip={address}"
    elif address:
        data = _ADDRESS.sub(lambda match: match[0].replace(f"addr={match[1]}", f"addr={address}"), data)
    propagation = flags & _PROPAGATION
    recursive = flags & _MS_REC
    flags &= ~_PROPAGATION
    if propagation and not flags & _MS_BIND:
        flags &= ~_MS_REC
    calls = [MountCall(options.device, target, options.type, flags, data)]
    if flags & _MS_BIND and flags & _BIND_SETTINGS:
        calls.append(MountCall("", target, "", _MS_REMOUNT | _MS_BIND | flags & _BIND_SETTINGS, ""))
    if propagation:
        calls.append(MountCall("", target, "", propagation | recursive, ""))
    return tuple(calls)


def wants_loop(options: LocalOptions) -> bool:
    """Tell whether the device is a file that needs a loop device (``o=loop``)."""
    return "loop" in options.o.split(",")


def server_name(options: LocalOptions) -> str:
    """Return the host of a mount from another machine: of ``addr=``, for CIFS else of the share; empty if none."""
    if not options.networked:
        return ""
    match = _ADDRESS.search(options.o)
    if match is None and options.type in _SHARES and not _OWN_ADDRESS.search(options.o):
        match = _SHARE.match(options.device)
    return match[1] if match else ""


def tcp_port(options: LocalOptions) -> int:
    """Return the TCP port the server of a mount must answer on; 0 if that cannot be said."""
    words = dict(word.partition("=")[::2] for word in options.o.split(","))
    if words.get("proto", "tcp") not in ("tcp", "tcp6") or "udp" in words or options.type not in _PORTS:
        return 0
    stated = words.get("port", "")
    if options.type == "nfs" and (words.get("vers") or words.get("nfsvers") or "4").startswith(("2", "3")):
        return 0  # older versions ask a port mapper
    return int(stated) if stated.isdecimal() and int(stated) else _PORTS[options.type]


def explained(options: LocalOptions, reason: str) -> str:
    """Add to the kernel's word for a refused mount what it means here."""
    if reason == os.strerror(errno.ENODEV).lower() and options.type == "none":
        return f"{reason}: to mount the directory {options.device}, add bind to o= (o=bind)"
    if reason == os.strerror(errno.ENOENT).lower() and not options.networked:
        return f"{reason}: is {options.device} there?{_remedy(options)}"
    if reason == os.strerror(errno.ENODEV).lower():
        return f"{reason}: this machine's kernel has no file system {options.type!r}; try: modprobe {options.type}"
    if reason == os.strerror(errno.ENOTBLK).lower():
        return f"{reason}: {options.device} is no block device; if it is a file with a file system, add loop to o="
    return reason


def _remedy(options: LocalOptions) -> str:
    if options.type != "none":
        return ""
    if not options.device.startswith("/"):
        return " A directory is named by its absolute path"
    return f" A directory is made with: mkdir -p {options.device}"


def failed_text(options: LocalOptions, target: str, reason: str) -> str:
    """Say that a mount failed, in Docker's words, without its password."""
    flags, data = split_mount_options(options.o)
    said = f"failed to mount local volume: mount {options.device}:{target}"
    if flags:
        said += f", flags: 0x{flags:x}"
    if data:
        said += f", data: {masked(data)}"
    return f"{said}: {reason}"
