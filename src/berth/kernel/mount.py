"""Mount, unmount, and read the mount table. Blocking; foreign file systems go through a helper process instead."""

import ctypes
import errno
import os
import stat
import threading
from pathlib import Path
from typing import Final, NamedTuple

from berth.base.errors import SystemFault
from berth.kernel.libc import LIBC, check, syscall
from berth.kernel.mountflags import MNT_DETACH, MS_BIND, MS_NODEV, MS_RDONLY, MS_REC
from berth.kernel.mountinfo import super_options

#: Own working directory, root and umask (sched.h).
CLONE_FS: Final = 0x200
#: Number of fsopen on every architecture (include/uapi/asm-generic/unistd.h).
_SYS_FSOPEN: Final = 430
#: mount(2) copies at most one page of options (fs/namespace.c, copy_mount_options), less the final NUL.
MAX_OPTIONS_BYTES: Final = 4_095

LIBC.mount.argtypes = (ctypes.c_char_p, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_ulong, ctypes.c_char_p)
LIBC.umount2.argtypes = (ctypes.c_char_p, ctypes.c_int)


#: File systems that cannot be the upper layer of an overlay.
_NEVER_UPPER: Final = ("overlay", "nfs", "nfs4", "cifs", "smb3", "vfat", "exfat", "ecryptfs", "9p", "squashfs")


class MountFailed(SystemFault):
    """The kernel refused a mount."""

    def __init__(self, what: str, target: str, reason: str) -> None:
        super().__init__(f"mount {what} on {target}: {reason}")
        self.reason = reason


class Mounted(NamedTuple):
    """One line of the mount table."""

    target: str
    fstype: str
    source: str
    options: str


def mount(source: str, target: str, fstype: str = "", flags: int = 0, options: str = "") -> None:
    """Attach a file system; flags and options as the system call takes them. Raises `MountFailed`."""
    data = options.encode()
    if len(data) > MAX_OPTIONS_BYTES:
        raise MountFailed(source, target, f"options of {len(data)} bytes exceed a page")
    result = LIBC.mount(os.fsencode(source), os.fsencode(target), fstype.encode() or None, flags, data or None)
    if result < 0:
        raise MountFailed(fstype or source, target, os.strerror(ctypes.get_errno()))


def unmount(target: str, flags: int = 0) -> bool:
    """Unmount `target`; False when nothing was mounted there."""
    try:
        check(LIBC.umount2(os.fsencode(target), flags), f"unmount {target}")
    except OSError as exc:
        if exc.errno in (errno.EINVAL, errno.ENOENT):
            return False
        raise SystemFault(str(exc.args[1])) from exc
    return True


def bind(source: str, target: str, *, recursive: bool = False) -> None:
    """Bind `source` onto the existing `target`."""
    mount(source, target, flags=MS_BIND | (MS_REC if recursive else 0))


def bind_open(fd: int, place: Path) -> None:
    """Bind what is open as `fd` to `place`, made as a directory or a file, whichever it takes."""
    make_place(place, directory=stat.S_ISDIR(os.fstat(fd).st_mode))
    mount(f"/proc/self/fd/{fd}", str(place), flags=MS_BIND | MS_REC)


def make_place(place: Path, *, directory: bool) -> None:
    """Make a directory or a file of our own to mount at; what was mounted there by a start that was killed goes."""
    place.parent.mkdir(parents=True, exist_ok=True)
    unmount(str(place), MNT_DETACH)
    if directory:
        if place.is_file():
            place.unlink()
        place.mkdir(exist_ok=True)
    else:
        if place.is_dir():
            place.rmdir()
        place.touch()


def overlay(lowers: tuple[str, ...], upper: str, work: str, target: str) -> None:
    """Mount an overlay; `lowers` has the topmost layer first (Documentation/filesystems/overlayfs.rst)."""
    try:
        _overlay(lowers, f",upperdir={upper},workdir={work}", 0, target)
    except MountFailed as exc:
        if why := _why_not_above(upper):
            raise MountFailed("overlay", target, f"{exc.reason.lower()}: {why}") from exc
        raise


def _why_not_above(upper: str) -> str:
    """Say why the kernel takes no upper layer at a path; empty if the file system there is not to blame."""
    above = [row for row in mount_table() if upper == row.target or upper.startswith(row.target.rstrip("/") + "/")]
    fstype = max(reversed(above), key=lambda row: len(row.target)).fstype if above else ""
    if fstype not in _NEVER_UPPER and not fstype.startswith("fuse"):
        return ""
    return (
        f"{upper} lies on {fstype}, which keeps no files of containers; "
        "put berthd's data-root on ext4, XFS, btrfs or tmpfs (in a container: on a volume)"
    )


def overlay_view(lowers: tuple[str, ...], empty: str, target: str) -> None:
    """Mount layers to be looked at only; `empty` is a directory without entries, since the kernel wants two layers."""
    _overlay((*lowers, empty), "", MS_RDONLY | MS_NODEV, target)


def _overlay(lowers: tuple[str, ...], more: str, flags: int, target: str) -> None:
    # Images of many layers exceed the page that mount(2) takes: their layers are then named from where they all lie,
    # by a thread with a working directory of its own, which ends with the mount.
    options = f"lowerdir={':'.join(lowers)}{more}"
    if len(options.encode()) <= MAX_OPTIONS_BYTES:
        mount("overlay", target, "overlay", flags, options)
        return
    base = os.path.commonpath(lowers)
    short = ":".join(os.path.relpath(lower, base) for lower in lowers)
    failed: list[Exception] = []

    def there() -> None:
        try:
            check(LIBC.unshare(CLONE_FS), "unshare(CLONE_FS)")
            os.chdir(base)
            mount("overlay", target, "overlay", flags, f"lowerdir={short}{more}")
        except (OSError, SystemFault) as exc:
            failed.append(exc)

    thread = threading.Thread(target=there, name="overlay")
    thread.start()
    thread.join()
    if failed:
        raise failed[0] if isinstance(failed[0], SystemFault) else MountFailed("overlay", target, str(failed[0]))


def mount_table(pid: str = "self") -> list[Mounted]:
    """Read the mount table of a process's mount namespace, oldest first."""
    table = []
    with open(f"/proc/{pid}/mountinfo", encoding="utf-8", errors="surrogateescape") as lines:
        for line in lines:
            left, _, right = line.partition(" - ")
            fields, tail = left.split(" "), right.split(" ")
            table.append(Mounted(_unescape(fields[4]), tail[0], _unescape(tail[1]), fields[5]))
    return table


def is_mounted(target: str) -> bool:
    """Tell whether something is mounted at `target`, without reading the table line by line where nothing is."""
    return super_options(target) is not None


def knows_type(fstype: str) -> bool:
    """Tell whether the kernel has a file system, its module loaded if need be (fsopen(2))."""
    try:
        fd = syscall(_SYS_FSOPEN, fstype.encode(), ctypes.c_uint(1))  # FSOPEN_CLOEXEC
    except OSError as exc:
        return exc.errno != errno.ENODEV
    os.close(fd)
    return True


def _unescape(text: str) -> str:
    for code, char in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        text = text.replace(code, char)
    return text
