"""Files in and out of containers (docker cp), and whole root file systems (docker export).

A running container is entered by its own mount namespace, so that volumes are seen as it sees them; one that does not
run is mounted for as long as it takes. Names are resolved inside the root, whatever symlinks say. GNU tar packs: it
walks by descriptors and follows no link; unpacking is `kernel.unpack`.
"""

import asyncio
import base64
import json
import os
import posixpath
import stat
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Final

import msgspec

from berth.base.aio import in_thread
from berth.base.errors import NotFound, SystemFault
from berth.containers.announce import Announce
from berth.containers.execs.spec import identity
from berth.containers.model import ContainerRecord
from berth.kernel import foreign, process
from berth.kernel.pidfd import start_ticks
from berth.kernel.rootfiles import LENIENT_TAR, NOT_CONTENT, Wanted, escaped, followed, go_mode, go_time, packing
from berth.kernel.rootpath import open_inside
from berth.kernel.unpack import Unpacker
from berth.volumes.mounts.model import MountPoint

Find = Callable[[str], ContainerRecord]
#: Tells which mount points have a source that may hang.
MayHang = Callable[[Sequence[MountPoint]], Awaitable[Sequence[MountPoint]]]
#: Mounts a container that does not run, volumes included, and gives its root directory; None for one that runs.
Mounted = Callable[[ContainerRecord], AbstractAsyncContextManager[Path | None]]
#: Waits until the end of a container's process is on record.
Ended = Callable[[str], Awaitable[None]]

#: Name of the header that carries a file's description.
STAT_HEADER: Final = "X-Docker-Container-Path-Stat"
#: What tar returns when a file changed while it was read.
_TAR_DIFFERS: Final = 1


class NoSuchFile(NotFound):
    """The path does not exist in the container."""

    def __init__(self, path: str, name: str) -> None:
        super().__init__(f"Could not find the file {path} in container {name}")


class NotADirectory(SystemFault):
    """What is to be unpacked into, or ends in a slash, is no directory."""


class ReadOnly(SystemFault):
    """The place may not be written to."""


class PathStat(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What is known of a file, as clients are told; `mode` in Go's bits."""

    name: str
    size: int
    mode: int
    mtime: str
    link_target: str = ""

    def header(self) -> str:
        """Encode it for the header."""
        return base64.b64encode(json.dumps(msgspec.to_builtins(self)).encode()).decode()  # a name need not be UTF-8


class Archives:
    """Copies files in and out of containers."""

    def __init__(
        self,
        *,
        find: Find,
        mounted: Mounted,
        ended: Ended,
        may_hang: MayHang,
        answer_limit_s: float,
        announce: Announce,
    ) -> None:
        self._find = find
        self._announce = announce
        self._mounted = mounted
        self._ended = ended
        self._may_hang = may_hang
        self._answer_limit_s = answer_limit_s

    async def stat(self, ref: str, path: str) -> PathStat:
        """Describe a file. Raises `NoSuchFile`."""
        record, wanted = self._find(ref), Wanted.parse(path)
        async with self._root(record, wanted.path) as root:
            return await in_thread(_stat, root, wanted, path, record.name)

    @asynccontextmanager
    async def get(self, ref: str, path: str) -> AsyncIterator[tuple[PathStat, AsyncIterator[bytes]]]:
        """Lend the description of a path and a tar of it."""
        record, wanted = self._find(ref), Wanted.parse(path)
        async with self._root(record, wanted.path) as root:
            described = await in_thread(_stat, root, wanted, path, record.name)
            with packing(root, wanted) as (place, args):
                self._announce(record, "archive-path")
                yield described, _tar(place, args)

    async def put(self, ref: str, path: str, body: AsyncIterable[bytes], *, keep_kinds: bool, as_user: bool) -> None:
        """Unpack a tar into a directory of the container.

        `keep_kinds`: no directory takes the place of something else, or the other way round. `as_user`: all belongs
        to the container's user. Raises `NoSuchFile`, `NotADirectory`, `ReadOnly`.
        """
        record, wanted = self._find(ref), Wanted.parse(path)
        async with self._root(record, wanted.path) as root:
            place = await in_thread(_directory, root, wanted, path, record)
            who = identity(root, record, record.config.user) if as_user and record.config.user else None
            owner = (who.uid, who.gid) if who is not None else None
            await _fed(body, Unpacker(root, place, keep_kinds=keep_kinds, owner=owner))
        self._announce(record, "extract-to-dir")

    @asynccontextmanager
    async def export(self, ref: str) -> AsyncIterator[AsyncIterator[bytes]]:
        """Lend a tar of the root file system, without volumes."""
        record = self._find(ref)
        async with self._root(record) as root:
            place = os.open(f"/proc/self/fd/{root}", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                names = sorted(os.listdir(place))
                outside = [point.target.lstrip("/") for point in record.mounts]
                skipped = [f"--exclude={escaped(name)}/*" for name in (*NOT_CONTENT, *outside)]
                self._announce(record, "export")
                yield _tar(place, ["--anchored", *skipped, "--", *names] if names else ["--files-from=/dev/null"])
            finally:
                os.close(place)

    @asynccontextmanager
    async def _root(self, record: ContainerRecord, wanted: str = "/") -> AsyncIterator[int]:
        """Lend a descriptor of the container's root directory, in which `wanted` is on a file system that answers."""
        while True:  # it may end, or start, before its turn has come
            if record.running:
                fd = _entered(record)
                if fd is None:
                    await self._ended(record.id)
                    record = self._find(record.id)
                    continue
                try:
                    await self._check_answers(record, f"/proc/{record.pid}/root", wanted)
                    yield fd
                finally:
                    os.close(fd)
                return
            async with self._mounted(record) as place:
                if place is None:
                    record = self._find(record.id)
                    continue
                await self._check_answers(record, str(place), wanted)
                fd = os.open(place, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
                try:
                    yield fd
                finally:
                    os.close(fd)
                return

    async def _check_answers(self, record: ContainerRecord, root: str, wanted: str) -> None:
        """Raise before a thread of ours would wait for a dead server, which no one could end."""
        if await self._may_hang(record.mounts):
            await foreign.check_inside(root, wanted, timeout_s=self._answer_limit_s)


def _entered(record: ContainerRecord) -> int | None:
    """Return a descriptor of a running container's root directory; None if its process is gone."""
    try:
        fd = os.open(f"/proc/{record.pid}/root", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        return None
    if start_ticks(record.pid) == record.pid_started:
        return fd
    os.close(fd)  # another process has its pid by now
    return None


def _stat(root: int, wanted: Wanted, asked: str, container: str) -> PathStat:
    try:
        if wanted.through:
            fd = open_inside(root, wanted.path)
            try:
                found = os.fstat(fd)
            finally:
                os.close(fd)
        else:
            directory, name = posixpath.split(wanted.path)
            fd = open_inside(root, directory, os.O_PATH | os.O_DIRECTORY)
            try:
                found = os.stat(name, dir_fd=fd, follow_symlinks=False)
            finally:
                os.close(fd)
    except (FileNotFoundError, NotADirectoryError):
        raise NoSuchFile(asked, container) from None
    except OSError as exc:
        raise SystemFault(f"{asked}: {exc.strerror}") from None
    if wanted.through and not stat.S_ISDIR(found.st_mode):
        raise NotADirectory(f"{asked}: not a directory")
    link = followed(root, wanted.path) if stat.S_ISLNK(found.st_mode) else ""
    return PathStat(
        name=wanted.name, size=found.st_size, mode=go_mode(found.st_mode), mtime=go_time(found.st_mtime_ns),
        link_target=link,
    )  # fmt: skip


async def _tar(place: int, args: Sequence[str]) -> AsyncIterator[bytes]:
    """Yield what tar makes of files below a directory."""
    reader, writer = os.pipe2(os.O_CLOEXEC)
    try:
        try:
            child = process.spawn(
                [*LENIENT_TAR, f"--directory=/proc/self/fd/{place}", *args], stdout=writer, pass_fds=(place,)
            )
        finally:
            os.close(writer)
        try:
            async for piece in process.read_pipe(reader, 256 * 1024):
                yield piece
        except BaseException:
            child.kill()
            await child.wait()
            raise
        code = await child.wait()
        if code not in (0, _TAR_DIFFERS):
            raise SystemFault(f"tar failed with status {code}")
    finally:
        os.close(reader)


def _directory(root: int, wanted: Wanted, asked: str, record: ContainerRecord) -> str:
    """Return the path inside the root to unpack into, checked."""
    try:
        fd = open_inside(root, wanted.path)
    except (FileNotFoundError, NotADirectoryError):
        raise NoSuchFile(asked, record.name) from None
    except OSError as exc:
        raise SystemFault(f"{asked}: {exc.strerror}") from None
    try:
        if not stat.S_ISDIR(os.fstat(fd).st_mode):
            raise NotADirectory("extraction point is not a directory")
    finally:
        os.close(fd)
    place = followed(root, wanted.path)
    inside = [point for point in record.mounts if place == point.target or place.startswith(f"{point.target}/")]
    if inside:
        if not max(inside, key=lambda point: len(point.target)).rw:
            raise ReadOnly("mounted volume is marked read-only")
    elif record.host_config.readonly_rootfs:
        raise ReadOnly("container rootfs is marked read-only")
    return place


async def _fed(body: AsyncIterable[bytes], unpacker: Unpacker) -> None:
    """Unpack a body while it comes."""
    reader, writer = os.pipe2(os.O_CLOEXEC)

    def unpack() -> None:
        with open(reader, "rb") as stream:
            unpacker.unpack(stream)
            while stream.read(65_536):  # what follows the archive's end
                pass

    async def feed() -> None:
        try:
            async for piece in body:
                if not await process.write_all(writer, piece):
                    return
        finally:
            os.close(writer)

    feeding = asyncio.get_running_loop().create_task(feed(), name="archive body")
    try:
        await in_thread(unpack)
    finally:
        feeding.cancel()
        await asyncio.gather(feeding, return_exceptions=True)
