"""Mounts the engine itself holds for one container: what it gets not as it lies on the host.

Part of a volume is bound to a place of ours, so that the volume's other users cannot move it away under the runtime's
hands; an image is mounted there whole and read-only. Each mount point has a place named after its target; all go when
the container has ended. Blocking.
"""

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Final, Protocol

from berth.kernel import rootpath
from berth.kernel.mount import bind_open, overlay_view, unmount
from berth.kernel.mountflags import MNT_DETACH
from berth.volumes.mounts.model import MountPoint

#: Image identifier → directories of its layers, topmost first. Raises `NotFound`.
Lowers = Callable[[str], tuple[str, ...]]
_IMAGE: Final = ".image"
_EMPTY: Final = ".empty"


class ImageShelf(Protocol):
    """What mounts of images need of the images."""

    def identify(self, ref: str) -> str:
        """Return the identifier of an image by what a user calls it. Raises `NotFound`."""
        ...

    def lowers(self, image_id: str) -> tuple[str, ...]:
        """Return the directories of its layers, topmost first. Raises `NotFound`."""
        ...


class Pins:
    """The places of one container."""

    def __init__(self, directory: Path, lowers: Lowers) -> None:
        self.directory = directory
        self._lowers = lowers

    def place(self, point: MountPoint) -> Path:
        """Return where a mount point's source is pinned."""
        return self.directory / key(point.target)

    def volume_part(self, point: MountPoint) -> str:
        """Pin a directory or file of a volume of this machine."""
        return self._bound(point, point.source)

    def image(self, point: MountPoint) -> str:
        """Mount an image, and pin the part of it that is wanted."""
        lowers = self._lowers(point.image)
        empty = self.directory / f"{key(point.target)}{_EMPTY}"
        view = self.directory / (f"{key(point.target)}{_IMAGE}" if point.subpath else key(point.target))
        empty.mkdir(parents=True, exist_ok=True)
        view.mkdir(exist_ok=True)
        unmount(str(view), MNT_DETACH)  # of a start that was killed
        overlay_view(lowers, str(empty), str(view))
        return self._bound(point, str(view)) if point.subpath else str(view)

    def _bound(self, point: MountPoint, within: str) -> str:
        place = self.place(point)
        fd = rootpath.open_beneath(within, point.subpath)
        try:
            bind_open(fd, place)
        finally:
            os.close(fd)
        return str(place)


def key(target: str) -> str:
    """Return the name of a target's place."""
    return hashlib.sha256(target.encode(errors="surrogateescape")).hexdigest()[:16]


def let_go(directory: Path, target: str = "") -> None:
    """Take away all that is pinned in `directory`, or only for one target; nothing happens if there is nothing."""
    try:
        names = os.listdir(directory)
    except FileNotFoundError:
        return
    for name in sorted(names):  # a part before the image it is part of
        if target and name.partition(".")[0] != key(target):
            continue
        place = directory / name
        while unmount(str(place), MNT_DETACH):  # what the container still holds open stays valid for it
            pass
        if place.is_dir():
            place.rmdir()
        else:
            place.unlink(missing_ok=True)
    if not target:
        directory.rmdir()
