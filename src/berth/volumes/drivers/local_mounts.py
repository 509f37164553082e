"""The local driver's mounts: which calls of mount(2) its options ask for. Pure."""

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
    if address:
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


def server_name(options: LocalOptions) -> str:
    """Return the host in ``addr=`` of a mount from another machine; empty if there is none."""
    match = _ADDRESS.search(options.o) if options.networked else None
    return match[1] if match else ""


def failed_text(options: LocalOptions, target: str, reason: str) -> str:
    """Say that a mount failed, in Docker's words, without its password."""
    flags, data = split_mount_options(options.o)
    said = f"failed to mount local volume: mount {options.device}:{target}"
    if flags:
        said += f", flags: 0x{flags:x}"
    if data:
        said += f", data: {masked(data)}"
    return f"{said}: {reason}"
