"""Who uses a volume: worked out from the containers' mount points whenever it is asked. Pure."""

from collections.abc import Callable, Iterable, Mapping, Sequence

from berth.volumes.mounts.model import MountPoint, MountType

Users = Callable[[], Iterable[tuple[str, Sequence[MountPoint]]]]


def names(points: Sequence[MountPoint]) -> set[str]:
    """Return the volumes that mount points name."""
    return {point.name for point in points if point.type is MountType.VOLUME}


def holders(users: Iterable[tuple[str, Sequence[MountPoint]]]) -> Mapping[str, tuple[str, ...]]:
    """Return for every volume in use the containers that hold it, running or not."""
    found: dict[str, list[str]] = {}
    for ident, points in users:
        for name in names(points):
            found.setdefault(name, []).append(ident)
    return {name: tuple(dict.fromkeys(idents)) for name, idents in found.items()}
