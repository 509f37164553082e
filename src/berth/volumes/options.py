"""The local driver's options and names, checked. Pure."""

import re
from collections.abc import Mapping
from typing import Final

import msgspec

from berth.base.errors import InvalidArgument
from berth.base.filesystems import may_hang
from berth.base.names import is_restricted_name
from berth.base.ownership import NOBODY_SAID, Owner
from berth.base.units import parse_bytes
from berth.volumes.errors import BadOption, NameInvalid, NameTooLong, NameTooShort

#: Options of mount(8) whose value is a password (mount.cifs(8)).
_SECRET: Final = ("password", "pass", "password2")
#: Longest name of a directory entry, in bytes (linux/limits.h, NAME_MAX).
NAME_MAX: Final = 255
_KNOWN: Final = ("type", "o", "device", "size", "size-mode", "size-fs", "reserve", "uid", "gid", "mode")
#: How a size is kept: by whatever can, by quotas of the file system below, by a file with a file system.
SIZE_MODES: Final = ("auto", "quota", "image")
#: File systems that a file of ours may have; empty: chosen by what is installed.
SIZE_SYSTEMS: Final = ("", "ext4", "xfs")
#: Least size of XFS, in bytes (mkfs.xfs(8)).
XFS_LEAST: Final = 300 << 20
#: One more than the greatest user or group number that means one (chown(2)).
_IDS: Final = (1 << 32) - 1


class LocalOptions(msgspec.Struct, frozen=True):
    """What the local driver was told; an empty `type` means a plain directory."""

    type: str = ""
    o: str = ""
    device: str = ""
    #: Greatest size in bytes; 0: none.
    size: int = 0
    size_mode: str = "auto"
    size_fs: str = ""
    #: The disk keeps room for all of a file with a file system, from the start.
    reserve: bool = False
    owner: Owner = NOBODY_SAID

    @property
    def wants_mount(self) -> bool:
        """Whether something is to be mounted at the volume's directory."""
        return bool(self.device)

    @property
    def networked(self) -> bool:
        """Whether the data is on another machine."""
        return may_hang(self.type)


#: ``//server:445/share``, also of an IPv6 address.
_SHARE_WITH_PORT: Final = re.compile(r"(\w+:)?//(\[[^]]*\]|[^/:]*):\d+(/|$)")
#: Of a volume without options: most are.
_PLAIN: Final = LocalOptions()


def check_name(name: str) -> None:
    """Raise `NameTooShort` or `NameInvalid` unless `name` can name a volume."""
    if len(name) == 1:
        raise NameTooShort(name)
    if not is_restricted_name(name):
        raise NameInvalid(name)
    if len(name) > NAME_MAX:
        raise NameTooLong(name, NAME_MAX)


def parse_local(name: str, options: Mapping[str, str]) -> LocalOptions:
    """Check the options of volume `name`. Raises `BadOption`."""
    if not options:
        return _PLAIN
    for key in options:
        if key not in _KNOWN:
            raise BadOption(name, f'invalid option: "{key}"')
    kind, o, device = (options.get(key, "") for key in ("type", "o", "device"))
    # Docker's order: the device is missed before the type, and "o" alone asks for both.
    if (kind or o) and not device:
        raise BadOption(name, 'missing required option: "device"')
    if device and not kind:
        raise BadOption(name, 'missing required option: "type"')
    if "\0" in kind + o + device:
        raise BadOption(name, "options contain a NUL character")
    size = _size(name, options)
    owner = _owner(name, options)
    if device and owner != NOBODY_SAID:
        raise BadOption(name, '"uid", "gid" and "mode" are for volumes without a device; a tmpfs takes them in "o"')
    if device and size:
        raise BadOption(name, '"size" is for volumes without a device; a tmpfs takes its size in "o": o=size=…')
    mode, system = options.get("size-mode", "auto"), options.get("size-fs", "")
    if mode not in SIZE_MODES:
        raise BadOption(name, f'invalid option: "size-mode" is one of {", ".join(SIZE_MODES)}, not "{mode}"')
    if system not in SIZE_SYSTEMS:
        raise BadOption(name, f'invalid option: "size-fs" is one of {", ".join(SIZE_SYSTEMS[1:])}, not "{system}"')
    if system == "xfs" and size < XFS_LEAST:
        raise BadOption(name, f"a file system of type xfs needs a size of {XFS_LEAST >> 20}m at least")
    reserve = _reserve(name, options, mode)
    return LocalOptions(kind, o, device, size, "image" if reserve else mode, system, reserve, owner)


def check_local(name: str, options: Mapping[str, str]) -> None:
    """Check the options of a new volume; some that are on record would not be taken any more. Raises `BadOption`."""
    if options.get("type") == "cifs" and _SHARE_WITH_PORT.match(options.get("device", "")):
        raise BadOption(name, "port not allowed in CIFS device URL, include 'port' in 'o='")
    parse_local(name, options)


def _size(name: str, options: Mapping[str, str]) -> int:
    if "size" not in options:
        for key in ("size-mode", "size-fs", "reserve"):
            if key in options:
                raise BadOption(name, 'missing required option: "size"')
        return 0
    try:
        return parse_bytes(options["size"])
    except InvalidArgument as exc:
        raise BadOption(name, str(exc)) from None


def _reserve(name: str, options: Mapping[str, str], mode: str) -> bool:
    text = options.get("reserve", "false")
    if text not in ("true", "false"):
        raise BadOption(name, f'invalid option: "reserve" is true or false, not "{text}"')
    if text == "true" and mode == "quota":
        raise BadOption(name, '"reserve" is for a file with a file system: a quota keeps no room free')
    return text == "true"


def _owner(name: str, options: Mapping[str, str]) -> Owner:
    numbers: list[int | None] = []
    for key, base, end in (("uid", 10, _IDS), ("gid", 10, _IDS), ("mode", 8, 0o10000)):
        text = options.get(key)
        if text is None:
            numbers.append(None)
            continue
        try:
            number = int(text, base) if text.isdecimal() else -1
        except ValueError:
            number = -1
        if not 0 <= number < end:
            kind = "an octal mode" if key == "mode" else "a number"
            raise BadOption(name, f'invalid option: "{key}" must be {kind}, not "{text}"')
        numbers.append(number)
    return Owner(*numbers)


#: Options of mount(8) that mount(2) takes as flags: name → (bit, whether it sets it). linux/mount.h
FLAGS: Final[Mapping[str, tuple[int, bool]]] = {
    "defaults": (0, True),
    "ro": (0x1, True), "rw": (0x1, False),
    "nosuid": (0x2, True), "suid": (0x2, False),
    "nodev": (0x4, True), "dev": (0x4, False),
    "noexec": (0x8, True), "exec": (0x8, False),
    "sync": (0x10, True), "async": (0x10, False),
    "remount": (0x20, True),
    "mand": (0x40, True), "nomand": (0x40, False),
    "dirsync": (0x80, True),
    "noatime": (0x400, True), "atime": (0x400, False),
    "nodiratime": (0x800, True), "diratime": (0x800, False),
    "bind": (0x1000, True), "rbind": (0x1000 | 0x4000, True),
    "unbindable": (0x20000, True), "runbindable": (0x20000 | 0x4000, True),
    "private": (0x40000, True), "rprivate": (0x40000 | 0x4000, True),
    "slave": (0x80000, True), "rslave": (0x80000 | 0x4000, True),
    "shared": (0x100000, True), "rshared": (0x100000 | 0x4000, True),
    "relatime": (0x200000, True), "norelatime": (0x200000, False),
    "strictatime": (0x1000000, True), "nostrictatime": (0x1000000, False),
}  # fmt: skip


def split_mount_options(o: str) -> tuple[int, str]:
    """Split an ``o=`` text into mount(2)'s flags and its data string."""
    flags, data = 0, []
    for word in o.split(","):
        if word in FLAGS:
            bit, sets = FLAGS[word]
            flags = flags | bit if sets else flags & ~bit
        elif word:
            data.append(word)
    return flags, ",".join(data)


def read_only(options: LocalOptions) -> bool:
    """Tell whether a volume is mounted read-only."""
    return bool(split_mount_options(options.o)[0] & FLAGS["ro"][0])


def masked(data: str) -> str:
    """Hide a password in mount data before it goes into a message."""
    return ",".join(_masked(word) for word in data.split(","))


def _masked(word: str) -> str:
    key, equals, _ = word.partition("=")
    return f"{key}=********" if equals and key in _SECRET else word
