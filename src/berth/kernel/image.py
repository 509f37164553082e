"""A file system in a file: made, mounted, grown while it is mounted, replaced by a smaller one.

The file is sparse: it takes on the disk what was written, and gives back what is deleted. Until a new one is whole it
has another name, and programs that write to one die with the engine, so that a crash leaves a whole file or one to
be thrown away. Must not: know volumes.
"""

import contextlib
import ctypes
import fcntl
import os
import struct
from pathlib import Path
from typing import Final, NamedTuple

from berth.base.aio import in_thread
from berth.base.errors import SystemFault
from berth.base.ownership import Owner
from berth.kernel import fsmount, loop, process
from berth.kernel import mount as kernel_mount
from berth.kernel.files import sync_filesystem
from berth.kernel.libc import LIBC, check

#: How long mkfs may take, in seconds; it takes a tenth of one.
MAKE_LIMIT_S: Final = 120.0
#: How long content may take to move into a smaller file system, in seconds.
COPY_LIMIT_S: Final = 24 * 3600.0
BLOCK_BYTES: Final = 4096
#: In which stat(2) counts what a file has of its disk.
_SECTOR_BYTES: Final = 512
#: Options of mount(8): what is deleted is given back; a clone has the identity of what it was made from.
_OPTIONS: Final = {"ext4": ("discard",), "xfs": ("discard", "nouuid")}
#: linux/ext4.h: EXT4_IOC_RESIZE_FS, _IOW('f', 16, __u64).
_EXT4_RESIZE: Final = 0x40086610
#: xfs_fs.h: XFS_IOC_FSGROWFSDATA, _IOW('X', 110, struct xfs_growfs_data).
_XFS_GROW: Final = 0x4010586E
#: The greatest share of XFS that inodes may take, in per cent; what mkfs.xfs gives file systems below a terabyte.
_XFS_INODES: Final = 25


class ImageFailed(SystemFault):
    """A file with a file system could not be made or changed."""

    def __init__(self, what: str, path: Path, reason: str) -> None:
        super().__init__(f"{what} {path}: {reason}")
        self.reason = reason


class NotPermitted(ImageFailed):
    """The kernel wants a capability for it that this process does not have."""


class Space(NamedTuple):
    """How much a file system holds for files and how much of that is taken, in bytes."""

    total: int
    used: int

    @classmethod
    def at(cls, place: str | int) -> "Space":
        """Ask a file system of this machine. What it keeps back for itself holds no files, as in df(1)."""
        seen = os.statvfs(place)
        used = seen.f_blocks - seen.f_bfree
        return cls((used + seen.f_bavail) * seen.f_frsize, used * seen.f_frsize)


async def make(path: Path, length: int, fstype: str, owner: Owner, *, reserve: bool = False) -> None:
    """Make a file system in a new file of `length` bytes, empty but for its root. Raises `ImageFailed`.

    With `reserve` the disk has room for all of it from now on; without, only for what is in it.
    """
    try:
        await in_thread(_allot, path, length, reserve)
        await process.run(process.ending_with_us(_mkfs(path, length, fstype)), timeout_s=MAKE_LIMIT_S)
        await in_thread(_dress, path, fstype, owner)
        if reserve:  # what those who made the file system have given back
            await in_thread(reserve_all, path)
    except BaseException as exc:
        await in_thread(path.unlink, missing_ok=True)
        if isinstance(exc, OSError):
            raise ImageFailed("make", path, _words(exc)) from exc
        if isinstance(exc, process.ProgramFailed):
            raise ImageFailed("make", path, _full(path) or exc.said.strip() or f"mkfs {exc.how}") from exc
        raise


def mount(path: Path, fstype: str, target: str, *, reserve: bool = False) -> None:
    """Mount the file system in a file at `target`; with `reserve` it gives nothing back. Raises `ImageFailed`."""
    options = [one for one in _OPTIONS[fstype] if not (reserve and one == "discard")]
    try:
        with loop.attached(str(path)) as (device, _):
            kernel_mount.mount(device, target, fstype, 0, ",".join(options))
    except kernel_mount.MountFailed as exc:
        raise ImageFailed("mount", path, exc.reason.lower()) from exc
    except OSError as exc:
        raise ImageFailed("mount", path, _words(exc)) from exc


def reserve_all(path: Path) -> None:
    """Have the disk keep room for all of a file. Raises `OSError`."""
    fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    try:
        os.posix_fallocate(fd, 0, os.fstat(fd).st_size)
    finally:
        os.close(fd)


def room(path: Path) -> tuple[int, int]:
    """Return how long a file is, and how much of the disk it has."""
    seen = path.stat()
    return seen.st_size, seen.st_blocks * _SECTOR_BYTES


def grow(path: Path, length: int, fstype: str, *, reserve: bool = False) -> None:
    """Let a file and the file system in it have `length` bytes, mounted or not. Raises `ImageFailed`.

    On failure both are what they were, or the file system has grown in part and is whole. May be repeated.
    """
    before, grown = path.stat().st_size, False
    try:
        with loop.attached(str(path)) as (device, fd):
            try:
                if length > before:
                    os.truncate(path, length)
                    if reserve:
                        reserve_all(path)
                loop.follow_size(fd)
                with fsmount.mounted(device, fstype, _OPTIONS[fstype]) as root:
                    blocks = os.statvfs(root).f_blocks
                    try:
                        _grow_mounted(root, length, fstype)
                    finally:
                        grown = os.statvfs(root).f_blocks != blocks
            except BaseException:
                if not grown and length > before:
                    os.truncate(path, before)
                    loop.follow_size(fd)
                raise
        _sync(path)
    except PermissionError as exc:
        raise NotPermitted("grow", path, "CAP_SYS_RESOURCE is missing") from exc
    except OSError as exc:
        raise ImageFailed("grow", path, _words(exc)) from exc


async def copy(source: Path, into: Path, fstype: str) -> None:
    """Copy everything in one file system into another that is empty; neither is mounted. Raises `ImageFailed`."""
    with contextlib.ExitStack() as stack:
        try:
            roots = [await in_thread(_entered, stack, path, fstype) for path in (source, into)]
            ours = f"/proc/{os.getpid()}/fd"
            argv = ["cp", "--archive", "--sparse=auto", f"{ours}/{roots[0]}/.", f"{ours}/{roots[1]}/"]
            await process.run(process.ending_with_us(argv), timeout_s=COPY_LIMIT_S)
            await in_thread(sync_filesystem, Path(f"/proc/self/fd/{roots[1]}"))
        except OSError as exc:
            raise ImageFailed("copy", source, _words(exc)) from exc
        except process.ProgramFailed as exc:
            raise ImageFailed("copy", source, exc.said.strip().rpartition("\n")[2] or f"cp {exc.how}") from exc
    await in_thread(_sync, into)


def space(path: Path) -> Space:
    """Read how much a file system holds that is not mounted, by its first blocks."""
    with path.open("rb") as file:
        start = file.read(2048)
    if start[:4] == b"XFSB":
        block, blocks = struct.unpack_from(">IQ", start, 4)
        total = blocks - struct.unpack_from(">I", start, 96)[0]  # the log takes no files
        return Space(total * block, (total - struct.unpack_from(">Q", start, 144)[0]) * block)
    start = start[1024:]
    block = 1024 << struct.unpack_from("<I", start, 0x18)[0]
    blocks, free = (
        struct.unpack_from("<I", start, low)[0] | struct.unpack_from("<I", start, high)[0] << 32
        for low, high in ((0x4, 0x150), (0xC, 0x158))
    )
    total = blocks - struct.unpack_from("<I", start, 0x248)[0]
    # The kernel keeps back what writes that were promised may need (fs/ext4/super.c, reserved clusters).
    return Space((total - min(blocks // 50, 4096)) * block, (total - free) * block)


def cut(path: Path, length: int) -> None:
    """Take back what a file was given and its ext4 file system did not grow into; else nothing happens."""
    with path.open("rb") as file:
        start = file.read(2048)[1024:]
    low, high = struct.unpack_from("<I", start, 0x4)[0], struct.unpack_from("<I", start, 0x150)[0]
    if (low | high << 32) * (1024 << struct.unpack_from("<I", start, 0x18)[0]) <= length < path.stat().st_size:
        with loop.attached(str(path)) as (_, fd):
            os.truncate(path, length)
            loop.follow_size(fd)


def kind(path: Path) -> str:
    """Return which file system a file has, by its first blocks; empty if it is none of ours."""
    with path.open("rb") as file:
        start = file.read(2048)
    if start[:4] == b"XFSB":
        return "xfs"
    return "ext4" if start[0x438:0x43A] == b"\x53\xef" else ""


def _entered(stack: contextlib.ExitStack, path: Path, fstype: str) -> int:
    device, _ = stack.enter_context(loop.attached(str(path)))
    return stack.enter_context(fsmount.mounted(device, fstype, _OPTIONS[fstype]))


def _mkfs(path: Path, length: int, fstype: str) -> list[str]:
    if fstype == "xfs":
        return ["mkfs.xfs", "-q", "-f", str(path)]
    journal = min(max(length // (64 << 20), 4), 64)
    # One inode per 16 KiB however small it is; a sparse file needs no zeros written, now or later.
    return [
        "mkfs.ext4", "-q", "-F", "-m", "0", "-b", str(BLOCK_BYTES), "-i", "16384", "-I", "256", "-J", f"size={journal}",
        "-E", "lazy_itable_init=0,lazy_journal_init=0", str(path),
    ]  # fmt: skip


def _allot(path: Path, length: int, reserve: bool = False) -> None:  # noqa: FBT001, FBT002  for a thread
    path.unlink(missing_ok=True)
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        os.ftruncate(fd, length)
        if reserve:
            os.posix_fallocate(fd, 0, length)
    finally:
        os.close(fd)


def _dress(path: Path, fstype: str, owner: Owner) -> None:
    with loop.attached(str(path)) as (device, _), fsmount.mounted(device, fstype, _OPTIONS[fstype]) as root:
        with contextlib.suppress(FileNotFoundError):  # an image's content only fills what is empty
            os.rmdir("lost+found", dir_fd=root)
        os.fchown(root, owner.uid or 0, owner.gid or 0)
        os.fchmod(root, 0o755 if owner.mode is None else owner.mode)
        check(LIBC.syncfs(ctypes.c_int(root)), "syncfs")
    _sync(path)


def _grow_mounted(root: int, length: int, fstype: str) -> None:
    blocks = length // BLOCK_BYTES
    request = struct.pack("=QI4x", blocks, _XFS_INODES) if fstype == "xfs" else struct.pack("=Q", blocks)
    fcntl.ioctl(root, _XFS_GROW if fstype == "xfs" else _EXT4_RESIZE, request)
    check(LIBC.syncfs(ctypes.c_int(root)), "syncfs")


def _sync(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _full(path: Path) -> str:
    """Say if it is the disk's end that a program has met."""
    seen = os.statvfs(path.parent)
    return f"no space left on device: {path.parent} is full" if seen.f_bavail * seen.f_frsize < 1 << 20 else ""


def _words(exc: OSError) -> str:
    return (exc.strerror or str(exc)).lower() if not isinstance(exc, loop.NoLoopDevices) else str(exc.strerror)
