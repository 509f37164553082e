"""Errors of backups. Each says what stands in the way and which command goes round it."""

from berth.base.errors import Conflict, InvalidArgument, NotImplementedYet, SystemFault, Unavailable


class BadBackupOption(InvalidArgument):
    """A wish that makes no sense."""


class RestoreNeedsName(InvalidArgument):
    """An archive does not say which volume it is of."""

    def __init__(self) -> None:
        super().__init__(
            "restore: the archive does not say which volume it is of; name the volume: "
            "berth volume restore --as NAME FILE"
        )


class RestoreWouldOverwrite(Conflict):
    """The volume is there already."""

    def __init__(self, name: str) -> None:
        super().__init__(
            f"restore {name}: a volume named {name} is there already. Restore beside it: --as OTHER; "
            "or replace its data: --overwrite"
        )


class ImportWouldOverwrite(Conflict):
    """The volume that is to be filled holds data."""

    def __init__(self, name: str) -> None:
        super().__init__(
            f"import {name}: the volume {name} holds data. Name another volume, which is made if there is none; "
            "or replace its data: --overwrite"
        )


class RestoreIntoMount(NotImplementedYet):
    """The data of a volume are not the engine's own, and cannot be exchanged in one step."""

    def __init__(self, name: str) -> None:
        super().__init__(
            f"restore {name}: its data are not this engine's but on a device, server or path that its options name, "
            "and cannot be replaced in one step. Restore beside it with --as OTHER, and copy what you want: "
            f"berth volume cp OTHER:/PATH - | berth volume cp - {name}:/"
        )


class TooLargeToRestore(Conflict):
    """A volume with a size is too small for what it is to hold."""

    def __init__(self, name: str) -> None:
        super().__init__(
            f"restore {name}: no space left on device: what is to be restored needs more than the volume's size. It is "
            f"as it was. Give it more: berth volume resize {name} SIZE"
        )


class StageFailed(SystemFault):
    """There is no place beside the volumes to unpack an archive to."""

    def __init__(self, exc: OSError) -> None:
        super().__init__(f"cannot begin to restore: {exc.filename}: {(exc.strerror or str(exc)).lower()}")


class StoreFailed(SystemFault):
    """A place for backups did not do what it was asked."""

    def __init__(self, where: str, why: str) -> None:
        super().__init__(f"{where}: {why}")


class StoreUnavailable(Unavailable):
    """What drives a place for backups is not installed."""
