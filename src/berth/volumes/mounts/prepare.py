"""What has to be there before the OCI runtime mounts: sources, filled volumes, targets inside the root. Blocking."""

import contextlib
import os
import stat
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec

from berth.base.errors import SystemFault
from berth.base.ownership import Owner
from berth.kernel import copyup, rootpath, treemount
from berth.kernel.mountinfo import holder_of, mounts_below
from berth.volumes.errors import BadMount, MountOfVolumeFailed, NotShared, ReadOnlyBelowImpossible, TargetIsFile
from berth.volumes.mounts import oci
from berth.volumes.mounts.model import MountPoint, MountType, OciMount
from berth.volumes.mounts.order import below, by_depth
from berth.volumes.mounts.pins import Pins


class Away(NamedTuple):
    """A mount point whose source may hang, as a helper process found it."""

    source: str
    read_only: bool
    directory: bool = True


#: Fills one volume from the image: (mount point) → None.
Fill = Callable[[MountPoint], None]


def prepare(
    points: Sequence[MountPoint],
    rootfs: str,
    pins: Pins,
    fill: Fill,
    away: Mapping[str, Away],
    outer: Sequence[str] = (),
) -> tuple[OciMount, ...]:
    """Make sources and targets ready and return what the runtime is to mount, parents first.

    `away` has, by target, the mount points whose source may hang: nothing here looks at them.
    `outer` are the targets of mounts that are there already: below them no target is made.
    """
    ordered = by_depth(points)
    entries: list[OciMount] = []
    done: list[str] = []
    for point in ordered:
        if point.type is MountType.TMPFS:
            # A tmpfs takes over the mode of a directory that exists: the runtime makes its own.
            entries.append(oci.render(point, ""))
            done.append(point.target)
            continue
        if point.target in away:
            source, read_only, directory = away[point.target]
            if point.type is MountType.BIND:
                _check_propagation(point, source)
        else:
            source = _source(point, pins)
            if point.copy_up:
                fill(point)
            directory, read_only = _look(point, source)
        if not below(point.target, (*outer, *done)):
            _target(rootfs, point, source, directory=directory)
        if read_only:
            # Some runtimes remount a bind with the options stated and nothing else: say what is already so.
            point = msgspec.structs.replace(point, rw=False)  # noqa: PLW2901  the same point, seen truly
        real = source if point.target in away else os.path.realpath(source)
        entries.append(oci.render(point, source, has_submounts=_read_only_below(point, real)))
        done.append(point.target)
    return tuple(entries)


def _source(point: MountPoint, pins: Pins) -> str:
    if point.type is MountType.IMAGE:
        return pins.image(point)
    if point.type is MountType.VOLUME:
        return pins.volume_part(point) if point.subpath else point.source
    if not os.path.exists(point.source):
        if not point.create_source:
            raise BadMount("bind", f"bind source path does not exist: {point.source}")
        try:
            os.makedirs(point.source, 0o755, exist_ok=True)
        except OSError as exc:
            raise SystemFault(f"error while creating mount source path '{point.source}': {exc.strerror}") from exc
    _check_propagation(point, os.path.realpath(point.source))
    return point.source


def _check_propagation(point: MountPoint, real: str) -> None:
    if not point.propagation_wanted or point.propagation not in ("shared", "rshared", "slave", "rslave"):
        return
    on = holder_of(real)
    if not on.shared and not (on.slave and point.propagation.endswith("slave")):
        raise NotShared(point.source, on.mount_point, slave_would_do=point.propagation.endswith("slave"))


def _look(point: MountPoint, source: str) -> tuple[bool, bool]:
    """Tell whether a source is a directory, and whether its mount is read-only."""
    try:
        return stat.S_ISDIR(os.stat(source).st_mode), bool(os.statvfs(source).f_flag & os.ST_RDONLY)
    except OSError as exc:
        if point.type is MountType.VOLUME:
            raise MountOfVolumeFailed(source, exc.strerror or str(exc)) from exc
        raise SystemFault(f"cannot look at {source}: {exc.strerror}") from exc


def _target(rootfs: str, point: MountPoint, source: str, *, directory: bool) -> None:
    try:
        fits = rootpath.make_target(rootfs, point.target, directory=directory)
    except rootpath.NotADirectoryHere:
        fits = False
    if not fits:
        raise TargetIsFile(source, point.target)


def _read_only_below(point: MountPoint, real: str) -> bool:
    """Tell whether there is something below a source that is to be made read-only, too, and can be."""
    if point.type is not MountType.BIND or point.rw or not point.recursive or not _has_submounts(real):
        return False
    if treemount.supported():
        return True
    if point.read_only_recursive == "required":
        raise ReadOnlyBelowImpossible(point.source)
    return False


def _has_submounts(real: str) -> bool:
    return any(point != real for point in mounts_below(real))


def filler(
    rootfs: str, targets: Collection[str], marker_of: Callable[[str], Path], owner_of: Callable[[str], Owner]
) -> Fill:
    """Return what fills the volumes at some targets from the image mounted at `rootfs`."""

    def fill(point: MountPoint) -> None:
        if point.target not in targets:
            return
        with contextlib.suppress(FileNotFoundError):  # of the volume itself: said when it is mounted
            copyup.fill(rootfs, point.target, Path(point.source), marker_of(point.name), owner_of(point.name))

    return fill


def nothing_to_fill(_point: MountPoint) -> None:
    """Fill nothing: the container has been started before, or a helper process did it."""
