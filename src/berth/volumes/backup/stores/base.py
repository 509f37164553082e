"""What a place for backups does, and nothing else. Must not: know any such place."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any, Protocol

import msgspec

from berth.kernel.fingerprint import Fingerprint
from berth.wire import backups as wire


class Entry(msgspec.Struct, kw_only=True):
    """One backup in a store."""

    name: str
    volume: str = ""
    #: When it was made, as ``20261124T194702Z``, perhaps with a fraction before the Z.
    stamp: str = ""
    #: Bytes it takes, -1 where the store shares them between backups.
    size: int = -1
    head: dict[str, Any] = {}
    end: dict[str, Any] = {}
    #: ``complete``, ``cut short``, ``encrypted``.
    state: str = "complete"
    #: When its volume was last seen to be so still, as a stamp; empty where nobody looked.
    unchanged: str = ""

    @property
    def key(self) -> str:
        """What it is ordered by; no other in its store has the same."""
        return f"{self.stamp} {self.name}"


class Volume(Protocol):
    """A volume that holds still, to be stored (`berth.volumes.backup.service.Archiving`)."""

    stamp: str
    #: Whether all is to be read, though nothing seems to have changed.
    reread: bool

    def head(self, name: str) -> dict[str, Any]:
        """Return what its backup says of itself."""
        ...

    def path(self, name: str) -> Path:
        """Return where its data is to be read."""
        ...

    async def tree(self, name: str) -> Fingerprint | None:
        """Return what its data are like, if any change of them from now on will show; they may be read after that."""
        ...

    def packing(self, name: str) -> Any:  # noqa: ANN401  berth.kernel.archiving.Packing
        """Return how it is archived."""
        ...


class Store(Protocol):
    """A place for backups. Every method raises `StoreFailed` with the place's words."""

    def turn(self, names: Sequence[str]) -> AbstractAsyncContextManager[None]:
        """Wait until volumes can be saved, and keep what would hinder it away; before anybody holds still for it."""
        ...

    async def save(self, volume: Volume, name: str) -> Entry:
        """Back one volume up; it is there whole, or not at all."""
        ...

    async def entries(self) -> Sequence[Entry]:
        """Return what is there, in any order."""
        ...

    async def describe(self, name: str) -> dict[str, Any] | None:
        """Return what a backup says of itself, if the store unpacks backups itself (`unpack`); else None: `read` it."""
        ...

    async def unpack(self, name: str, into: Path) -> Path:
        """Unpack and verify a backup somewhere below `into`; return the directory of its data."""
        ...

    def read(self, name: str) -> AsyncIterator[bytes]:
        """Yield the archive of a backup."""
        ...

    async def verify(self, name: str) -> bool:
        """Check a backup; False if that is done by reading it."""
        ...

    async def drop(self, names: Sequence[str]) -> None:
        """Remove backups."""
        ...


def described(name: str, size: int, beginning: bytes, ending: bytes) -> Entry | None:
    """Return what a file's two ends say of the backup in it; None if it is none."""
    head, end = wire.of_head(beginning) or {}, wire.of_tail(ending) or {}
    encrypted = wire.encrypted_with(beginning)
    by_name = wire.named(name)
    stated = str(head.get("time", "")).replace("-", "").replace(":", "")
    volume = str(head.get("volume") or (by_name[0] if by_name else ""))
    stamp = stated or (by_name[1] if by_name else "")
    if not head and not (encrypted and stamp):
        return None
    state = "encrypted" if encrypted else "complete" if end else "cut short"
    return Entry(name=name, volume=volume, stamp=stamp, size=size, head=head, end=end, state=state)


def condemned(entries: Sequence[Entry], rules: Mapping[str, int]) -> Sequence[Entry]:
    """Return what the rules of retention do not keep, each volume judged by itself; without rules nothing."""
    from berth.wire import retention

    gone: list[Entry] = []
    for volume in dict.fromkeys(one.volume for one in entries):
        own = [one for one in entries if one.volume == volume]
        kept = retention.keep((one.key for one in own if one.state != "cut short"), rules)
        gone += [one for one in own if one.key not in kept and any(rules.values())]
    return gone
