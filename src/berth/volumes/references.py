"""Who uses a volume: worked out from the containers' mount points whenever it is asked. Pure."""

from collections.abc import Callable, Iterable, Mapping, Sequence

from berth.volumes.mounts.model import MountPoint, MountType

Users = Callable[[], Iterable[tuple[str, Sequence[MountPoint]]]]


def names(points: Sequence[MountPoint]) -> set[str]:
    """Return the volumes whose own data is mounted: not a snapshot's."""
    return {point.name for point in points if point.type is MountType.VOLUME and not point.snapshot}


def holders(users: Iterable[tuple[str, Sequence[MountPoint]]]) -> Mapping[str, tuple[str, ...]]:
    """Return for every volume in use the containers that hold it or a snapshot of it, running or not."""
    return _by_name(users, lambda _: True)


def users_of_data(users: Iterable[tuple[str, Sequence[MountPoint]]]) -> Mapping[str, tuple[str, ...]]:
    """Return for every volume the containers that mount its own data."""
    return _by_name(users, lambda point: not point.snapshot)


def writers(users: Iterable[tuple[str, Sequence[MountPoint]]]) -> Mapping[str, tuple[str, ...]]:
    """Return for every volume the containers that can write its data."""
    return _by_name(users, lambda point: point.rw and not point.snapshot)


def snapshot_users(users: Iterable[tuple[str, Sequence[MountPoint]]], volume: str, snapshot: str) -> tuple[str, ...]:
    """Return the containers that mount a snapshot, running or not."""
    return _by_name(users, lambda point: point.snapshot == snapshot).get(volume, ())


def _by_name(
    users: Iterable[tuple[str, Sequence[MountPoint]]], wanted: Callable[[MountPoint], bool]
) -> dict[str, tuple[str, ...]]:
    found: dict[str, list[str]] = {}
    for ident, points in users:
        for point in points:
            if point.type is MountType.VOLUME and wanted(point):
                found.setdefault(point.name, []).append(ident)
    return {name: tuple(dict.fromkeys(idents)) for name, idents in found.items()}
