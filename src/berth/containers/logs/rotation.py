"""Keeps a container's log in several files, as ``max-size`` and ``max-file`` ask for.

The monitor alone would begin a new file in place of the full one, which is gone then. Here the file it writes has a
second name, ``ctr.log.0``: once another lies at ``ctr.log``, the full one becomes ``.1``, older ones ``.2`` and so on,
and the oldest goes. The monitor is told to begin a new file when one has reached the limit; sizes are looked at some
times a second, so that a file may outgrow it by what is written meanwhile. No line is lost. While no engine runs, the
monitor's own limit keeps the disk (see `berth.containers.options.LogLimits`).
Must not: read logs.
"""

import asyncio
import contextlib
import itertools
import logging
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from berth.base.aio import Tasks, in_thread
from berth.base.paths import Layout
from berth.containers.model import ContainerRecord
from berth.containers.monitors.conmon import order_reopening
from berth.containers.options import LogLimits, log_limits
from berth.kernel.inotify import DirectoryWatch

log = logging.getLogger(__name__)

#: Between two looks at logs that grow, in seconds: what is written meanwhile is looked at together.
PAUSE_S: Final = 0.05


def log_file(layout: Layout, ident: str) -> Path:
    """Where a container's monitor writes its log."""
    return layout.container(ident) / "ctr.log"


def older(path: Path) -> list[Path]:
    """Return the names of what a log was before, oldest first; the last may be what it is now (blocking)."""
    found: dict[int, Path] = {}
    with contextlib.suppress(FileNotFoundError):
        for name in os.listdir(path.parent):
            number = name.removeprefix(f"{path.name}.")
            if number.isdecimal():
                found[int(number)] = path.with_name(name)
    return [found[number] for number in sorted(found, reverse=True)]


def shift(path: Path, files: int) -> None:
    """Let the full file, number 0, be one of the older ones; of `files` in all the oldest goes (blocking)."""
    names = [path.with_name(f"{path.name}.{number}") for number in range(files)]
    for newer, place in reversed(list(itertools.pairwise(names))):
        with contextlib.suppress(FileNotFoundError):
            newer.rename(place)


class Rotation:
    """Rotates the logs of all containers; goes along with each container's life (see `companions`)."""

    def __init__(self, *, layout: Layout, tasks: Tasks) -> None:
        self._layout = layout
        self._tasks = tasks
        self._kept: dict[str, LogLimits] = {}
        #: Containers whose monitor was told to begin a new file, which is not there yet.
        self._told: set[str] = set()
        self._watch: DirectoryWatch | None = None
        #: Names are moved by one at a time: a container's end is looked at beside the others'.
        self._looking = threading.Lock()

    # --- the container's life -------------------------------------------------------------------------------------
    async def launched(self, record: ContainerRecord) -> None:
        """Nothing to do."""

    def started(self, record: ContainerRecord) -> None:
        """Begin to look after its log, if it is to have several files."""
        limits = log_limits(record.host_config.log_config)
        if not limits.rotated:
            return
        self._kept[record.id] = limits
        if self._watch is None:
            self._watch = DirectoryWatch()
            self._tasks.start("rotation of logs", self._run(self._watch))
        self._watch.add(self._layout.container(record.id))
        self._watch.wake()  # it may have grown while no engine looked

    async def ended(self, record: ContainerRecord) -> None:
        """Look after it no more, but for a file that was begun just before its end."""
        limits = self._kept.pop(record.id, None)
        if limits is not None:
            if self._watch is not None:
                self._watch.drop(self._layout.container(record.id))
            await in_thread(self._look, {record.id: limits})
        self._told.discard(record.id)

    async def removed(self, record: ContainerRecord) -> None:
        """Look after it no more."""
        await self.ended(record)

    # --- the work -------------------------------------------------------------------------------------------------
    async def _run(self, watch: DirectoryWatch) -> None:
        try:
            while True:
                await watch.changed()
                await in_thread(self._look, dict(self._kept))
                await asyncio.sleep(PAUSE_S)
        finally:
            watch.close()
            self._watch = None

    def _look(self, kept: dict[str, LogLimits]) -> None:
        for ident, limits in kept.items():
            try:
                with self._looking:
                    self._look_at(ident, limits)
            except OSError as exc:
                log.warning("the log of container %s cannot be rotated: %s", ident[:12], exc)

    def _look_at(self, ident: str, limits: LogLimits) -> None:
        path = log_file(self._layout, ident)
        held = path.with_name(f"{path.name}.0")
        try:
            now = path.stat()
        except FileNotFoundError:
            return  # nothing was written yet
        try:
            before = held.stat()
        except FileNotFoundError:
            os.link(path, held)
        else:
            if before.st_ino != now.st_ino:
                shift(path, limits.files)
                os.link(path, held)
                self._told.discard(ident)
        if now.st_size >= limits.max_bytes and ident not in self._told and order_reopening(self._layout.bundle(ident)):
            self._told.add(ident)


def open_files(path: Path) -> list[int]:
    """Open the files of a log as they are at one instant, oldest first; the caller closes them (blocking)."""
    while True:
        found: dict[tuple[int, int], int] = {}
        names = [*older(path), path]
        for name in names:
            with contextlib.suppress(FileNotFoundError):
                fd = os.open(name, os.O_RDONLY | os.O_CLOEXEC)
                if identity(fd) in found:
                    os.close(fd)  # the newest has two names
                else:
                    found[identity(fd)] = fd
        # A rotation meanwhile has moved the names: a file may be missing.
        if list(found) == list(dict.fromkeys(_identities(names))):
            return list(found.values())
        for fd in found.values():
            os.close(fd)


def current(path: Path) -> tuple[int, int] | None:
    """Tell which file the monitor writes now; None if there is none (blocking)."""
    return next(_identities([path]), None)


def identity(fd: int) -> tuple[int, int]:
    """Return what tells a file from any other."""
    found = os.fstat(fd)
    return found.st_dev, found.st_ino


def _identities(names: list[Path]) -> Iterator[tuple[int, int]]:
    for name in names:
        with contextlib.suppress(FileNotFoundError):
            found = name.stat()
            yield found.st_dev, found.st_ino
