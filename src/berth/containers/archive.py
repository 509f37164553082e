"""Files in and out of containers (docker cp), and whole root file systems (docker export).

A running container is entered by its own mount namespace, so that volumes are seen as it sees them; one that does not
run is mounted for as long as it takes. Names are resolved inside the root, whatever symlinks say. GNU tar packs: it
walks by descriptors and follows no link; unpacking is `kernel.unpack`.
"""

import asyncio
import base64
import contextlib
import os
import posixpath
import stat
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import msgspec

from berth.base.aio import in_thread
from berth.base.errors import InvalidArgument, NotFound, SystemFault
from berth.containers.execs.spec import identity
from berth.containers.model import ContainerRecord
from berth.kernel import foreign, process
from berth.kernel.rootpath import open_inside
from berth.kernel.unpack import Unpacker
from berth.volumes.mounts.model import MountPoint

Find = Callable[[str], ContainerRecord]
#: Tells which mount points have a source that may hang.
MayHang = Callable[[Sequence[MountPoint]], Awaitable[Sequence[MountPoint]]]
#: Mounts a container that does not run, volumes included, and gives its root directory.
Mounted = Callable[[ContainerRecord], AbstractAsyncContextManager[Path]]

#: Name of the header that carries a file's description.
STAT_HEADER: Final = "X-Docker-Container-Path-Stat"
#: Go's file mode bits above the permissions (io/fs, FileMode), by the kernel's.
_GO_KINDS: Final = {
    stat.S_IFDIR: 1 << 31,
    stat.S_IFLNK: 1 << 27,
    stat.S_IFBLK: 1 << 26,
    stat.S_IFCHR: 1 << 26 | 1 << 21,
    stat.S_IFIFO: 1 << 25,
    stat.S_IFSOCK: 1 << 24,
}
_GO_BITS: Final = {stat.S_ISUID: 1 << 23, stat.S_ISGID: 1 << 22, stat.S_ISVTX: 1 << 20}
#: Kernel file systems, not part of what a container holds.
_NOT_CONTENT: Final = ("proc", "sys", "dev")
_MAX_LINKS: Final = 40
_TAR: Final = (
    "tar", "--create", "--file=-", "--format=posix", "--pax-option=delete=atime,delete=ctime", "--numeric-owner",
    "--xattrs", "--xattrs-include=security.capability", "--absolute-names", "--warning=none", "--ignore-failed-read",
)  # fmt: skip
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
        return base64.b64encode(msgspec.json.encode(self)).decode()


@dataclass(frozen=True)
class Wanted:
    """A path as asked for: what it means, and what it is called in the archive."""

    path: str
    name: str
    #: It ends in a slash or ``/.``: a symlink is followed, and a directory must be there.
    through: bool

    @classmethod
    def parse(cls, text: str) -> "Wanted":
        """Take a client's path apart. Raises `InvalidArgument` for an empty one or one with NUL."""
        if not text:
            raise InvalidArgument("bad parameter: path cannot be empty")
        if "\0" in text:
            raise InvalidArgument("bad parameter: path has a NUL byte")
        path = posixpath.normpath("/" + text.lstrip("/"))
        dotted = text.endswith("/.") or text == "."
        name = "." if dotted and path != "/" else posixpath.basename(path) or "/"
        return cls(path, name, dotted or text.endswith("/") or path == "/")


def go_mode(mode: int) -> int:
    """Translate a mode of stat(2) into Go's."""
    bits = sum(go for own, go in _GO_BITS.items() if mode & own)
    return _GO_KINDS.get(stat.S_IFMT(mode), 0) | bits | mode & 0o777


def go_time(ns: int) -> str:
    """Print a time as Go's RFC3339Nano: no zeros at the end of the fraction."""
    second = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=ns // 1_000_000_000)
    fraction = f"{ns % 1_000_000_000:09d}".rstrip("0")
    return f"{second:%Y-%m-%dT%H:%M:%S}{'.' if fraction else ''}{fraction}Z"


class Archives:
    """Copies files in and out of containers."""

    def __init__(self, *, find: Find, mounted: Mounted, may_hang: MayHang, answer_limit_s: float) -> None:
        self._find = find
        self._mounted = mounted
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
            with _packing(root, wanted) as (place, args):
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

    @asynccontextmanager
    async def export(self, ref: str) -> AsyncIterator[AsyncIterator[bytes]]:
        """Lend a tar of the root file system, without volumes."""
        record = self._find(ref)
        async with self._root(record) as root:
            place = os.open(f"/proc/self/fd/{root}", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                names = sorted(os.listdir(place))
                outside = [point.target.lstrip("/") for point in record.mounts]
                skipped = [f"--exclude={_escaped(name)}/*" for name in (*_NOT_CONTENT, *outside)]
                yield _tar(place, ["--anchored", *skipped, "--", *names] if names else ["--files-from=/dev/null"])
            finally:
                os.close(place)

    @asynccontextmanager
    async def _root(self, record: ContainerRecord, wanted: str = "/") -> AsyncIterator[int]:
        """Lend a descriptor of the container's root directory, in which `wanted` is on a file system that answers."""
        if record.running:
            try:
                fd = os.open(f"/proc/{record.pid}/root", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
            except OSError as exc:
                raise SystemFault(f"container {record.id} ended meanwhile: {exc.strerror}") from None
            try:
                await self._check_answers(record, f"/proc/{record.pid}/root", wanted)
                yield fd
            finally:
                os.close(fd)
            return
        async with self._mounted(record) as place:
            await self._check_answers(record, str(place), wanted)
            fd = os.open(place, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                yield fd
            finally:
                os.close(fd)

    async def _check_answers(self, record: ContainerRecord, root: str, wanted: str) -> None:
        """Raise before a thread of ours would wait for a dead server, which no one could end."""
        if await self._may_hang(record.mounts):
            await foreign.check_inside(root, wanted, timeout_s=self._answer_limit_s)


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
    link = _followed(root, wanted.path) if stat.S_ISLNK(found.st_mode) else ""
    return PathStat(
        name=wanted.name, size=found.st_size, mode=go_mode(found.st_mode), mtime=go_time(found.st_mtime_ns),
        link_target=link,
    )  # fmt: skip


def _followed(root: int, path: str) -> str:
    """Return where a path leads in the end, inside the root, whether that exists or not."""
    links = 0
    done, left = "/", [part for part in path.split("/") if part]
    while left:
        part = left.pop(0)
        if part in (".", ".."):
            done = posixpath.dirname(done) if part == ".." else done
            continue
        target = ""
        with contextlib.suppress(OSError):
            fd = open_inside(root, done, os.O_PATH | os.O_DIRECTORY)
            try:
                target = os.readlink(part, dir_fd=fd)
            finally:
                os.close(fd)
        if not target or links >= _MAX_LINKS:
            done = posixpath.join(done, part)
            continue
        links += 1
        left = [one for one in target.split("/") if one] + left
        if target.startswith("/"):
            done = "/"
    return done


@contextmanager
def _packing(root: int, wanted: Wanted) -> Iterator[tuple[int, list[str]]]:
    """Lend the directory tar starts in, and its arguments."""
    if wanted.through:
        place, args = wanted.path, ["--", "."]
        if wanted.name == "/":
            args = ["--anchored", *(f"--exclude=./{name}/*" for name in _NOT_CONTENT),
                    "--transform=flags=rhS;s,^\\./*,/,", *args]  # fmt: skip
        elif wanted.name != ".":
            args = [f"--transform=flags=rhS;s,^\\.,{_replacement(wanted.name)},", *args]
    else:
        place, name = posixpath.split(wanted.path)
        args = ["--", name]
    fd = open_inside(root, place, os.O_PATH | os.O_DIRECTORY)
    try:
        yield fd, args
    finally:
        os.close(fd)


def _replacement(name: str) -> str:
    return "".join(f"\\{char}" if char in "\\,&" else char for char in name)


def _escaped(pattern: str) -> str:
    return "".join(f"\\{char}" if char in "\\*?[" else char for char in pattern)


async def _tar(place: int, args: Sequence[str]) -> AsyncIterator[bytes]:
    """Yield what tar makes of files below a directory."""
    reader, writer = os.pipe2(os.O_CLOEXEC)
    try:
        try:
            child = process.spawn(
                [*_TAR, f"--directory=/proc/self/fd/{place}", *args], stdout=writer, pass_fds=(place,)
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
    place = _followed(root, wanted.path)
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
