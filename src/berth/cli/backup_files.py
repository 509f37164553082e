"""Directories of backups on the user's side: what is in them, which stay."""

from __future__ import annotations

import os

from berth.cli.errors import CommandFailed
from berth.wire import backups as wire
from berth.wire import retention

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any


class BackupFile:
    """One backup, as its name and its two ends say."""

    @classmethod
    def told(cls, said: dict[str, Any]) -> BackupFile:
        """Return a backup that the engine has told of."""
        one = cls.__new__(cls)
        one.name, one.path, one.size = said["Name"], "", said["Size"]
        one.head, one.end, one.volume, one.stamp = said["Head"], said["End"], said["Volume"], said["Stamp"]
        one.encrypted = "age" if said["State"] == "encrypted" else ""
        one.shared = said["Size"] < 0
        one.unchanged = moment(said.get("Unchanged", ""))
        return one

    def __init__(self, directory: str, name: str) -> None:
        self.name = name
        self.path = os.path.join(directory, name)
        #: Whether it is not a file of its own.
        self.shared = False
        #: When the volume was last seen to be so still, as `time`.
        self.unchanged = ""
        with open(self.path, "rb") as source:
            beginning = source.read(4096)
            if wire.has_head(beginning):
                beginning += source.read(wire.HEAD_BYTES)
            self.size = source.seek(0, os.SEEK_END)
            source.seek(max(0, self.size - wire.TAIL_BYTES))
            ending = source.read()
        self.head: dict[str, Any] = wire.of_head(beginning) or {}
        self.end: dict[str, Any] = wire.of_tail(ending) or {}
        self.encrypted = wire.encrypted_with(beginning)
        by_name = wire.named(name)
        self.volume = str(self.head.get("volume") or (by_name[0] if by_name else ""))
        stated = str(self.head.get("time", "")).replace("-", "").replace(":", "")
        #: When it was made, as ``20261124T194702Z``, perhaps with a fraction before the Z.
        self.stamp = stated or (by_name[1] if by_name else "")

    @property
    def known(self) -> bool:
        """Whether it is a backup at all."""
        return bool(self.head or (self.encrypted and self.stamp))

    @property
    def key(self) -> str:
        """What it is ordered by; no other in its directory has the same."""
        return f"{self.stamp} {self.name}"

    @property
    def state(self) -> str:
        """``complete`` if its end is there, ``cut short`` if not; only `verify` knows about what is between."""
        return "encrypted" if self.encrypted else "complete" if self.end or self.shared else "cut short"

    @property
    def time(self) -> str:
        """When it was made, as ``2026-11-24 19:47:02``."""
        return moment(self.stamp)


def moment(at: str) -> str:
    """Return a stamp (``20261124T194702Z``) as ``2026-11-24 19:47:02``."""
    return f"{at[:4]}-{at[4:6]}-{at[6:8]} {at[9:11]}:{at[11:13]}:{at[13:15]}" if at else ""


def listed(directory: str, volumes: set[str] | None = None) -> list[BackupFile]:
    """Return the backups in a directory, by volume and the newest first; other files are passed over."""
    try:
        names = sorted(os.listdir(directory))
    except OSError as error:
        raise CommandFailed(f"open {directory}: {str(error.strerror).lower()}") from None
    found = []
    for name in names:
        path = os.path.join(directory, name)
        if name.startswith(".") or not os.path.isfile(path):
            continue
        one = BackupFile(directory, name)
        if one.known and (not volumes or one.volume in volumes):
            found.append(one)
    return sorted(sorted(found, key=lambda one: one.key, reverse=True), key=lambda one: one.volume)


def judged(found: list[BackupFile], rules: Mapping[str, int]) -> list[tuple[BackupFile, list[str] | None]]:
    """Return each backup with the rules that keep it, None for one that goes; each volume is judged by itself.

    Those cut short are kept by no rule and count for none.
    """
    told: list[tuple[BackupFile, list[str] | None]] = []
    for volume in dict.fromkeys(one.volume for one in found):
        own = [one for one in found if one.volume == volume]
        kept = retention.keep((one.key for one in own if one.state != "cut short"), rules)
        told += [(one, kept.get(one.key) if one.state != "cut short" else None) for one in own]
    return told
