"""How a local volume keeps its size: by a quota of the file system it lies on, else as a file system in a file.

Which of them is read from the disk, never from the record: ``NAME/image`` is a file system that is mounted at
``NAME/_data`` while somebody uses it; otherwise the directory itself has a project or is a subvolume with a limit.
A new file system is ``image.new`` until its first mount, so that one without a record is known to be empty; one that
is to replace another is ``image.next``. ``.resize`` holds the size that a change under way leads to.
Must not: mount or unmount on behalf of holders; know records.
"""

import functools
import logging
import os
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Final, NamedTuple

from berth.base.aio import finish, in_thread
from berth.base.errors import SystemFault
from berth.base.ownership import Owner
from berth.kernel import image, mountinfo, quota
from berth.kernel.files import exchange, exchange_directories, sync_directory, write_atomically
from berth.kernel.image import Space
from berth.kernel.mount import is_mounted
from berth.volumes.drivers.local_storage import NEXT_IMAGE, RESIZE, LocalStorage
from berth.volumes.errors import BelowUse, NoQuotas, SizeLost, StillMounted
from berth.volumes.options import XFS_LEAST, LocalOptions

log = logging.getLogger(__name__)

IMAGE_MECHANISM: Final = "image"
_MIB: Final = 1 << 20
_WORDS: Final = {quota.PROJECT: "project quota", quota.QGROUP: "btrfs qgroup"}


class Allotment(NamedTuple):
    """How a volume's size is kept, in words, and how much of it is taken."""

    mechanism: str
    fstype: str
    space: Space


class Standing(NamedTuple):
    """How a volume that is a file stands with the disk below it; without a file all is nothing. In bytes."""

    #: How long the file is, what it has of the disk, what is free there.
    length: int = 0
    taken: int = 0
    free: int = 0
    #: What is wrong with the file system in it, if it is mounted.
    trouble: str = ""
    #: Whether it grows at its next mount.
    lags: bool = False
    mounted: bool = False

    @property
    def missing(self) -> int:
        """What the disk has promised it, and does not keep for it."""
        return max(0, self.length - self.taken)


def image_bytes(size: int, fstype: str) -> int:
    """Return how long a file must be for its file system to hold `size` bytes of files.

    What the file system needs for itself comes on top: journal, inode tables, reserves, tables to grow by.
    """
    if fstype == "xfs":
        need = size + 64 * _MIB + size // 32 + 40 * _MIB
    else:
        journal = min(max(size // (64 * _MIB), 4), 64) * _MIB
        need = size + size // 64 + journal + min(size // 50, 16 * _MIB) + size // 200 + 4 * _MIB
    return -(-need // _MIB) * _MIB


class Sizes:
    """The sizes of one engine's local volumes. Callers hold the volume's lock."""

    def __init__(self, storage: LocalStorage) -> None:
        self._storage = storage

    def has_image(self, name: str) -> bool:
        """Tell whether a volume is a file system of its own that has been used."""
        return self._storage.image(name).exists()

    async def make(self, name: str, options: LocalOptions) -> None:
        """Make what keeps the size of a volume whose directories are there; what is there already stays.

        Raises `NoQuotas`, `ImageFailed`.
        """
        if await in_thread(self._mechanism, name):
            return
        kind, fstype = await in_thread(self._offered)
        if options.size_mode == "image":
            kind = ""
        elif options.size_mode == "quota" and not kind:
            raise NoQuotas(name, str(self._storage.root), fstype)
        if kind:
            await in_thread(self._limit_new, name, kind, options)
            return
        system = options.size_fs or ("xfs" if options.size >= XFS_LEAST and shutil.which("mkfs.xfs") else "ext4")
        length = image_bytes(options.size, system)
        await image.make(self._storage.new_image(name), length, system, options.owner, reserve=options.reserve)

    async def make_twin(self, name: str, twin: str, options: LocalOptions) -> None:
        """Have `twin`, whose directories are there, keep a size as `name` does. Raises `SizeLost`, `ImageFailed`."""
        file = await in_thread(self._file, name)
        if file is not None:
            length, system = file.stat().st_size, await in_thread(_kind, name, file)
            await image.make(self._storage.image(twin), length, system, options.owner, reserve=options.reserve)
            return
        kind = await in_thread(quota.kind, self._storage.data(name))
        if not kind:
            raise SizeLost(name, str(self._storage.image(name)))
        await in_thread(self._limit_new, twin, kind, options)

    def exchange(self, name: str, twin: str) -> None:
        """Let what two volumes hold, neither of them mounted, change places in one step, and see that on the disk."""
        try:
            if (file := self._file(name)) is not None:
                if file != self._storage.image(name):  # never mounted: what it gets now is not empty
                    file = file.rename(self._storage.image(name))
                exchange(file, self._storage.image(twin))
            else:
                exchange_directories(self._storage.data(name), self._storage.data(twin))
            for one in (name, twin):
                sync_directory(self._storage.directory(one))
        except OSError as exc:
            raise SystemFault(
                f"cannot exchange the data of volume {name}: {(exc.strerror or str(exc)).lower()}"
            ) from exc

    def ready(self, name: str, options: LocalOptions) -> None:
        """Mount the file system if the volume is one, else see that its quota is there.

        Raises `SizeLost`, `ImageFailed`.
        """
        file, new = self._storage.image(name), self._storage.new_image(name)
        if new.exists() and not file.exists():
            new.rename(file)
        if file.exists():
            image.mount(file, _kind(name, file), str(self._storage.data(name)), reserve=options.reserve)
        elif options.size:
            data = self._storage.data(name)
            kind = quota.kind(data)
            if not kind:
                raise SizeLost(name, str(file))
            if not quota.limited(data, kind):  # of a directory that took the place of the one that was made
                quota.limit(data, kind, options.size)

    def look(self, name: str, options: LocalOptions) -> Allotment:
        """Return how a size is kept and what is used of it. Raises `SizeLost`."""
        data, file = self._storage.data(name), self._file(name)
        if file is not None:
            space = Space.at(str(data)) if is_mounted(str(data)) else image.space(file)
            return Allotment(IMAGE_MECHANISM, _kind(name, file), space)
        kind = quota.kind(data)
        if not kind:
            raise SizeLost(name, str(self._storage.image(name)))
        return Allotment(_WORDS[kind], mountinfo.fstype_of(str(data)), quota.space(data, kind, options.size))

    async def resize(self, name: str, options: LocalOptions, size: int, holders: tuple[str, ...]) -> None:
        """Let a volume have another size; one that cannot grow under its users does by `catch_up`, at its next mount.

        On failure it keeps the one it has. Raises `BelowUse`, `StillMounted`, `SizeLost`, `ImageFailed`.
        """
        kept = await in_thread(self.look, name, options)
        if size < kept.space.used:
            raise BelowUse(name, size, kept.space.used)
        file, data = await in_thread(self._file, name), self._storage.data(name)
        if file is None:
            await in_thread(quota.limit, data, await in_thread(quota.kind, data), size)
            return
        length, mounted = image_bytes(size, kept.fstype), await in_thread(is_mounted, str(data))
        if length < file.stat().st_size:
            if mounted:
                raise StillMounted(name, "it can be made smaller", holders)
            await self._replace(name, file, length, kept.fstype, options)
        elif mounted:
            await self._grow(file, length, kept.fstype, options)
        else:
            await self._grow_unmounted(name, file, length, kept.fstype, options)

    async def catch_up(self, name: str, options: LocalOptions) -> None:
        """Let a file that is not mounted have the size of the record, and the room that is to be kept for it.

        It may have neither because it could not grow under its users, or because the engine was killed. What fails is
        said in the log: the volume is mounted as it is. Raises `SizeLost`.
        """
        file = await in_thread(self._file, name)
        if file is None or not options.size:
            return
        fstype = await in_thread(_kind, name, file)
        length, taken = image.room(file)
        want = image_bytes(options.size, fstype)
        try:
            if want > length:
                await self._grow_unmounted(name, file, want, fstype, options)
            elif options.reserve and taken < length:
                await in_thread(image.reserve_all, file)
        except (image.ImageFailed, OSError) as exc:
            log.warning("volume %s does not get the size of %d bytes it is to have: %s", name, options.size, exc)

    def lags(self, name: str, options: LocalOptions) -> bool:
        """Tell whether a volume is to grow at its next mount."""
        file = self._file(name)
        return file is not None and file.stat().st_size < image_bytes(options.size, _kind(name, file))

    async def _grow(self, file: Path, length: int, fstype: str, options: LocalOptions) -> bool:
        try:
            await in_thread(functools.partial(image.grow, reserve=options.reserve), file, length, fstype)
        except image.NotPermitted:
            return False
        return True

    async def _grow_unmounted(self, name: str, file: Path, length: int, fstype: str, options: LocalOptions) -> None:
        if not await self._grow(file, length, fstype, options):
            await self._replace(name, file, length, fstype, options)

    def room(self, name: str) -> tuple[int, int] | None:
        """Return how long the file of a volume is, and how much of the disk it has by now; None without a file."""
        file = self._file(name)
        return None if file is None else image.room(file)

    def trouble(self, name: str, options: set[str]) -> str:
        """Say what is wrong with the file system of a volume that is mounted with options; empty for nothing."""
        try:
            os.stat(self._storage.data(name))
        except OSError as exc:  # XFS after it has shut down
            return f"shut down: {(exc.strerror or str(exc)).lower()}"
        if "shutdown" in options:
            return "shut down"
        return "read-only" if {"ro", "emergency_ro"} & options else ""

    def begin(self, name: str, size: int) -> None:
        """Write down what a change of the size leads to."""
        try:
            write_atomically(self._storage.directory(name) / RESIZE, str(size).encode(), durable=True)
        except OSError as exc:
            raise SystemFault(f"resize {name}: {(exc.strerror or str(exc)).lower()}") from exc

    def end(self, name: str) -> None:
        """Forget it. What stays is forgotten at the next start."""
        try:
            (self._storage.directory(name) / RESIZE).unlink(missing_ok=True)
        except OSError as exc:
            log.warning("volume %s: %s", name, exc)

    async def finish(self, name: str, options: LocalOptions) -> int:
        """End a change that a killed engine began, forward if anything of it was done; return the size there is now."""
        directory = self._storage.directory(name)
        text = await in_thread((directory / RESIZE).read_bytes)
        size = int(text) if text.isdigit() else options.size
        await in_thread((directory / NEXT_IMAGE).unlink, missing_ok=True)
        file = await in_thread(self._file, name)
        if file is None:
            data = self._storage.data(name)
            await in_thread(quota.limit, data, await in_thread(quota.kind, data), size)
        elif file.stat().st_size == image_bytes(size, fstype := await in_thread(_kind, name, file)):
            try:
                await in_thread(image.grow, file, file.stat().st_size, fstype)
            except image.NotPermitted:  # says so whether there is anything to grow or not
                before = image_bytes(options.size, fstype)
                await in_thread(image.cut, file, before)
                size = options.size if file.stat().st_size == before else size
        else:
            size = options.size
        return size

    def unfinished(self, names: Iterable[str]) -> list[str]:
        """Return those of some volumes whose size was being changed when the engine was killed."""
        root = str(self._storage.root)
        return [name for name in names if os.path.exists(f"{root}/{name}/{RESIZE}")]

    async def _replace(self, name: str, file: Path, length: int, fstype: str, options: LocalOptions) -> None:
        coming = self._storage.directory(name) / NEXT_IMAGE
        await image.make(coming, length, fstype, Owner(), reserve=options.reserve)
        try:
            await image.copy(file, coming, fstype)
            await finish(in_thread(_put_in_place, coming, file))
        except BaseException:
            await in_thread(coming.unlink, missing_ok=True)
            raise

    def _offered(self) -> tuple[str, str]:
        root = os.path.realpath(self._storage.root)
        fstype = mountinfo.fstype_of(root)
        return quota.offered(Path(root), fstype), fstype

    def _limit_new(self, name: str, kind: str, options: LocalOptions) -> None:
        data = self._storage.data(name)
        try:
            quota.make(data, kind)
            quota.limit(data, kind, options.size)
            self._storage.dress(name, options.owner)
        except OSError as exc:
            raise SystemFault(f"create {name}: {kind}: {(exc.strerror or str(exc)).lower()}") from exc

    def _mechanism(self, name: str) -> str:
        if self._file(name):
            return IMAGE_MECHANISM
        data = self._storage.data(name)
        kind = quota.kind(data)
        return kind if kind and quota.limited(data, kind) else ""

    def _file(self, name: str) -> Path | None:
        for file in (self._storage.image(name), self._storage.new_image(name)):
            if file.exists():
                return file
        return None


def _put_in_place(coming: Path, file: Path) -> None:
    coming.rename(file)
    sync_directory(file.parent)


def _kind(name: str, file: Path) -> str:
    found = image.kind(file)
    if not found:
        raise SizeLost(name, f"{file} (no file system in it)")
    return found
