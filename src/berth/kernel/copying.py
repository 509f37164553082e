"""Copies trees in a program of its own, which can be killed: the engine goes on meanwhile, also if a server is gone.

The program dies with the engine. One that says nothing for `STALL_LIMIT_S` seconds is killed: a hanging mount.
"""

import asyncio
import contextlib
import errno
import os
import subprocess
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Final

import msgspec

from berth.base.errors import SystemFault
from berth.kernel import process

#: How long a copy may make no progress, in seconds; as long as a mount may take (`foreign.MOUNT_TIMEOUT_S`).
STALL_LIMIT_S: Final = 120.0
_CHILD: Final = str(Path(__file__).with_name("treecopy_child.py"))


class TreeNotCopied(SystemFault):
    """A tree could not be copied; `full` says that the disk was."""

    def __init__(self, path: str, why: str, number: int = 0) -> None:
        super().__init__(f"{path}: {why}" if path else why)
        self.full = number in (errno.ENOSPC, errno.EDQUOT)


class Copied(msgspec.Struct, frozen=True, kw_only=True):
    """What the program says: how far it is, and at the end how it was done, or why not."""

    #: "btrfs snapshot", "reflinks", "copy", …; empty when `instant` was asked for and cannot be.
    how: str = ""
    entries: int = 0
    bytes: int = 0
    #: Entries that were removed while the copy was made.
    vanished: int = 0
    errno: int = 0
    why: str = ""
    path: str = ""


def _unheard(_: Copied) -> None:
    return


async def copy_tree(
    source: Path,
    new: Path,
    *,
    verb: str = "copy",
    stall_limit_s: float = STALL_LIMIT_S,
    told: Callable[[Copied], None] = _unheard,
) -> Copied:
    """Copy `source` to the directory `new`, which is made; what is left of it after an error is the caller's.

    `verb` is ``copy``, ``instant``, ``plain`` or ``into``, for a directory that is there (`treecopy_child`).
    Raises `TreeNotCopied`.
    """
    last = Copied()
    argv = (_CHILD, verb, str(source), str(new))
    async with contextlib.aclosing(told_by(argv, str(source), stall_limit_s)) as lines:
        async for line in lines:
            last = msgspec.json.decode(line, type=Copied)
            told(last)
    if last.errno:
        raise TreeNotCopied(last.path, last.why, last.errno)
    return last


async def told_by(argv: Sequence[str], at: str, stall_limit_s: float) -> AsyncGenerator[bytes, None]:
    """Run one of the programs here and yield the lines it says; it is killed when nobody listens any more.

    Raises `TreeNotCopied`, which names `at`, if it says nothing for too long or fails.
    """
    child = process.spawn(
        process.ending_with_us([sys.executable, "-I", "-S", *argv]), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert child.stdout is not None
    assert child.stderr is not None
    try:
        async for line in _lines(child.stdout.fileno(), stall_limit_s):
            yield line
        async with asyncio.timeout(stall_limit_s):
            status = await child.wait()
        if status:
            said = _heard(child.stderr.fileno())
            raise TreeNotCopied(at, f"the process at work {process.ended(status)}{f': {said}' if said else ''}")
    except TimeoutError:
        why = f"nothing could be copied for {stall_limit_s:g} s; is a server it is on reachable?"
        raise TreeNotCopied(at, why) from None
    finally:
        child.kill()
        with contextlib.suppress(TimeoutError):  # one that hangs in the kernel is reaped when that lets it go
            async with asyncio.timeout(2):
                await child.wait()
        child.stdout.close()
        child.stderr.close()


def _heard(fd: int) -> str:
    """Return what a program said last; it may still be there."""
    os.set_blocking(fd, False)
    try:
        return os.read(fd, 65_536).decode(errors="replace").strip()[-500:]
    except BlockingIOError:
        return ""


async def _lines(fd: int, limit_s: float) -> AsyncIterator[bytes]:
    """Yield the lines of a pipe as they come. Raises `TimeoutError` if none comes for too long."""
    left = b""
    pieces = process.read_pipe(fd)
    while True:
        async with asyncio.timeout(limit_s):
            piece = await anext(pieces, None)
        if piece is None:
            return
        *whole, left = (left + piece).split(b"\n")
        for line in whole:
            yield line
