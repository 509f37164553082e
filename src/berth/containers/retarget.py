"""What a volume's new name, or another place of all data, changes in a container's record. Pure."""

from pathlib import Path
from typing import Final

import msgspec

from berth.containers.model import ContainerRecord
from berth.volumes.copies.model import snapshot_data
from berth.volumes.model import LOCAL
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


#: What of a layer's path is the same wherever the data is.
_LAYERS: Final = "/images/layers/"


def data_moved(record: ContainerRecord, data_root: Path, volumes: Path) -> ContainerRecord:
    """Return the record with its paths as they are with all data at `data_root` and volumes at `volumes`."""

    def point(one: MountPoint) -> MountPoint:
        if one.type is not MountType.VOLUME or one.driver != LOCAL:
            return one
        data = volumes / one.name / "_data"
        place = str(snapshot_data(data, one.snapshot)) if one.snapshot else str(data)
        return one if one.source == place else msgspec.structs.replace(one, source=place)

    def layer(path: str) -> str:
        _, mark, rest = path.rpartition(_LAYERS)
        return f"{data_root}{_LAYERS}{rest}" if mark else path

    points, layers = tuple(map(point, record.mounts)), tuple(map(layer, record.layers))
    if (points, layers) == (record.mounts, record.layers):
        return record
    return msgspec.structs.replace(record, mounts=points, layers=layers)
