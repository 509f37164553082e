"""What a backup and a restore are asked for, checked. Pure."""

import re
from collections.abc import Sequence
from typing import Any, Final

import msgspec

from berth.base.clock import rfc3339
from berth.volumes.backup.errors import BadBackupOption
from berth.volumes.consistency.model import Wish
from berth.volumes.model import VolumeRecord
from berth.volumes.options import masked

#: Levels of each way of packing: least, most, usual.
LEVELS: Final = {"zstd": (1, 19, 3), "gzip": (0, 3, 2), "none": (0, 0, 0)}
_AGE: Final = re.compile(r"age1[02-9ac-hj-np-z]{20,}\Z")
_SSH: Final = re.compile(r"ssh-(ed25519|rsa) [A-Za-z0-9+/=]+( .*)?\Z")


class BackupOptions(msgspec.Struct, frozen=True, kw_only=True):
    """How a backup is made; `recipients` and `passphrase` exclude each other."""

    pack: str = "zstd"
    level: int = 3
    recipients: tuple[str, ...] = ()
    passphrase: str = ""
    #: Read everything, also what seems to be as it was at the last backup.
    reread: bool = False
    wish: Wish = Wish()

    @property
    def encrypted(self) -> str:
        """``age``, ``passphrase``, or empty."""
        return "age" if self.recipients else "passphrase" if self.passphrase else ""

    def encrypt(self) -> dict[str, Any] | None:
        """Return what the packing process is told."""
        if self.recipients:
            return {"recipients": list(self.recipients)}
        return {"passphrase": self.passphrase} if self.passphrase else None


class RestoreOptions(msgspec.Struct, frozen=True, kw_only=True):
    """How an archive becomes a volume."""

    #: The volume; empty takes the one the archive names.
    name: str = ""
    overwrite: bool = False
    #: A volume that is there but holds nothing may be filled.
    into_empty: bool = False
    #: Keep the one directory that everything in a plain archive is in.
    keep_prefix: bool = False
    identity: str = ""
    passphrase: str = ""
    #: Bytes it may unpack to, and how many times its own size; 0 is the usual.
    most: int = 0
    ratio: int = 0


def parse_pack(text: str) -> tuple[str, int]:
    """Read ``zstd``, ``zstd:19``, ``gzip``, ``none``. Raises `BadBackupOption`."""
    kind, colon, level = (text or "zstd").partition(":")
    if kind not in LEVELS:
        raise BadBackupOption(f'invalid compression "{text}": zstd[:1-19], gzip[:0-3] and none are known')
    least, most, usual = LEVELS[kind]
    if not colon:
        return kind, usual
    if not level.isdecimal() or not least <= int(level) <= most:
        raise BadBackupOption(f'invalid compression "{text}": {kind} has the levels {least} to {most}')
    return kind, int(level)


def parse_recipients(keys: Sequence[str]) -> tuple[str, ...]:
    """Check the public keys a backup is encrypted to. Raises `BadBackupOption`."""
    for key in keys:
        if key.upper().startswith("AGE-SECRET-KEY-"):
            raise BadBackupOption("that is a secret key; backups are encrypted to the public one (age-keygen -y)")
        if not _AGE.match(key) and not _SSH.match(key):
            raise BadBackupOption(f'invalid key "{key}": an age recipient (age1…) or an SSH public key is wanted')
    return tuple(keys)


def head_of(
    record: VolumeRecord, options: BackupOptions, now_ns: int, engine: str, stillness: dict[str, Any]
) -> dict[str, Any]:
    """Return what a backup says of itself: readable by whoever has it, without the password of a server."""
    stated = record.options
    if stated is not None and "o" in stated:
        stated = {**stated, "o": masked(stated["o"])}
    return {
        "volume": record.name,
        "driver": record.driver,
        "options": stated,
        "labels": record.labels,
        "created": rfc3339(record.created_ns),
        "time": rfc3339(now_ns),
        "engine": engine,
        "consistency": stillness,
        "pack": options.pack,
    }


def stamp(now_ns: int) -> str:
    """Return a time as it stands in the names of backups: ``20261124T194702Z``."""
    return f"{rfc3339(now_ns)[:19]}Z".replace("-", "").replace(":", "")
