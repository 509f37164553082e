"""Who a process in a container is: names and numbers, by the image's own passwd and group files. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from berth.base.errors import SystemFault

#: Highest user and group id that Linux tells from "none" (uapi/linux/uidgid, and runc's own limit).
_MAX_ID: Final = 2**31 - 1


class NoSuchUser(SystemFault):
    """The image's passwd file has no such name."""

    def __init__(self, name: str) -> None:
        super().__init__(f"unable to find user {name}: no matching entries in passwd file")


class NoSuchGroup(SystemFault):
    """The image's group file has no such name."""

    def __init__(self, name: str) -> None:
        super().__init__(f"unable to find group {name}: no matching entries in group file")


@dataclass(frozen=True)
class Identity:
    """User, group, groups held besides, and the home directory."""

    uid: int = 0
    gid: int = 0
    groups: tuple[int, ...] = ()
    home: str = "/"


def resolve(wanted: str, passwd: str, group: str, extra: Sequence[str] = ()) -> Identity:
    """Find out who `wanted` is; `extra` are further groups, names or numbers.

    A number need not be in the files. Without a group the user's own and all that list him apply. The group itself is
    always among `groups`: a process that drops its group by setgid keeps what that group is denied (CVE-2022-36109).
    Raises `NoSuchUser`, `NoSuchGroup`.
    """
    user, _, wanted_group = wanted.partition(":")
    user = user or "0"
    entry = next((row for row in _rows(passwd, 7) if row[0] == user), None)
    if entry is None and _is_id(user):
        entry = next((row for row in _rows(passwd, 7) if row[2] == user), None)
    if entry is not None:
        name, uid, gid, home = entry[0], int(entry[2]), int(entry[3]), entry[5] or "/"
    elif _is_id(user):
        name, uid, gid, home = "", int(user), 0, "/"
    else:
        raise NoSuchUser(user)
    groups: list[int] = []
    if wanted_group:
        gid = _group(wanted_group, group)
    elif name:
        groups = [int(row[2]) for row in _rows(group, 4) if name in row[3].split(",")]
    groups = [gid, *groups, *(_group(one, group) for one in extra)]
    return Identity(uid, gid, tuple(dict.fromkeys(groups)), home)


def _group(wanted: str, group: str) -> int:
    for row in _rows(group, 4):
        if row[0] == wanted:
            return int(row[2])
    if _is_id(wanted):
        return int(wanted)
    raise NoSuchGroup(wanted)


def _rows(text: str, count: int) -> list[list[str]]:
    rows = []
    for line in text.splitlines():
        row = line.strip().split(":")
        row += [""] * (count - len(row))
        if row[0] and not row[0].startswith("#") and row[2].isdecimal() and (count == 4 or row[3].isdecimal()):
            rows.append(row)
    return rows


def _is_id(text: str) -> bool:
    return text.isascii() and text.isdecimal() and int(text) <= _MAX_ID
