"""Mounts whose server may be gone: every call on them runs in a helper process that can be killed.

On a dead NFS server mount, umount, statvfs, even a plain stat hang their caller for good; the engine itself never
touches such a path. Whether an unmount worked is read from the mount table, whatever the helper said.
Must not: be used for paths on the machine's own disks, where a thread is cheaper.
"""

import asyncio
import contextlib
import errno
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from berth.base.errors import SystemFault
from berth.kernel import process
from berth.kernel.mount import is_mounted

#: How long a mount may take, in seconds; moby gives volume plugins the same two minutes.
MOUNT_TIMEOUT_S: Final = 120.0
#: How long a mere look may take, in seconds; a server that starts again needs some.
LOOK_TIMEOUT_S: Final = 30.0
#: How long an unmount may take, in seconds, before the mount is detached and left to the kernel.
UNMOUNT_TIMEOUT_S: Final = 10.0
_CHILD: Final = str(Path(__file__).with_name("foreign_child.py"))
#: Where the program finds the options of a mount in its environment.
_DATA: Final = "BERTH_MOUNT_DATA"


class ForeignMountFailed(SystemFault):
    """The kernel refused, or did not answer in time; `reason` is the kernel's word in Docker's spelling."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class NoAnswer(SystemFault):
    """A file system did not answer in time: its server is gone, or the process that serves it hangs."""

    def __init__(self, path: str, timeout_s: float) -> None:
        super().__init__(
            f"{path} does not answer: no reply of its file system within {timeout_s:g} s. "
            f"Is its server up? See where it comes from with: findmnt --target {path}"
        )


class Looked(NamedTuple):
    """What is at a path."""

    directory: bool
    read_only: bool
    exists: bool = True


class _Said(msgspec.Struct):
    errno: int = 0
    why: str = ""
    directory: bool = False
    read_only: bool = False


async def mount(
    source: str, target: str, fstype: str, flags: int, data: str, *, timeout_s: float, loop: bool = False
) -> None:
    """Mount, in a process of its own; with `loop` through a loop device of `source`. Raises `ForeignMountFailed`."""
    try:
        # Not among the arguments, which everybody on the machine can read: options may hold a password.
        secret = {_DATA: data} if data else {}
        said = await _ask(("mount-loop" if loop else "mount", source, target, fstype, str(flags)), timeout_s, secret)
    except process.ProgramTimedOut:
        raise ForeignMountFailed(f"no answer within {timeout_s:g} s; is the server reachable?") from None
    if said.errno:
        raise ForeignMountFailed(said.why or os.strerror(said.errno).lower())


async def unmount(target: str, *, timeout_s: float = UNMOUNT_TIMEOUT_S) -> bool:
    """Unmount, in a process of its own, by force if it takes too long; True if it is gone from the mount table."""
    if not await asyncio.to_thread(is_mounted, target):
        return True
    for how in ("unmount", "detach"):
        with contextlib.suppress(process.ProgramTimedOut, ForeignMountFailed):  # the mount table decides
            await _ask((how, target), timeout_s)
        if not await asyncio.to_thread(is_mounted, target):
            return True
    return False


async def look(path: str, *, timeout_s: float) -> Looked:
    """Look what is at `path`, asking its file system and not the cache. Raises `NoAnswer`, `ForeignMountFailed`."""
    try:
        said = await _ask(("look", path), timeout_s)
    except process.ProgramTimedOut:
        raise NoAnswer(path, timeout_s) from None
    if said.errno in (errno.ENOENT, errno.ENOTDIR):
        return Looked(directory=False, read_only=False, exists=False)
    if said.errno:
        raise ForeignMountFailed(f"{path}: {os.strerror(said.errno).lower()}")
    return Looked(directory=said.directory, read_only=said.read_only)


async def check_inside(root: str, path: str, *, timeout_s: float) -> None:
    """Return if the file system of `path`, as seen from the root directory `root`, answers. Raises `NoAnswer`.

    What else is wrong with the path is for those to say who open it.
    """
    try:
        await _ask(("look-inside", root, path), timeout_s)
    except process.ProgramTimedOut:
        raise NoAnswer(path, timeout_s) from None


async def make_directories(path: str, *, timeout_s: float) -> None:
    """Make a directory and those above it, mode 0755. Raises `NoAnswer`, `ForeignMountFailed`."""
    try:
        said = await _ask(("mkdir", path), timeout_s)
    except process.ProgramTimedOut:
        raise NoAnswer(path, timeout_s) from None
    if said.errno:
        raise ForeignMountFailed(f"error while creating mount source path '{path}': {os.strerror(said.errno).lower()}")


async def fill(root: str, target: str, data: str, marker: str, *, timeout_s: float) -> None:
    """Copy an image's content into a foreign mount; see `berth.kernel.copyup.fill`. Raises `ForeignMountFailed`."""
    try:
        said = await _ask(("fill", root, target, data, marker), timeout_s)
    except process.ProgramTimedOut:
        raise ForeignMountFailed(f"copying the image's content did not end within {timeout_s:g} s") from None
    if said.errno:
        raise ForeignMountFailed(f"copying the image's content: {os.strerror(said.errno).lower()}")


async def pin(source: str, subpath: str, place: str, *, timeout_s: float) -> bool:
    """Bind part of a foreign mount to `place`; True if it is a directory. Raises `ForeignMountFailed`."""
    try:
        said = await _ask(("pin", source, subpath, place), timeout_s)
    except process.ProgramTimedOut:
        raise ForeignMountFailed(f"{source}/{subpath}: no answer within {timeout_s:g} s") from None
    if said.errno:
        raise ForeignMountFailed(f"cannot open {subpath} in {source}: {os.strerror(said.errno).lower()}")
    return said.directory


async def _ask(args: tuple[str, ...], timeout_s: float, env: Mapping[str, str] | None = None) -> _Said:
    """Have the program do something. Raises `ForeignMountFailed` if it ends before it has said how that went."""
    try:
        answer = await process.run((sys.executable, "-I", "-S", _CHILD, *args), timeout_s=timeout_s, env=env or {})
    except process.ProgramFailed as exc:
        raise ForeignMountFailed(f"the process that was to do it ({args[0]}) {exc.how}") from exc
    return msgspec.json.decode(answer.stdout, type=_Said)
