"""What is held still, written down before it is, so that the next engine undoes what a killed one left.

Paused containers and frozen file systems are forgotten by a reboot, so they are noted on tmpfs; stopped containers are
not, so they are noted on disk. One file per hold, in each place.
"""

import contextlib
import logging
import os
from pathlib import Path

import msgspec

from berth.kernel.files import write_atomically

log = logging.getLogger(__name__)


class Entry(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What one hold has done, or is about to."""

    what: str = ""
    #: Containers that run and are paused by us, in the order of pausing.
    paused: tuple[str, ...] = ()
    #: Paths in file systems that are frozen.
    frozen: tuple[str, ...] = ()
    #: Containers that ran and are stopped by us.
    stopped: tuple[str, ...] = ()
    #: Commands still to run, with their containers.
    posts: tuple[tuple[str, tuple[str, ...]], ...] = ()


class HoldJournal:
    """The entries of all holds."""

    def __init__(self, passing: Path, lasting: Path) -> None:
        self._passing = passing
        self._lasting = lasting

    def write(self, ident: str, entry: Entry) -> None:
        """Note the state of one hold (blocking)."""
        _put(self._passing / ident, msgspec.structs.replace(entry, stopped=()), durable=False)
        lasting = Entry(what=entry.what, stopped=entry.stopped)
        if entry.stopped or (self._lasting / ident).exists():
            _put(self._lasting / ident, lasting, durable=True)

    def drop(self, ident: str) -> None:
        """Forget a hold that has ended (blocking)."""
        (self._passing / ident).unlink(missing_ok=True)
        (self._lasting / ident).unlink(missing_ok=True)

    def left(self) -> dict[str, Entry]:
        """Return what earlier engines left, both places put together (blocking)."""
        found: dict[str, Entry] = {}
        for root in (self._passing, self._lasting):
            with contextlib.suppress(FileNotFoundError):
                for name in sorted(os.listdir(root)):
                    if name.startswith("."):  # of a write that was cut short: what it was to replace still holds
                        (root / name).unlink()
                        continue
                    try:
                        entry = msgspec.json.decode((root / name).read_bytes(), type=Entry)
                    except msgspec.DecodeError as exc:
                        log.warning("%s cannot be read: %s", root / name, exc)
                        continue
                    before = found.get(name, Entry())
                    found[name] = msgspec.structs.replace(
                        entry if entry.paused or entry.frozen or entry.posts else before,
                        what=entry.what,
                        stopped=entry.stopped or before.stopped,
                    )
        return found


def _put(path: Path, entry: Entry, *, durable: bool) -> None:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    write_atomically(path, msgspec.json.encode(entry), mode=0o600, durable=durable)
