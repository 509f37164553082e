"""Who a process runs as: ``User`` of a container against the image's passwd and group files. Pure."""

from dataclasses import dataclass
from typing import Final

from berth.base.errors import InvalidArgument

#: Highest user and group number (moby, opencontainers/runc libcontainer/user: 1<<31 - 1).
MAX_ID: Final = 2**31 - 1


class NoSuchUser(InvalidArgument):
    """The image's passwd file does not know the user."""

    def __init__(self, name: str) -> None:
        super().__init__(f"unable to find user {name}: no matching entries in passwd file")


class NoSuchGroup(InvalidArgument):
    """The image's group file does not know the group."""

    def __init__(self, name: str) -> None:
        super().__init__(f"unable to find group {name}: no matching entries in group file")


class IdOutOfRange(InvalidArgument):
    """A number is no user or group."""

    def __init__(self) -> None:
        super().__init__(f"uids and gids must be in range 0-{MAX_ID}")


@dataclass(frozen=True)
class Identity:
    """Numbers a process starts with, and its home directory."""

    uid: int = 0
    gid: int = 0
    additional_gids: tuple[int, ...] = ()
    home: str = "/"


def identity(user: str, group_add: tuple[str, ...], passwd: str, group: str) -> Identity:
    """Resolve ``user[:group]``, names or numbers; groups of a user by name come along unless a group is given."""
    wanted, colon, wanted_group = user.partition(":")
    entries = [fields for line in passwd.splitlines() if len(fields := line.split(":")) >= 6]
    groups = [fields for line in group.splitlines() if len(fields := line.split(":")) >= 3]
    uid, gid, home, name = _user(wanted or "0", entries)
    additional: list[int] = []
    if colon and wanted_group:
        gid = _group(wanted_group, groups)
    elif name:
        members = (fields for fields in groups if len(fields) > 3 and name in fields[3].split(","))
        additional = [int(fields[2]) for fields in members if fields[2].isdecimal()]
    extra = [_group(one, groups) for one in group_add]
    return Identity(uid, gid, tuple(dict.fromkeys((*additional, *extra))), home)


def _user(wanted: str, entries: list[list[str]]) -> tuple[int, int, str, str]:
    for fields in entries:
        if (fields[0] == wanted or fields[2] == wanted) and fields[2].isdecimal() and fields[3].isdecimal():
            return int(fields[2]), int(fields[3]), fields[5] or "/", fields[0]
    if not _is_number(wanted):
        raise NoSuchUser(wanted)
    return _number(wanted), 0, "/", ""


def _group(wanted: str, groups: list[list[str]]) -> int:
    for fields in groups:
        if fields[0] == wanted and fields[2].isdecimal():
            return int(fields[2])
    if not _is_number(wanted):
        raise NoSuchGroup(wanted)
    return _number(wanted)


def _is_number(text: str) -> bool:
    return text.removeprefix("-").isdecimal() and text.isascii()


def _number(text: str) -> int:
    value = int(text)
    if not 0 <= value <= MAX_ID:
        raise IdOutOfRange
    return value
