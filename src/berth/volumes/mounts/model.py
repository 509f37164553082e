"""Mount points as they are stored with a container, and as the OCI runtime gets them. Pure."""

from collections.abc import Iterable
from enum import Enum
from typing import NamedTuple

import msgspec


class MountType(Enum):
    """Where the content of a mount point comes from."""

    BIND = "bind"
    VOLUME = "volume"
    TMPFS = "tmpfs"
    IMAGE = "image"


class MountPoint(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One mount of one container, decided at its creation and stored with it.

    `source` is the directory or file on this host: for a volume, where its driver puts the data; for an image, where
    it is while the container runs; empty for tmpfs. `mode` is what the user wrote, normalised as Docker prints it.
    `listed` is false for what Docker does not show among a container's mounts (``--tmpfs``).
    """

    type: MountType
    target: str
    source: str = ""
    name: str = ""
    driver: str = ""
    mode: str = ""
    rw: bool = True
    propagation: str = ""
    #: The propagation must be possible; false where the engine chose it and may do without.
    propagation_wanted: bool = True
    #: The volume was made for this container and goes with ``rm -v``.
    anonymous: bool = False
    #: An empty volume gets the image's content at the target.
    copy_up: bool = False
    #: Directory or file inside the volume or image to mount instead of its root.
    subpath: str = ""
    #: Snapshot of the volume that is mounted instead of its own data; never written.
    snapshot: str = ""
    #: Identifier of the image that is mounted; `name` is what the user called it.
    image: str = ""
    #: A missing source of a bind mount is made as a directory (``-v``), not an error (``--mount``).
    create_source: bool = False
    #: Mounts below a bind mount's source come along.
    recursive: bool = True
    #: Read-only also for the mounts that come along: ``enabled`` where the kernel can, ``required``, or ``off``.
    read_only_recursive: str = "enabled"
    #: The source is made to belong to the container's user, once.
    chown: bool = False
    #: The source's owner is seen as this user of the container: the container's own if empty, see `mapped`.
    mapped_user: str = ""
    #: The mount is id-mapped.
    mapped: bool = False
    #: Options of a tmpfs, as mount(8) takes them.
    tmpfs_options: tuple[str, ...] = ()
    listed: bool = True

    @property
    def reference(self) -> str:
        """What a volume's mount names: ``VOLUME`` or ``VOLUME@SNAPSHOT``."""
        return f"{self.name}@{self.snapshot}" if self.snapshot else self.name


class OciMount(NamedTuple):
    """One entry of ``mounts`` in an OCI runtime specification."""

    destination: str
    source: str
    type: str
    options: tuple[str, ...]


def to_wire(points: Iterable[MountPoint]) -> list[dict[str, object]]:
    """Render mount points as ``Mounts`` of a container's inspection."""
    return [_render(point) for point in points if point.listed]


def _render(point: MountPoint) -> dict[str, object]:
    wire: dict[str, object] = {"Type": point.type.value}
    if point.name:
        wire["Name"] = point.reference
    return wire | {
        "Source": point.source,
        "Destination": point.target,
        **({"Driver": point.driver} if point.driver else {}),
        "Mode": point.mode,
        "RW": point.rw,
        "Propagation": point.propagation,
    }
