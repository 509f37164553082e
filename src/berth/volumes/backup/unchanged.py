"""When a volume need not be backed up again: nothing of it has changed since a backup that is still the newest one.

A mark is kept for each volume and repository: the fingerprint of the tree that was backed up, taken before it was read,
and which snapshot that is. Whoever has a mark, the same fingerprint now, and sees in the repository that the snapshot
is there and the volume's newest, has nothing to add. Any doubt makes a backup.
Must not: walk trees (`kernel.fingerprint`), nor ask repositories (`stores.restic`).
"""

from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any, Final

import msgspec

from berth.base.clock import Clock
from berth.kernel.fingerprint import Fingerprint
from berth.store.base import Records

#: Changes when the machine starts: a power cut may take a change time with it and leave what was written.
_BOOT: Final = Path("/proc/sys/kernel/random/boot_id")
#: What a backup says of itself and is another each time, or says nothing about what is in it.
_PASSING: Final = frozenset({"time", "engine", "pack", "consistency"})
#: What of the way its users held still makes a difference to whoever restores it.
_STILLNESS: Final = ("Mode", "How", "CrashConsistent")


class Mark(msgspec.Struct, frozen=True, kw_only=True):
    """The last backup of a volume to a repository, and what the volume was like."""

    volume: str
    repository: str
    #: The snapshot's name, or its beginning as long as nobody has seen the whole, and when it was made.
    snapshot: str
    stamp: str
    #: The tree that was backed up, the machine's start it was seen in, and what the backup says of itself.
    sum: str
    boot: str
    about: str
    files: int
    bytes: int
    #: When the volume was last seen to be as it is there.
    seen_ns: int = 0


class Marks:
    """The marks of one engine; `volumes` names those there are, for marks of others go."""

    def __init__(self, records: Records[Mark], volumes: Callable[[], Collection[str]], clock: Clock) -> None:
        self._records = records
        self.clock = clock
        self._volumes = volumes
        self._boot = _BOOT.read_text(encoding="ascii").strip()

    def find(self, repository: str, volume: str, head: Mapping[str, Any]) -> Mark | None:
        """Return the mark of a volume that would say the same of itself now, and was backed up since the last start."""
        found = self._records.get(_key(repository, volume))
        return found if found and (found.boot, found.about) == (self._boot, _about(head)) else None

    def seen(self, repository: str) -> dict[str, int]:
        """Return for snapshots of a repository, by eight letters, when their volumes were last seen to be so still."""
        return {one.snapshot[:8]: one.seen_ns for one in self._records.all() if one.repository == repository}

    async def found_again(self, mark: Mark, snapshot: str, now_ns: int) -> None:
        """Note that a volume is as it is in a snapshot, whose whole name that is."""
        seen = msgspec.structs.replace(mark, snapshot=snapshot, seen_ns=now_ns)
        await self._records.put(_key(mark.repository, mark.volume), seen)

    async def made(
        self, repository: str, volume: str, head: Mapping[str, Any], tree: Fingerprint, *, snapshot: str, stamp: str,
        files: int, size: int,
    ) -> None:  # fmt: skip
        """Note a backup that holds all of a tree as it was when `tree`, which is settled, was taken."""
        mark = Mark(
            volume=volume, repository=repository, snapshot=snapshot, stamp=stamp, sum=tree.sum, boot=self._boot,
            about=_about(head), files=files, bytes=size,
        )  # fmt: skip
        there = set(self._volumes())
        for one in self._records.all():
            if one.volume not in there:
                await self._records.drop(_key(one.repository, one.volume))
        await self._records.put(_key(repository, volume), mark)

    async def forget(self, repository: str, volume: str) -> None:
        """Let the next backup be one in any case."""
        await self._records.drop(_key(repository, volume))


def _key(repository: str, volume: str) -> str:
    return f"{volume} {repository}"


def _about(head: Mapping[str, Any]) -> str:
    """Return what has to be the same for two backups of one tree to say the same."""
    stillness = head.get("consistency") or {}
    lasting = {key: value for key, value in head.items() if key not in _PASSING}
    lasting["stillness"] = [stillness.get(key) for key in _STILLNESS]
    return msgspec.json.encode(lasting, order="deterministic").decode()
