"""Whose the files of a mount are: given to the container's user (``:U``), or seen as his (`IDMapping`).

A directory the machine itself lives on is given to nobody. Must not: touch a source; a process of its own does.
"""

import os
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Final, Protocol

from berth.base.aio import in_thread
from berth.base.errors import InvalidArgument
from berth.kernel import owners
from berth.kernel.files import write_atomically
from berth.volumes.mounts.away import Limits
from berth.volumes.mounts.model import MountPoint, MountType, OciMount
from berth.volumes.mounts.pins import Pins
from berth.volumes.mounts.prepare import Away

#: Directories that are the system's with all that is in them.
_WHOLE: Final = (
    "/bin", "/boot", "/dev", "/etc", "/lib", "/lib32", "/lib64", "/libx32", "/proc", "/sbin", "/sys", "/usr",
)  # fmt: skip
#: Directories that are the system's, while what is in them may be anybody's.
_TOP: Final = frozenset({
    "/", "/home", "/media", "/mnt", "/opt", "/root", "/run", "/srv", "/tmp", "/var", "/var/cache", "/var/lib",  # noqa: S108
    "/var/log", "/var/run", "/var/spool", "/var/tmp",  # noqa: S108
})  # fmt: skip
#: File in a container's directory: the targets whose files have been given away.
_GIVEN: Final = "volumes-given"
#: How long giving away a tree on a disk of this machine may take, in seconds.
_TREE_S: Final = 3_600.0


class Someone(Protocol):
    """A user of a container, as numbers."""

    @property
    def uid(self) -> int:
        """The user."""
        ...

    @property
    def gid(self) -> int:
        """The group."""
        ...


#: Who a name or number is in a container; an empty one means the container's own user.
WhoIs = Callable[[str], Someone]


class SystemDirectory(InvalidArgument):
    """A directory that the machine needs as it is was to be given to a container's user."""

    def __init__(self, source: str) -> None:
        super().__init__(
            f'invalid mount config for type "bind": {source} is a directory of the system: its owner is not changed. '
            "Mount a directory below it, or use --mount type=bind,…,bind-idmap, which leaves the owner as it is"
        )


def check_giveable(point: MountPoint, own: str) -> None:
    """Raise `SystemDirectory` for a source that must not change hands; `own` is the engine's directory."""
    if not point.chown or point.type is not MountType.BIND:
        return
    source = point.source
    inside = any(source == one or source.startswith(one + "/") for one in (*_WHOLE, own))
    if inside or source in _TOP or own.startswith(source.rstrip("/") + "/"):
        raise SystemDirectory(source)


async def map_owners(
    points: Sequence[MountPoint], away: Collection[str], pins: Pins, who: WhoIs, limits: Limits
) -> Mapping[str, Away]:
    """Mount what is id-mapped at places of ours; return, by target, what to mount instead of the source.

    `away` are the targets whose source may hang. Raises `OwnersFailed`.
    """
    found: dict[str, Away] = {}
    for point in points:
        if not point.mapped:
            continue
        someone = await in_thread(who, point.mapped_user)
        place = str(pins.place(point))
        mapped = await owners.idmap(
            point.source, place, someone.uid, someone.gid, recursive=point.recursive,
            create=point.create_source and point.target not in away, timeout_s=limits.mount_s,
        )  # fmt: skip
        found[point.target] = Away(place, mapped.read_only, mapped.directory)
    return found


async def give(
    points: Sequence[MountPoint],
    entries: Sequence[OciMount],
    home: Path,
    away: Collection[str],
    who: WhoIs,
    *,
    own: str,
    limits: Limits,
) -> None:
    """Give the files of mounts to the container's user, each once in its life: `home` remembers.

    An interrupted one is done again. Raises `OwnersFailed`, `SystemDirectory`.
    """
    wanted = [point for point in points if point.chown]
    if not wanted:
        return
    sources = {entry.destination: entry.source for entry in entries}
    marker = home / _GIVEN
    given = await in_thread(_given, marker)
    someone = await in_thread(who, "")
    for point in wanted:
        if point.target in given:
            continue
        source = sources[point.target]
        far = point.target in away
        if point.type is MountType.BIND and not far:  # what it is may have changed since the container was made
            real = await in_thread(os.path.realpath, source)
            check_giveable(MountPoint(type=point.type, target=point.target, source=real, chown=True), own)
        await owners.give(source, someone.uid, someone.gid, timeout_s=limits.mount_s if far else _TREE_S)
        given.append(point.target)
        if home.is_dir():
            await in_thread(write_atomically, marker, "\0".join(given).encode(errors="surrogateescape"))


def _given(marker: Path) -> list[str]:
    try:
        return marker.read_bytes().decode(errors="surrogateescape").split("\0")
    except FileNotFoundError:
        return []
