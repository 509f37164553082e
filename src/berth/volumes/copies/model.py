"""A snapshot as it is written down, and how it is named. Pure."""

from pathlib import Path
from typing import NamedTuple

import msgspec

from berth.base.clock import rfc3339
from berth.base.names import is_restricted_name
from berth.volumes.consistency.model import Report
from berth.volumes.copies.errors import BadSnapshotName
from berth.volumes.options import NAME_MAX


class SnapshotRecord(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One snapshot, written beside its data so that both go wherever the volume goes.

    `how` says what it is made of ("btrfs snapshot", "reflinks", "copy"). `consistency` is what `Report.to_wire` says.
    """

    name: str
    created_ns: int
    how: str = ""
    consistency: dict[str, object] = {}
    #: Labels and options the volume had.
    labels: dict[str, str] | None = None
    options: dict[str, str] | None = None
    #: Kept by a rollback: what the volume held before.
    automatic: bool = False
    #: While a rollback is under way: the directory that is to become the volume's data (`kernel.files.identity`), and
    #: whether what it replaces is kept.
    exchanged_for: str = ""
    keep: bool = True


class Reference(NamedTuple):
    """What ``VOLUME`` or ``VOLUME@SNAPSHOT`` names; an empty snapshot is the volume itself."""

    volume: str
    snapshot: str = ""

    def __str__(self) -> str:
        return f"{self.volume}@{self.snapshot}" if self.snapshot else self.volume


def parse_reference(text: str) -> Reference:
    """Split ``VOLUME@SNAPSHOT``; no volume's name has an @. Raises `BadSnapshotName`."""
    volume, at, snapshot = text.partition("@")
    if at:
        check_snapshot_name(text, snapshot)
    return Reference(volume, snapshot)


def check_snapshot_name(what: str, name: str) -> str:
    """Return a name that can name a snapshot. Raises `BadSnapshotName`."""
    if not is_restricted_name(name) or len(name) > NAME_MAX:
        raise BadSnapshotName(what, name)
    return name


def automatic_name(prefix: str, now_ns: int) -> str:
    """Name a snapshot nobody named by the moment, to the millisecond."""
    moment = rfc3339(now_ns)
    return f"{prefix}{moment[:10].replace('-', '')}-{moment[11:19].replace(':', '')}-{now_ns // 1_000_000 % 1000:03}"


def snapshot_data(volume_data: str | Path, snapshot: str) -> Path:
    """Return where the data of a snapshot is, from where its volume's is."""
    return Path(volume_data).parent / "snapshots" / snapshot / "_data"


def to_wire(volume: str, record: SnapshotRecord, mountpoint: str, users: tuple[str, ...]) -> dict[str, object]:
    """Render a snapshot as the API shows it."""
    return {
        "Volume": volume,
        "Name": record.name,
        "Reference": f"{volume}@{record.name}",
        "CreatedAt": rfc3339(record.created_ns),
        "How": record.how,
        "Consistency": record.consistency or None,
        "Automatic": record.automatic,
        "Labels": record.labels,
        "Options": record.options,
        "Mountpoint": mountpoint,
        "UsedBy": list(users),
    }


class Copy(NamedTuple):
    """How a copy was made."""

    how: str
    entries: int
    moved_bytes: int
    report: Report
