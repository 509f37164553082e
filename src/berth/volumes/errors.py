"""Errors of volumes and mounts. Words and kinds are compatibility: clients choose behaviour by both."""

from collections.abc import Sequence
from typing import Final, NamedTuple

from berth.base.errors import Conflict, InvalidArgument, NotFound, NotImplementedYet, SystemFault, Unavailable
from berth.base.ids import short
from berth.base.names import RESTRICTED_TEXT
from berth.base.units import human_size

#: What to do where a file server's kind is taken for a driver's name, as pages about volumes have it.
_INSTEAD: Final = {
    "nfs": "; it mounts NFS too: docker volume create -o type=nfs -o o=addr=SERVER,rw -o device=:/PATH {name}",
    "cifs": "; it mounts CIFS too: docker volume create -o type=cifs -o o=addr=SERVER,username=WHO,password=WORD "
    "-o device=//SERVER/SHARE {name}",
}


class NoSuchVolume(NotFound):
    """No volume has this name."""

    def __init__(self, name: str) -> None:
        volume, at, snapshot = name.partition("@")
        hint = f". {name} names a snapshot; to make a volume of one: berth volume clone {name} NEW" if at else ""
        super().__init__(f"get {name}: no such volume{hint if volume and snapshot else ''}")
        self.name = name


class NameTooShort(InvalidArgument):
    """A volume's name needs two characters."""

    def __init__(self, name: str) -> None:
        super().__init__(
            f"create {name}: volume name is too short, names should be at least two alphanumeric characters"
        )


class NameInvalid(InvalidArgument):
    """A volume's name has characters outside the grammar."""

    def __init__(self, name: str) -> None:
        super().__init__(
            f'create {name}: "{name}" includes invalid characters for a local volume name, only "{RESTRICTED_TEXT}" '
            "are allowed. If you intended to pass a host directory, use absolute path"
        )


class NameTooLong(InvalidArgument):
    """A volume's name is longer than that of any directory."""

    def __init__(self, name: str, most: int) -> None:
        super().__init__(f"create {name}: volume name is too long: {len(name)} characters, at most {most} are possible")


class NameTaken(Conflict):
    """A volume of this name belongs to another driver."""

    def __init__(self, name: str, driver: str) -> None:
        super().__init__(
            f"create {name}: conflict: volume name must be unique. A volume of driver {driver} has this name; "
            f"choose another, or remove it with: docker volume rm {name}"
        )


class NoSuchDriver(NotFound):
    """No volume driver has this name."""

    def __init__(self, name: str, driver: str) -> None:
        super().__init__(
            f'create {name}: error looking up volume plugin {driver}: plugin "{driver}" not found. '
            'The driver at hand is "local"' + _INSTEAD.get(driver, "").format(name=name or "NAME")
        )


class BadOption(InvalidArgument):
    """An option of a driver is unknown, missing or wrong."""

    def __init__(self, name: str, what: str) -> None:
        super().__init__(f"create {name}: {what}")


class User(NamedTuple):
    """A container that uses a volume, as messages and lists show it."""

    id: str
    name: str = ""
    #: In Docker's word: ``running``, ``exited``, …
    state: str = ""


class VolumeInUse(Conflict):
    """Containers hold the volume, running or not."""

    def __init__(self, name: str, users: Sequence[User]) -> None:
        ids = ", ".join(user.id for user in users)
        who = ", ".join(f"{user.name or short(user.id)} ({user.state or 'being created'})" for user in users)
        brief = " ".join(user.name or short(user.id) for user in users)
        super().__init__(
            f"remove {name}: volume is in use - [{ids}]. Used by {who}. "
            f"Stopped containers hold their volumes too; remove them first: docker rm -f {brief}"
        )
        self.holders = tuple(user.id for user in users)


class VolumeOccupied(Conflict):
    """An operation works on the volume's data."""

    def __init__(self, action: str, name: str, what: str) -> None:
        super().__init__(f"{action} {name}: volume is in use by a running {what}; try again when it has ended")


class VolumeRunning(Conflict):
    """Running containers have the volume mounted."""

    def __init__(self, action: str, name: str, holders: Sequence[str]) -> None:
        brief = " ".join(short(ident) for ident in holders)
        super().__init__(
            f"{action} {name}: volume is in use by running containers - [{', '.join(holders)}]. "
            f"Stop them first: docker stop {brief}"
        )
        self.holders = tuple(holders)


class VolumeProtected(Conflict):
    """Somebody said that the volume must stay as it is."""

    def __init__(self, action: str, name: str) -> None:
        super().__init__(
            f"{action} {name}: volume is protected. If you mean it, take the protection away first: "
            f"berth volume unprotect {name}"
        )


class VolumeNameInUse(Conflict):
    """A volume has the name that another is to get."""

    def __init__(self, action: str, old: str, new: str) -> None:
        super().__init__(
            f"{action} {old}: conflict: a volume named {new} exists. Choose another name, or remove it first: "
            f"docker volume rm {new}"
        )


class SameName(InvalidArgument):
    """The new name is the old one."""

    def __init__(self, name: str) -> None:
        super().__init__(f"Renaming a volume with the same name as its current name: {name}")


class ReadOnlyVolume(Conflict):
    """The volume's options say that it is not written to."""

    def __init__(self, name: str) -> None:
        super().__init__(f"copy into {name}: volume is read-only, as its option o=ro says")


class VolumeMoving(Conflict):
    """A rename or restore that failed half-way has the name."""

    def __init__(self, action: str, name: str, other: str) -> None:
        super().__init__(
            f"{action} {name}: conflict: volume {other} was not wholly moved away from this name, because the disk was "
            "full or failed; restart berthd to have that finished"
        )


class CannotRename(NotImplementedYet):
    """The driver cannot give volumes other names."""

    def __init__(self, name: str, driver: str) -> None:
        super().__init__(f"rename {name}: volumes of driver {driver} cannot be renamed")


class NothingInTrash(NotFound):
    """No removed volume of this id or name is kept."""

    def __init__(self, ref: str) -> None:
        super().__init__(f"get {ref}: no such volume in the trash. What is there: berth volume trash ls")


class AmbiguousTrash(InvalidArgument):
    """Several ids start with this."""

    def __init__(self, ref: str) -> None:
        super().__init__(f"multiple volumes in the trash have ids that start with {ref}")


class RenameHeldUp(Conflict):
    """The volume cannot get another name at this moment."""

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(f"rename {name}: {reason}; try again when that is done")


class VolumeMounted(SystemFault):
    """Something is still mounted in the volume's directory."""

    def __init__(self, name: str, where: str) -> None:
        super().__init__(
            f"remove {name}: volume has active mounts. {where} is a mount point; unmount it first: umount {where}"
        )


class MountOfVolumeFailed(SystemFault):
    """A volume's own mount could not be made."""

    def __init__(self, data: str, reason: str) -> None:
        super().__init__(f"error while mounting volume '{data}': {reason}")


class NoQuotas(InvalidArgument):
    """Quotas were asked for where the file system keeps none."""

    def __init__(self, name: str, root: str, fstype: str) -> None:
        remedy = {
            "btrfs": f"switch them on with: btrfs quota enable {root}",
            "xfs": "mount it with the option prjquota",
            "ext4": "switch the feature on (tune2fs -O project -Q prjquota) and mount it with the option prjquota",
        }.get(fstype, "they need xfs, ext4 or btrfs")
        super().__init__(
            f"create {name}: quota size requested but no quota support: {root} is on {fstype} without project quotas; "
            f"{remedy}. Or leave size-mode out: a file with a file system of its own does the same"
        )


class SizeLost(SystemFault):
    """What keeps a volume's size is not there any more."""

    def __init__(self, name: str, where: str) -> None:
        super().__init__(
            f"volume {name} has a size, and what keeps it is missing at {where}. "
            "If the file system below it was replaced, restore the volume from a backup"
        )


class NotSized(InvalidArgument):
    """Only a volume that was made with a size has one to change."""

    def __init__(self, name: str) -> None:
        super().__init__(
            f"resize {name}: the volume has no size. One is given at creation: berth volume create --size SIZE NAME"
        )


class BelowUse(Conflict):
    """A volume cannot be smaller than what is in it."""

    def __init__(self, name: str, wanted: int, used: int) -> None:
        super().__init__(
            f"resize {name}: {human_size(wanted)} ({wanted} bytes) is less than the {human_size(used)} ({used} bytes) "
            "that are in use; delete something, or choose more"
        )


class StillMounted(Conflict):
    """A file system cannot be replaced under those who use it."""

    def __init__(self, name: str, why: str, holders: Sequence[str]) -> None:
        brief = " ".join(short(ident) for ident in holders) or "what uses it"
        super().__init__(f"resize {name}: {why} only while nothing runs on it; stop first: docker stop {brief}")


class PruneRunning(Conflict):
    """Somebody prunes already."""

    def __init__(self) -> None:
        super().__init__("a prune operation is already running")


class NotAClusterVolume(Unavailable):
    """Only volumes of a cluster can be changed."""

    def __init__(self) -> None:
        super().__init__("volume update is only valid for cluster volumes, but swarm is unavailable")


class BadVolumeSpec(InvalidArgument):
    """A ``-v`` text makes no sense."""

    def __init__(self, raw: str, reason: str = "") -> None:
        super().__init__(f"invalid volume specification: '{raw}'" + (f": {reason}" if reason else ""))


class BadMode(InvalidArgument):
    """The mode part of a ``-v`` or ``--volumes-from`` text is wrong."""

    def __init__(self, mode: str) -> None:
        super().__init__(f"invalid mode: {mode}")


class BadMount(InvalidArgument):
    """A ``--mount`` cannot be."""

    def __init__(self, kind: str, reason: str) -> None:
        super().__init__(f'invalid mount config for type "{kind}": {reason}')
        self.reason = reason


class BadTarget(InvalidArgument):
    """A target of a mount is relative or the root itself."""


class BadTmpfsOption(InvalidArgument):
    """An option of a tmpfs is unknown."""

    def __init__(self, options: Sequence[str]) -> None:
        listed = " ".join(f'"{one}"' for one in options)
        super().__init__(f"invalid tmpfs option [{listed}]")


class DuplicateTarget(InvalidArgument):
    """Two mounts want the same place."""

    def __init__(self, target: str) -> None:
        super().__init__(f"Duplicate mount point: {target}")


class TargetTaken(InvalidArgument):
    """A container has a mount where another is wanted."""

    def __init__(self, target: str) -> None:
        super().__init__(
            f"Duplicate mount point: {target}. "
            f"To replace what is there, remove it in the same command: --mount-rm {target}"
        )


class NoSuchMount(NotFound):
    """A container has no mount at a place."""

    def __init__(self, container_id: str, target: str, there: Sequence[str]) -> None:
        listed = f"its mounts are at {', '.join(there)}" if there else "it has no mounts"
        super().__init__(f"container {short(container_id)} has no mount at {target}; {listed}")


class MountBelow(Conflict):
    """A mount cannot go without those below it."""

    def __init__(self, target: str, below: str) -> None:
        super().__init__(
            f"mount {target} has another below it at {below}; remove both: --mount-rm {target} --mount-rm {below}"
        )


class NotShared(InvalidArgument):
    """Propagation was asked for where the host's mount does not pass it on."""

    def __init__(self, source: str, mount_point: str, *, slave_would_do: bool) -> None:
        kind = "shared or slave" if slave_would_do else "shared"
        super().__init__(f"path {source} is mounted on {mount_point} but it is not a {kind} mount")


class ReadOnlyBelowImpossible(SystemFault):
    """What is mounted below a source cannot be made read-only with it."""

    def __init__(self, source: str) -> None:
        super().__init__(
            f"cannot mount {source} read-only with all that is mounted below it: the kernel does not support "
            "recursively read-only mounts (Linux 5.12). Leave bind-recursive=readonly away to do without"
        )


class TargetIsFile(InvalidArgument):
    """A directory cannot be mounted onto a file, nor the other way round."""

    def __init__(self, source: str, target: str) -> None:
        super().__init__(
            f'error mounting "{source}" to rootfs at "{target}": not a directory: '
            "Are you trying to mount a directory onto a file (or vice-versa)? "
            "Check if the specified host path exists and is the expected type"
        )


class VolumeOverFile(SystemFault):
    """The image has a file where a volume is wanted."""

    def __init__(self, target: str) -> None:
        super().__init__(f"cannot mount volume over existing file, file exists {target}")
