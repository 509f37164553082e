"""Mounts a container that does not run, volumes included, for as long as somebody looks into it.

The place is the one a start uses, so that what a killed engine leaves behind is cleared away as after a killed start.
The caller holds the container's lock: two overlays must not share an upper directory.
"""

import contextlib
import os
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from berth.base.aio import finish, in_thread
from berth.base.paths import Layout
from berth.containers.model import ContainerRecord
from berth.containers.parts import VolumePart
from berth.containers.surroundings import knower
from berth.kernel import mount, mountflags
from berth.kernel.rootpath import open_inside
from berth.volumes.mounts.model import OciMount


@asynccontextmanager
async def mounted(layout: Layout, volumes: VolumePart, record: ContainerRecord) -> AsyncIterator[Path]:
    """Lend the root directory of a container that does not run."""
    bundle, home = layout.bundle(record.id), layout.container(record.id)
    fresh = not bundle.exists()
    root = bundle / "rootfs"
    try:
        await in_thread(_mount_root, record, root, home)
        entries = await volumes.attach(record.id, record.mounts, root, knower(str(root), record.config.user))
        try:
            await in_thread(_bind, root, entries)
            yield root
        finally:
            await finish(in_thread(mount.unmount, str(root), mountflags.MNT_DETACH))
            await finish(volumes.detach(record.id, record.mounts))
    finally:
        await finish(in_thread(_clear, root, fresh=fresh))


def _mount_root(record: ContainerRecord, root: Path, home: Path) -> None:
    root.mkdir(parents=True, exist_ok=True)
    mount.unmount(str(root), mountflags.MNT_DETACH)
    mount.overlay(record.layers, str(home / "diff"), str(home / "work"), str(root))


def _bind(root: Path, entries: Sequence[OciMount]) -> None:
    root_fd = os.open(root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for entry in entries:
            if entry.type != "bind" and "rbind" not in entry.options and "bind" not in entry.options:
                continue
            target = open_inside(root_fd, entry.destination)
            try:
                mount.bind(entry.source, f"/proc/self/fd/{target}", recursive="rbind" in entry.options)
            finally:
                os.close(target)
    finally:
        os.close(root_fd)


def _clear(root: Path, *, fresh: bool) -> None:
    mount.unmount(str(root), mountflags.MNT_DETACH)
    with contextlib.suppress(OSError):
        root.rmdir()
    if fresh:
        # An empty run directory would look like one of a container that ran since the machine was started.
        with contextlib.suppress(OSError):
            root.parent.rmdir()
