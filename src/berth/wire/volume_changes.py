"""What Docker has no words for: changes of a volume that is there. Must not decide anything."""

import msgspec

Struct = msgspec.Struct
field = msgspec.field


class VolumeUpdate(Struct, frozen=True):
    """Body of ``POST /berth/volumes/{name}/update``; what is null stays as it is."""

    labels_add: dict[str, str] | None = field(name="LabelsAdd", default=None)
    labels_remove: list[str] | None = field(name="LabelsRemove", default=None)
