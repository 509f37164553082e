"""Loop devices: a file as a block device, for as long as somebody has it open or mounted.

Every device is made to clear itself (LO_FLAGS_AUTOCLEAR): it goes with the last mount or descriptor, so that no crash
leaves one behind. A file that has a device already gets that one: two devices on one file would be two caches, and a
file system mounted through both is lost. Blocking. Standard library only: a helper process uses it too.
"""

import contextlib
import errno
import fcntl
import os
import stat
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

# linux/loop.h
_GET_STATUS64: Final = 0x4C05
_SET_CAPACITY: Final = 0x4C07
_SET_DIRECT_IO: Final = 0x4C08
_CONFIGURE: Final = 0x4C0A
_CTL_GET_FREE: Final = 0x4C82
_READ_ONLY: Final = 1
_AUTOCLEAR: Final = 4
#: struct loop_info64: device, inode, … flags, names, keys.
_INFO: Final = struct.Struct("=QQQQQIIII64s64s32sQQ")
#: struct loop_config around it: descriptor, block size; eight reserved words.
_CONFIG: Final = struct.Struct(f"=II{_INFO.size}s64x")
_CONTROL: Final = "/dev/loop-control"
#: Major number of loop devices (Documentation/admin-guide/devices.txt).
_MAJOR: Final = 7
#: How often a free device is asked for before somebody else has taken it each time.
_TRIES: Final = 32
_NAME_BYTES: Final = 63


class NoLoopDevices(OSError):
    """The kernel has none, or none may be made here."""


@contextmanager
def attached(path: str, *, read_only: bool = False) -> Iterator[tuple[str, int]]:
    """Lend a device of the file `path`, as its path and a descriptor; it stays afterwards if something mounted it.

    Raises `NoLoopDevices`, `OSError`.
    """
    backing = os.open(path, (os.O_RDONLY if read_only else os.O_RDWR) | os.O_CLOEXEC)
    try:
        number, device = _existing(backing) or _configured(backing, path, read_only=read_only)
    finally:
        os.close(backing)
    try:
        yield f"/dev/loop{number}", device
    finally:
        os.close(device)


def of_file(path: str) -> str:
    """Return the device that a file has now; empty if it has none."""
    backing = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        found = _existing(backing)
    finally:
        os.close(backing)
    if found is None:
        return ""
    os.close(found[1])
    return f"/dev/loop{found[0]}"


def follow_size(device: int) -> None:
    """Let a device have the size that its file has now."""
    fcntl.ioctl(device, _SET_CAPACITY)


def _existing(backing: int) -> tuple[int, int] | None:
    want = os.fstat(backing)
    for entry in Path("/sys/block").glob("loop*/loop/backing_file"):
        number = int(entry.parts[3].removeprefix("loop"))
        try:
            device = _open(number)
        except OSError:
            continue
        try:
            info = _INFO.unpack(fcntl.ioctl(device, _GET_STATUS64, bytes(_INFO.size)))
        except OSError:  # cleared meanwhile
            os.close(device)
            continue
        if info[:2] == (want.st_dev, want.st_ino):
            return number, device  # kept open: it cannot clear itself any more
        os.close(device)
    return None


def _configured(backing: int, path: str, *, read_only: bool) -> tuple[int, int]:
    try:
        control = os.open(_CONTROL, os.O_RDWR | os.O_CLOEXEC)
    except OSError as exc:
        raise NoLoopDevices(
            exc.errno, f"this machine has no loop devices ({_CONTROL}: {exc.strerror}); load them with: modprobe loop"
        ) from None
    flags = _AUTOCLEAR | (_READ_ONLY if read_only else 0)
    name = os.fsencode(path)[:_NAME_BYTES]
    info = _INFO.pack(0, 0, 0, 0, 0, 0, 0, 0, flags, name, b"", b"", 0, 0)
    try:
        for _ in range(_TRIES):
            number = fcntl.ioctl(control, _CTL_GET_FREE)
            device = _open(number)
            try:
                fcntl.ioctl(device, _CONFIGURE, _CONFIG.pack(backing, 0, info))
            except OSError as exc:
                os.close(device)
                if exc.errno == errno.EBUSY:  # somebody else was quicker
                    continue
                raise
            # Spares a second copy in the page cache; not every file system below can.
            with contextlib.suppress(OSError):
                fcntl.ioctl(device, _SET_DIRECT_IO, 1)
            return number, device
    finally:
        os.close(control)
    raise NoLoopDevices(errno.EBUSY, f"no free loop device found in {_TRIES} tries")


def _open(number: int) -> int:
    path = f"/dev/loop{number}"
    try:
        return os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:  # where /dev is not the kernel's own
        with contextlib.suppress(FileExistsError):
            os.mknod(path, 0o600 | stat.S_IFBLK, os.makedev(_MAJOR, number))
        return os.open(path, os.O_RDWR | os.O_CLOEXEC)
