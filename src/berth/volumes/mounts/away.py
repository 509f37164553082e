"""Sources of mounts that may hang, seen through helper processes with a time limit before anything else looks.

Volumes from other machines, and bind mounts of paths that lie on such a mount, whatever their own type says. What is
found here stands in for every look at the source on the way to a start.
Must not: touch a source itself.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from berth.base.aio import in_thread
from berth.kernel import foreign, hanging
from berth.volumes.errors import BadMount, MountOfVolumeFailed
from berth.volumes.mounts.model import MountPoint, MountType
from berth.volumes.mounts.pins import Pins
from berth.volumes.mounts.prepare import Away


class Limits(NamedTuple):
    """How long file systems that depend on others may take, in seconds."""

    #: A look, a directory made.
    look_s: float = foreign.LOOK_TIMEOUT_S
    #: A mount, or copying an image's content.
    mount_s: float = foreign.MOUNT_TIMEOUT_S


async def check_source(point: MountPoint, limits: Limits) -> bool:
    """Raise `BadMount` if the source of a bind mount is missing; False if it is not one that may hang."""
    if await in_thread(hanging.served_mount, point.source) is None:
        return False
    if not (await foreign.look(point.source, timeout_s=limits.look_s)).exists:
        raise BadMount("bind", f"bind source path does not exist: {point.source}")
    return True


async def look(
    points: Sequence[MountPoint], is_away: Callable[[str], bool], pins: Pins, limits: Limits
) -> Mapping[str, Away]:
    """Look at the sources that may hang, by the mount points' targets; subpaths are pinned by `pins`.

    `is_away` tells of a volume whether its path may hang. Raises `MountOfVolumeFailed`, `BadMount`.
    """
    found: dict[str, Away] = {}
    for point in await may_hang(points, is_away):
        if point.type is MountType.BIND:
            found[point.target] = await _bind(point, limits)
        else:
            found[point.target] = await _volume(point, pins, limits)
    return found


async def may_hang(points: Sequence[MountPoint], is_away: Callable[[str], bool]) -> Sequence[MountPoint]:
    """Return those of `points` whose source may hang."""
    sourced = [point for point in points if point.type in (MountType.BIND, MountType.VOLUME)]
    if not sourced:
        return ()
    mounts = await in_thread(hanging.table)

    def far(point: MountPoint) -> bool:
        if point.type is MountType.VOLUME and not point.snapshot and is_away(point.name):
            return True
        return hanging.served_mount(point.source, mounts) is not None

    return await in_thread(lambda: [point for point in sourced if far(point)])


async def _volume(point: MountPoint, pins: Pins, limits: Limits) -> Away:
    try:
        seen = await foreign.look(point.source, timeout_s=limits.look_s)
        if point.subpath:
            place = str(pins.place(point))
            directory = await foreign.pin(point.source, point.subpath, place, timeout_s=limits.look_s)
            return Away(place, seen.read_only, directory)
    except (foreign.NoAnswer, foreign.ForeignMountFailed) as exc:
        raise MountOfVolumeFailed(point.source, str(exc)) from exc
    return Away(point.source, seen.read_only, seen.directory)


async def _bind(point: MountPoint, limits: Limits) -> Away:
    try:
        seen = await foreign.look(point.source, timeout_s=limits.look_s)
        if not seen.exists:
            if not point.create_source:
                raise BadMount("bind", f"bind source path does not exist: {point.source}")
            await foreign.make_directories(point.source, timeout_s=limits.look_s)
            seen = foreign.Looked(directory=True, read_only=False)
    except (foreign.NoAnswer, foreign.ForeignMountFailed) as exc:
        raise MountOfVolumeFailed(point.source, str(exc)) from exc
    return Away(point.source, seen.read_only, seen.directory)
