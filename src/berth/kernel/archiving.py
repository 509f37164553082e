"""Makes archives of directories, and directories of archives, each in a process of its own.

A process and not a thread: the engine's memory and responsiveness stay as they are, a path on a server that is gone
hangs a process that can be killed, and an archive that is not to be trusted is read by one that sees nothing but the
directory it fills. The process and all it starts are killed when the engine dies.
Must not: know what a volume is.
"""

import asyncio
import contextlib
import fcntl
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, Final

import msgspec

from berth.base.errors import InvalidArgument, SystemFault
from berth.kernel import process

#: How long the process may say nothing, in seconds, before what it reads or writes counts as gone.
STALL_S: Final = 300.0
CHUNK: Final = 1 << 20
_ENVIRONMENT: Final = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8"}
_PACK: Final = str(Path(__file__).with_name("pack_child.py"))
_UNPACK: Final = str(Path(__file__).with_name("restore_child.py"))


class PackingFailed(SystemFault):
    """A directory could not be archived."""


class BadArchive(InvalidArgument):
    """An archive is damaged, hostile, or needs another key."""


class UnpackingFailed(SystemFault):
    """This machine could not take an archive."""


class Packing(msgspec.Struct, kw_only=True, omit_defaults=True):
    """What is to be archived, and how."""

    directory: str
    #: What the archive says of itself.
    head: Mapping[str, Any]
    #: ``zstd``, ``gzip`` or ``none``.
    pack: str = "zstd"
    level: int = 3
    threads: int = 1
    #: ``{"recipients": […]}`` of age, or ``{"passphrase": …}``.
    encrypt: dict[str, Any] | None = None
    #: The archive goes to a file (`Packer` sees to this), and is on its medium before it counts as made.
    sync: bool = False


class Unpacking(msgspec.Struct, kw_only=True, omit_defaults=True):
    """Where an archive is to be unpacked, and what it may cost. No directory: it is only verified."""

    directory: str = ""
    identity: str = ""
    passphrase: str = ""
    #: Bytes the archive may unpack to; 0 is any number there is room for.
    most: int = 0
    #: How many times its own size it may unpack to; 0 is any for ours, `foreign_ratio` for others.
    ratio: int = 0
    foreign_ratio: int = 1000
    #: So many bytes may come out before the ratio is looked at.
    ratio_from: int = 1 << 30


class Unpacked(msgspec.Struct, kw_only=True):
    """What was in an archive, all of it checked."""

    #: What a backup says of itself at its beginning and its end; None for an archive that is none of ours.
    head: dict[str, Any] | None = None
    end: dict[str, Any] | None = None
    files: int = 0
    bytes: int = 0
    members: int = 0
    #: Bytes of the archive.
    read: int = 0
    #: The one directory everything is in.
    prefix: str = ""
    notes: list[str] = []


class Packer:
    """One archive that is being made; `end` says what it holds once its pieces have been taken."""

    def __init__(self, want: Packing, *, to: int | None = None) -> None:
        """Start; `to` is a descriptor to write to, else `pieces` gives the archive."""
        want = msgspec.structs.replace(want, sync=to is not None)
        self._child = _start(_PACK, want, stdout=process.PIPE if to is None else to)
        self._said: dict[str, Any] = {}
        #: Files and bytes archived so far.
        self.seen: tuple[int, ...] = (0, 0)

    async def pieces(self) -> AsyncIterator[bytes]:
        """Yield the archive as it is made. Raises `PackingFailed` when something went wrong."""
        out = self._child.stdout
        assert out is not None
        fcntl.fcntl(out, fcntl.F_SETPIPE_SZ, CHUNK)
        listening = asyncio.ensure_future(self._listen())  # noqa: TID251  awaited below in every case
        try:
            stream = process.read_pipe(out.fileno(), CHUNK)
            while (piece := await _unless_stalled(anext(stream, b""))) != b"":
                yield piece
            await listening
        finally:
            await self._close(listening)
        self._check()

    async def wait(self) -> None:
        """Wait until an archive that goes to a descriptor is whole and on its medium. Raises `PackingFailed`."""
        listening = asyncio.ensure_future(self._listen())  # noqa: TID251  awaited below in every case
        try:
            await asyncio.shield(listening)
        finally:
            await self._close(listening)
        self._check()

    @property
    def end(self) -> dict[str, Any]:
        """What was archived: files, bytes, members, packed, perhaps ``changed``."""
        found: dict[str, Any] = self._said["end"]
        return found

    async def _listen(self) -> None:
        async for words in _lines(self._child):
            if "progress" in words:
                self.seen = tuple(words["progress"])
            else:
                self._said |= words

    async def _close(self, listening: "asyncio.Future[None]") -> None:
        await _end(self._child)
        with contextlib.suppress(asyncio.CancelledError):
            await listening

    def _check(self) -> None:
        if "end" not in self._said:
            raise PackingFailed(self._said.get("error") or "the process that made it was killed")


async def unpack(
    want: Unpacking,
    source: AsyncIterator[bytes],
    note_head: Callable[[dict[str, Any]], Awaitable[None]] | None = None,
) -> Unpacked:
    """Unpack or verify an archive to its end; `note_head` hears early what a backup says of itself, and may raise.

    Raises `BadArchive`, `UnpackingFailed`; what was made by then is left to the caller.
    """
    child = _start(_UNPACK, want, stdin=process.PIPE)
    assert child.stdin is not None
    fcntl.fcntl(child.stdin, fcntl.F_SETPIPE_SZ, CHUNK)
    said: dict[str, Any] = {}

    async def listen() -> None:
        try:
            async for words in _lines(child):
                said.update(words)
                if "head" in words and note_head is not None:
                    await note_head(words["head"])
        except BaseException:
            child.kill()
            raise

    listening = asyncio.ensure_future(listen())  # noqa: TID251  awaited below in every case
    try:
        async for piece in source:
            if not await process.write_all(child.stdin.fileno(), piece):
                break
        child.stdin.close()
        await listening
    except BaseException:
        child.kill()
        raise
    finally:
        await _end(child)
        if not listening.done():
            listening.cancel()
        with contextlib.suppress(BaseException):
            await listening
    if "ok" in said:
        return msgspec.convert(said["ok"], Unpacked)
    if "bad" in said:
        raise BadArchive(str(said["bad"]))
    raise UnpackingFailed(str(said.get("failed") or "the process that unpacked it was killed"))


def _start(
    program: str,
    want: msgspec.Struct,
    *,
    stdin: process.Stdio = process.DEVNULL,
    stdout: process.Stdio = process.DEVNULL,
) -> process.Child:
    # The children run without the site module; where packages are is told to them.
    told = {**msgspec.to_builtins(want), "path": [path for path in sys.path if path.endswith("-packages")]}
    for field in want.__struct_fields__:
        told.setdefault(field, getattr(want, field))
    held = os.memfd_create("request", 0)
    try:
        os.write(held, msgspec.json.encode(told))
        os.lseek(held, 0, os.SEEK_SET)
        argv = process.ending_with_us((sys.executable, "-I", "-S", program, str(held)))
        return process.spawn(
            argv, stdin=stdin, stdout=stdout, stderr=process.PIPE, env=_ENVIRONMENT, pass_fds=(held,), new_session=True
        )
    finally:
        os.close(held)


async def _lines(child: process.Child) -> AsyncIterator[dict[str, Any]]:
    assert child.stderr is not None
    rest = b""
    async for piece in process.read_pipe(child.stderr.fileno()):
        *lines, rest = (rest + piece).split(b"\n")
        for line in lines:
            if line.startswith(b"{"):
                yield msgspec.json.decode(line)
            elif line:
                yield {"error": line.decode(errors="replace")}  # the last line of a traceback says most


async def _unless_stalled(work: Awaitable[bytes]) -> bytes:
    try:
        async with asyncio.timeout(STALL_S):
            return await work
    except TimeoutError:
        raise PackingFailed(f"nothing could be read for {STALL_S:g} s; is the server reachable?") from None


async def _end(child: process.Child) -> None:
    """End the process, if it has not ended by itself, and close our ends of its pipes."""
    child.kill()
    await child.wait()
    for pipe in (child.stdin, child.stdout, child.stderr):
        if pipe is not None:
            with contextlib.suppress(OSError):
                pipe.close()
