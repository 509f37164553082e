"""What was begun and what takes it back, on tmpfs, so that a killed engine's half-done plans are undone.

One file per plan: a line of intent before each step, a line with the inverse after it; the file is removed when the
plan is committed or undone, or, where a record makes it whole, when that is written. No fsync: after a reboot the
kernel objects are gone too.
"""

import itertools
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from berth.plan.model import Step


class Line(msgspec.Struct, omit_defaults=True):
    """One line: an intent, or that it was done, with its inverse (empty when nothing changed), or what is to follow."""

    until: str = ""
    intent: msgspec.Raw = msgspec.Raw()
    inverse: msgspec.Raw = msgspec.Raw()
    done: bool = False


class Unfinished(NamedTuple):
    """A plan that was neither committed nor undone: known inverses in order, and a step left open."""

    path: Path
    inverses: list[Step]
    open_step: Step | None
    #: Key of the record with which the plan is whole; empty if it needs none.
    until: str = ""


_ENCODE: Final = msgspec.json.encode


class PlanLog:
    """The journal of one running plan."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o600)

    def follow(self, key: str) -> None:
        """Write down that the plan is whole only with a record of that key."""
        os.write(self._fd, b'{"until":' + _ENCODE(key) + b"}\n")

    def intend(self, step: Step) -> None:
        """Write down that `step` is about to be carried out."""
        os.write(self._fd, b'{"intent":' + _ENCODE(step) + b"}\n")

    def achieved(self, inverse: Step | None) -> None:
        """Write down that it was, and what takes it back."""
        body = b',"inverse":' + _ENCODE(inverse) if inverse is not None else b""
        os.write(self._fd, b'{"done":true' + body + b"}\n")

    def close(self) -> None:
        """The plan is committed, or undone: forget it."""
        os.close(self._fd)
        self._path.unlink(missing_ok=True)


class Journal:
    """A directory of plan journals."""

    def __init__(self, directory: Path, step_types: object) -> None:
        """Keep journals below `directory`; `step_types` is the union of every step class."""
        self._directory = directory
        self._decoder = msgspec.json.Decoder(step_types)
        self._lines = msgspec.json.Decoder(Line)
        self._count = itertools.count(1)
        directory.mkdir(parents=True, exist_ok=True)

    def begin(self) -> PlanLog:
        """Open the journal of a new plan."""
        return PlanLog(self._directory / f"{os.getpid()}-{next(self._count)}.jsonl")

    def unfinished(self) -> Iterator[Unfinished]:
        """Read what an earlier process left behind; the caller undoes it and unlinks the file."""
        for path in sorted(self._directory.glob("*.jsonl")):
            inverses: list[Step] = []
            pending: Step | None = None
            until = ""
            for raw in path.read_bytes().splitlines():
                try:
                    line = self._lines.decode(raw)
                except msgspec.DecodeError:
                    break  # cut off by the kill: what it would have said was not begun
                if line.until:
                    until = line.until
                elif line.intent:
                    pending = self._decoder.decode(line.intent)
                elif line.done:
                    pending = None
                    if line.inverse:
                        inverses.append(self._decoder.decode(line.inverse))
            yield Unfinished(path, inverses, pending, until)
