"""Errors of copies of volumes: what stood in the way, and what can be done."""

from collections.abc import Sequence

from berth.base.errors import Conflict, InvalidArgument, NotFound, SystemFault
from berth.base.names import RESTRICTED_TEXT
from berth.volumes.errors import User


class BadSnapshotName(InvalidArgument):
    """This cannot name a snapshot."""

    def __init__(self, what: str, name: str) -> None:
        super().__init__(
            f'{what}: "{name}" is no name of a snapshot, only "{RESTRICTED_TEXT}" are allowed, two characters at least'
        )


class NoSuchSnapshot(NotFound):
    """The volume has no snapshot of this name."""

    def __init__(self, volume: str, snapshot: str) -> None:
        super().__init__(f"get {volume}@{snapshot}: no such snapshot. What there is: berth volume snapshot ls {volume}")


class NoSnapshotToMount(InvalidArgument):
    """A container is to mount a snapshot that is not there; Docker's client takes "not found" for the image's."""

    def __init__(self, reference: str) -> None:
        super().__init__(f'invalid mount config for type "volume": no such snapshot: {reference}')


class SnapshotNameInUse(Conflict):
    """The volume has a snapshot of this name."""

    def __init__(self, volume: str, snapshot: str) -> None:
        super().__init__(
            f"snapshot {volume}: conflict: {volume}@{snapshot} exists. Choose another name, or remove it first: "
            f"berth volume snapshot rm {volume}@{snapshot}"
        )


class SnapshotInUse(Conflict):
    """Containers mount the snapshot."""

    def __init__(self, volume: str, snapshot: str, users: Sequence[User]) -> None:
        who = ", ".join(user.name or user.id[:12] for user in users)
        super().__init__(
            f"remove {volume}@{snapshot}: snapshot is in use by {who}. Stopped containers hold it too; "
            f"remove them first: docker rm -f {who.replace(',', '')}"
        )


class SnapshotReadOnly(InvalidArgument):
    """A snapshot was to be mounted so that it can be written."""

    def __init__(self, reference: str) -> None:
        super().__init__(
            f'invalid mount config for type "volume": {reference} is a snapshot, which is never written: '
            f"mount it read-only (-v {reference}:TARGET:ro), or make a volume of it: "
            f"berth volume clone {reference} NEW"
        )


class CopyFailed(SystemFault):
    """The data could not be copied; what there was of the copy is gone."""

    def __init__(self, what: str, why: str, *, cure: str = "") -> None:
        super().__init__(
            f"{what}: cannot copy {why}. Nothing of the copy is kept, and nothing else was changed"
            + (f"; {cure}" if cure else "")
        )


class CannotRollBack(Conflict):
    """The data of the volume cannot be exchanged."""

    def __init__(self, volume: str, snapshot: str) -> None:
        super().__init__(
            f"rollback {volume}: its data is not this engine's but on a device, server or path that its options name, "
            f"and cannot be exchanged in one step; make a volume of the snapshot: "
            f"berth volume clone {volume}@{snapshot} NEW"
        )


class HasSnapshots(Conflict):
    """A removal would take snapshots along, for good."""

    def __init__(self, volume: str, names: Sequence[str]) -> None:
        super().__init__(
            f"remove {volume}: volume has {len(names)} snapshots ({', '.join(names)}) that would be deleted for good: "
            f"removed volumes are not kept here. If you mean it: docker volume rm -f {volume}"
        )
