"""What is to be written down of a network's change: kept in a file, from the moment all of it is done until it is.

The file is written by the last step of the change's plan and taken back with it. So an engine that is killed finds at
its next start either a plan to be undone and no note, or a note of a change that was carried out whole.
Must not: touch records or the kernel.
"""

from collections.abc import Iterator
from pathlib import Path

import msgspec

from berth.networks.model import LiveSandbox, NetworkRecord, Tenant
from berth.plan.model import Planned
from berth.plan.steps.note import WriteNote


class Change(msgspec.Struct, frozen=True):
    """Everything on record that a change concerns, each before and after."""

    old: NetworkRecord
    new: NetworkRecord
    tenants: tuple[tuple[Tenant, Tenant], ...] = ()
    lives: tuple[tuple[LiveSandbox, LiveSandbox], ...] = ()


def planned(directory: Path, change: Change) -> Planned:
    """Plan the note of a change."""
    text = msgspec.json.encode(change).decode()
    return Planned(WriteNote(str(_path(directory, change)), text), f"what follows for network {change.new.name}")


def drop(directory: Path, change: Change) -> None:
    """Remove the note, once all is written down (blocking)."""
    _path(directory, change).unlink(missing_ok=True)


def left(directory: Path) -> Iterator[Change]:
    """Return the changes an earlier engine carried out and may not have written down (blocking)."""
    for path in sorted(directory.glob("*.json")):
        yield msgspec.json.decode(path.read_bytes(), type=Change)


def _path(directory: Path, change: Change) -> Path:
    return directory / f"{change.new.id}.json"
