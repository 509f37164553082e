"""A whole engine in the test's own event loop, so that two calls meet where a test wants them to.

It is wired and started as the daemon does it, but for its socket. What it runs (monitors, containers, the name server)
is ended with it.
"""

import asyncio
import contextlib
import os
import shutil
import signal
from collections.abc import AsyncIterator, Awaitable
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Any

from berth.base.aio import KeyedLocks
from berth.base.config import Config
from berth.daemon import wiring
from berth.images.reference import parse_reference
from berth.kernel import cgroup
from berth.kernel.mount import unmount
from berth.kernel.mountflags import MNT_DETACH
from berth.wire.containers import ContainerCreate, HostConfig, RestartPolicy
from tests.support.engines import CGROUPS, RUN

#: How long a turn of somebody who waits may take to come, in rounds of the event loop.
TURNS = 50


class Whole:
    """The engine, and the short forms that tests of two calls at once need."""

    def __init__(self, parts: wiring.Parts) -> None:
        self.parts = parts
        self.engine = parts.engine
        self.containers = parts.engine.containers
        self.images = parts.engine.images
        self.volumes = parts.engine.volumes

    async def create(self, name: str, *argv: str, restart: str = "", image: str = "busybox", **host: Any) -> str:
        """Make a container; return its id."""
        want = ContainerCreate(
            image=image,
            cmd=list(argv or ("sleep", "600")),
            stop_timeout=0,
            host_config=HostConfig(
                network_mode="none", restart_policy=RestartPolicy(name=restart), **host
            ),
        )  # fmt: skip
        return (await self.containers.create(name, want))[0]

    async def again(self, busybox: Path) -> None:
        """Have the image anew."""
        await _import(self.parts, busybox)

    def locks(self) -> KeyedLocks:
        """The containers' locks, by id."""
        return self.containers._locks

    async def waiters(self, ident: str, count: int) -> None:
        """Wait until so many wait for a container's lock, which the test holds."""
        lock, _ = self.locks()._locks[ident]
        async with asyncio.timeout(20):
            while len(lock._waiters or ()) < count:  # noqa: ASYNC110  asyncio tells nobody
                await asyncio.sleep(0.01)


async def queued(work: Awaitable[Any]) -> "asyncio.Task[Any]":
    """Begin `work` and let it come to where it waits for its turn."""
    task = asyncio.ensure_future(work)
    for _ in range(TURNS):
        await asyncio.sleep(0)
    return task


@asynccontextmanager
async def whole(data: Path, busybox: Path) -> AsyncIterator[Whole]:
    """Run an engine that has the image ``busybox:latest``; for a test that is `isolated`."""
    unmount("/sys", MNT_DETACH)  # the isolated one has no control groups
    exec_root = RUN / f"w{os.getpid()}"
    config = Config(data_root=str(data / "data"), exec_root=str(exec_root), userland_proxy=False)
    config.layout.data_root.mkdir(parents=True)
    exec_root.mkdir(parents=True)
    CGROUPS.add(config.layout.cgroup_parent.strip("/"))
    parts = wiring.build(config)
    engine = parts.engine
    try:
        await parts.names.start()
        await engine.containers.adopt()
        await engine.volumes.adopt(set())
        await engine.images.adopt()
        await _import(parts, busybox)
        yield Whole(parts)
    finally:
        for record in engine.containers.all():
            await engine.containers.remove(record.id, force=True, volumes=True)
        await engine.networks.shut()
        await asyncio.to_thread(engine.networks.dissolve)
        await parts.names.quit()
        await parts.close()
        await asyncio.to_thread(cgroup.remove, engine.containers.host.groups, engine.layout.cgroup_parent)
        _end(str(exec_root))
        shutil.rmtree(exec_root, ignore_errors=True)


async def _import(parts: wiring.Parts, tar: Path) -> None:
    async def body() -> AsyncIterator[bytes]:
        yield tar.read_bytes()

    changes = ('CMD ["sh"]', "ENV PATH=/bin:/sbin:/usr/bin")
    said = parts.engine.images.import_(body(), target=parse_reference("busybox:latest"), changes=changes)
    async with aclosing(said) as messages:
        async for _ in messages:
            pass


def _end(mark: str) -> None:
    """End what would outlive the engine, by its command line."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal() and int(entry.name) != os.getpid():
            with contextlib.suppress(OSError):
                if mark.encode() in (entry / "cmdline").read_bytes():
                    os.kill(int(entry.name), signal.SIGKILL)
