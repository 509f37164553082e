"""Files in volumes, with no container: list, read, copy in and out.

The volume is held while somebody looks, so that one which has to be mounted is, and nobody removes it. Must not: touch
the data itself; a process of its own does (`kernel.volume_files`).
"""

from collections.abc import AsyncIterable, AsyncIterator
from contextlib import asynccontextmanager

from berth.base.aio import finish, in_thread
from berth.base.ids import new_id
from berth.kernel import volume_files
from berth.kernel.volume_files import Told
from berth.volumes.copies.model import parse_reference
from berth.volumes.copies.shelf import Shelf
from berth.volumes.drivers.registry import Drivers
from berth.volumes.errors import ReadOnlyVolume
from berth.volumes.model import VolumeRecord
from berth.volumes.register import Register

#: Seconds in which something has to come from a volume that may hang.
LIMIT_S = 30.0


class Looking:
    """Looks into the volumes of one engine."""

    def __init__(self, register: Register, drivers: Drivers, shelf: Shelf) -> None:
        self._register = register
        self._drivers = drivers
        self._shelf = shelf

    @asynccontextmanager
    async def look(
        self, name: str, verb: str, path: str, flags: str = ""
    ) -> AsyncIterator[tuple[Told, AsyncIterator[bytes]]]:
        """Lend what a path is and its bytes; see `volume_files.look`. `name` may be ``VOLUME@SNAPSHOT``.

        Raises `NoSuchVolume`, `NoSuchSnapshot`.
        """
        held = self._snapshot if "@" in name else self._held
        async with (
            held(name, "look into it") as root,
            volume_files.look(verb, root, path, flags, limit_s=LIMIT_S) as found,
        ):
            yield found

    async def put(self, name: str, path: str, body: AsyncIterable[bytes], *, keep_kinds: bool) -> None:
        """Unpack a tar into a directory of a volume. Raises `ReadOnlyVolume`."""
        record = self._register.get(name)
        if self._drivers.of(record).read_only(record):
            raise ReadOnlyVolume(name)
        async with self._held(name, "copy into it") as root:
            await volume_files.put(root, path, body, keep_kinds=keep_kinds, limit_s=LIMIT_S)
        self._register.touch((name,))

    @asynccontextmanager
    async def _held(self, name: str, what: str) -> AsyncIterator[str]:
        """Lend where the data is."""
        with self._register.occupy(name, what) as record:
            driver = self._drivers.of(record)
            holder = f"look-{new_id()[:16]}"
            try:
                await self._hold(record, holder)
                yield str(driver.path(record))
            finally:
                await finish(self._let_go(record, holder))

    @asynccontextmanager
    async def _snapshot(self, name: str, what: str) -> AsyncIterator[str]:
        """Lend where the data of a snapshot is; it is a directory here, whatever its volume is."""
        volume, snapshot = parse_reference(name)
        with self._register.occupy(volume, what):
            await in_thread(self._shelf.get, volume, snapshot)
            yield str(self._shelf.snapshot(volume, snapshot))

    async def _hold(self, record: VolumeRecord, holder: str) -> None:
        async with self._register.hold(record.name):
            await self._drivers.of(record).hold(record, holder)

    async def _let_go(self, record: VolumeRecord, holder: str) -> None:
        async with self._register.hold(record.name):
            await self._drivers.of(record).let_go(record, holder)
