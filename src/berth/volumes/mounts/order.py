"""Which mounts a container gets and which comes first. Pure."""

from collections.abc import Sequence

from berth.volumes.errors import DuplicateTarget
from berth.volumes.mounts.model import MountPoint
from berth.volumes.mounts.parse import Asked


def depth(target: str) -> int:
    """Count the names in a target path."""
    return target.count("/")


def by_depth(points: Sequence[MountPoint]) -> tuple[MountPoint, ...]:
    """Order mounts so that none hides another: fewer names first, else by text."""
    return tuple(sorted(points, key=lambda point: (depth(point.target), point.target)))


def combine(
    inherited: Sequence[MountPoint],
    binds: Sequence[Asked],
    mounts: Sequence[Asked],
    tmpfs: Sequence[Asked],
    config_volumes: Sequence[Asked],
) -> tuple[list[MountPoint], list[Asked]]:
    """Return what is kept of the inherited mounts, and what else is wanted.

    Something asked for replaces what is inherited; two things asked for clash; an image's or anonymous volume
    gives way to anything. Raises `DuplicateTarget`.
    """
    asked: dict[str, Asked] = {}
    for one in (*binds, *mounts, *tmpfs):
        if one.point.target in asked:
            raise DuplicateTarget(one.point.target)
        asked[one.point.target] = one
    kept = {point.target: point for point in inherited if point.target not in asked}
    for one in config_volumes:
        if one.point.target not in kept:
            asked.setdefault(one.point.target, one)
    return list(kept.values()), list(asked.values())


def below(target: str, others: Sequence[str]) -> bool:
    """Tell whether `target` lies below one of `others`."""
    return any(target.startswith(other + "/") for other in others)
