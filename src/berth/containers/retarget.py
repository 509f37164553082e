"""What a volume's new name changes in a container's record. Pure."""

from pathlib import Path

import msgspec

from berth.containers.model import ContainerRecord
from berth.volumes.copies.model import snapshot_data
from berth.volumes.mounts.model import MountPoint, MountType
from berth.wire.volumes import Mount


def volume_renamed(record: ContainerRecord, old: str, new: str, source: str) -> ContainerRecord:
    """Return the record with volume `old` called `new`, its data at `source`: mount points, ``-v`` and ``--mount``."""

    def point(one: MountPoint) -> MountPoint:
        if one.type is not MountType.VOLUME or one.name != old:
            return one
        place = str(snapshot_data(Path(source), one.snapshot)) if one.snapshot else source
        return msgspec.structs.replace(one, name=new, source=place)

    def called(text: str) -> str:
        name, at, snapshot = text.partition("@")
        return f"{new}{at}{snapshot}" if name == old else text

    def bind(text: str) -> str:
        name, colon, rest = text.partition(":")
        return f"{called(name)}:{rest}" if colon else text

    def mount(one: Mount) -> Mount:
        if one.type != "volume" or not one.source:
            return one
        return msgspec.structs.replace(one, source=called(one.source))

    points = tuple(point(one) for one in record.mounts)
    if points == record.mounts:
        return record
    host = record.host_config
    if host.binds:
        host = msgspec.structs.replace(host, binds=[bind(text) for text in host.binds])
    if host.mounts:
        host = msgspec.structs.replace(host, mounts=[mount(one) for one in host.mounts])
    return msgspec.structs.replace(record, mounts=points, host_config=host)
