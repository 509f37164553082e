"""A volume as it is stored. Pure."""

from typing import Final

import msgspec

from berth.base.clock import rfc3339

#: Label of a volume that was made without a name.
ANONYMOUS_LABEL: Final = "com.docker.volume.anonymous"
LOCAL: Final = "local"


class VolumeRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A volume. Where its data is follows from its name; who uses it follows from the containers.

    `options` and `labels` are None where Docker prints null: none were stated at all.
    """

    name: str
    driver: str = LOCAL
    options: dict[str, str] | None = None
    labels: dict[str, str] | None = None
    created_ns: int = 0
    #: Nothing removes it or replaces its data.
    protected: bool = False
    #: Where its storage comes from, and may still be: another name, or an entry of the trash. Empty once it is here.
    moved_from: str = ""

    @property
    def anonymous(self) -> bool:
        """Whether it was made without a name."""
        return ANONYMOUS_LABEL in (self.labels or {})


def to_wire(record: VolumeRecord, mountpoint: str) -> dict[str, object]:
    """Render a volume as the API shows it."""
    return {
        "CreatedAt": f"{rfc3339(record.created_ns)[:19]}Z",
        "Driver": record.driver,
        "Labels": record.labels,
        "Mountpoint": mountpoint,
        "Name": record.name,
        "Options": record.options,
        "Scope": "local",
    }


class TrashRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A removed volume whose data is still there."""

    id: str
    volume: VolumeRecord
    removed_ns: int

    @property
    def entry(self) -> str:
        """What its storage is called; no volume's name starts with a dot."""
        return f".trash-{self.id}"
