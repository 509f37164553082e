"""Mounts of snapshots: ``-v VOLUME@SNAPSHOT:TARGET:ro``, and what they may be. Pure."""

import msgspec

from berth.volumes.copies.errors import SnapshotReadOnly
from berth.volumes.copies.model import parse_reference
from berth.volumes.mounts.model import MountType
from berth.volumes.mounts.parse import Asked


def of_snapshot(asked: Asked) -> Asked:
    """Tell the snapshot from the volume in what is asked for. Raises `SnapshotReadOnly`, `BadSnapshotName`."""
    point = asked.point
    if point.type is not MountType.VOLUME or "@" not in point.name:
        return asked
    reference = parse_reference(point.name)
    if point.rw or point.chown:  # giving it to somebody would be writing, too
        raise SnapshotReadOnly(point.name)
    seen = msgspec.structs.replace(point, name=reference.volume, snapshot=reference.snapshot, copy_up=False)
    return msgspec.structs.replace(asked, point=seen)
