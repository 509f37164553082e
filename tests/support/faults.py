"""Makes a change fail, or its engine die, at each of its steps in turn; a test looks each time at what is left.

    async for steps in failing(world.fault, lambda: world.service.open(one.id)):
        assert what_there_is() == before
    assert steps == 5, "and this is how much there was to take back"

A step is one of a plan's, carried out in the kernel by `FailingKernel`, or one record's, written by `FailingRecords`.

Programs that work for the engine die alone, at each call of theirs that changes something:

    async for cut in cutting("treecopy_child.py", lambda: copies.clone("one", "two")):
        assert what_there_is() == before, cut
"""

import asyncio
import contextlib
import os
import re
import shutil
import signal
import tempfile
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Generic, Protocol, TypeVar

import pytest

from berth.base.errors import EngineError, SystemFault
from berth.kernel import link, nft, process
from berth.kernel.actuator import KernelActuator
from berth.plan.model import Step
from berth.store.base import First, Records

#: What a step that is made to fail says.
INJECTED: Final = "made to fail"
#: How a killed engine ends, and one that has failed by itself.
KILLED: Final = 7
BROKEN: Final = 8
#: Seconds after which an engine of its own is ended.
LIMIT_S: Final = 240
#: Steps no change of these tests has.
TOO_MANY: Final = 99

R = TypeVar("R")


class Fault:
    """Counts steps; in one of them something happens."""

    def __init__(self) -> None:
        self.steps = 0
        #: The step that fails or is the last one, from 1; none if it is 0.
        self.at = 0
        self.kills = False

    def arm(self, at: int, *, kills: bool = False) -> None:
        """Count from here, and let the step `at` be the one."""
        self.steps, self.at, self.kills = 0, at, kills

    @property
    def fired(self) -> bool:
        return 0 < self.at <= self.steps

    def before(self) -> None:
        """A step is about to be done."""
        self.steps += 1
        if self.steps == self.at and not self.kills:
            raise SystemFault(INJECTED)

    def after(self) -> None:
        """It is done, and nobody has been told."""
        if self.steps == self.at and self.kills:
            os._exit(KILLED)


class FailingKernel(KernelActuator):
    """The real one, but for the step of the fault."""

    def __init__(self, fault: Fault) -> None:
        super().__init__()
        self._fault = fault

    def apply(self, step: Step) -> Step | None:
        self._fault.before()
        done = super().apply(step)
        self._fault.after()
        return done


class FailingRecords(Generic[R]):
    """Real records, but for the write of the fault. A kill comes before the write, and again after it."""

    def __init__(self, records: Records[R], fault: Fault) -> None:
        self._records, self._fault = records, fault

    def __getattr__(self, name: str) -> Any:
        return getattr(self._records, name)

    async def put(self, key: str, record: R, *, first: First | None = None) -> None:
        await self._written(self._records.put(key, record, first=first))

    async def drop(self, key: str) -> None:
        await self._written(self._records.drop(key))

    async def _written(self, work: Awaitable[None]) -> None:
        self._fault.before()
        self._fault.after()
        await work
        if self._fault.kills:
            self._fault.steps += 1
            self._fault.after()


class Mortal(Protocol):
    """A world whose engine can die."""

    fault: Fault

    def wake(self) -> None:
        """Go on in a process that has just been forked: of this one's threads none is there."""


W = TypeVar("W", bound=Mortal)


async def failing(
    fault: Fault, change: Callable[[], Awaitable[object]], *, unheard: Collection[int] = ()
) -> AsyncIterator[int]:
    """Let each step of a change fail in turn; yield after each, until it goes through. Steps `unheard` are left out."""
    for at in range(1, TOO_MANY):
        if at in unheard:
            continue
        fault.arm(at)
        try:
            await change()
        except EngineError as exc:
            fault.arm(0)
            if INJECTED not in str(exc):
                raise
            yield at
        else:
            assert not fault.fired, f"nobody heard that step {at} has failed"
            fault.arm(0)
            return
    pytest.fail("too many steps")


async def killing(
    world: W, change: Callable[[W], Awaitable[object]], restart: Callable[[], Awaitable[W]]
) -> AsyncIterator[tuple[int, W]]:
    """Kill the engine in each step of a change in turn; yield the next engine's world after each, until none is left.

    The engine that changes something is a process of its own on the same machine, with what this one remembers. The
    last one is not killed: what it did stays, and of that this one knows nothing.
    """
    for at in range(1, TOO_MANY):
        if await asyncio.to_thread(ended_in, world, at, change) == 0:
            return
        world = await restart()
        yield at, world
    pytest.fail("too many steps")


def ended_in(world: W, at: int, change: Callable[[W], Awaitable[object]]) -> int:
    """Carry out a change in an engine of its own that is killed in one step; return how it ended, 0 for alive."""

    def armed(world: W) -> Awaitable[object]:
        world.fault.arm(at, kills=True)
        return change(world)

    status = elsewhere(world, armed)
    assert status in (0, KILLED), f"step {at}: it ended by itself, with {status}"
    return status


def elsewhere(world: W, work: Callable[[W], Awaitable[object]]) -> int:
    """Do work in a process of its own, which has what this one remembers; return how it ended."""
    child = os.fork()
    if child == 0:
        try:
            _go_on(world, work)
        finally:
            os._exit(BROKEN)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def _go_on(world: W, work: Callable[[W], Awaitable[object]]) -> None:
    async def awaited() -> None:
        await work(world)

    signal.alarm(LIMIT_S)
    link.host.cache_clear()
    nft.host.cache_clear()
    asyncio._set_running_loop(None)
    try:
        world.wake()
        asyncio.new_event_loop().run_until_complete(awaited())
    except BaseException:
        traceback.print_exc()
    else:
        os._exit(0)


# -- programs that work for the engine, and die alone

#: Calls by which a program changes files or mounts, or says something, and the last one of all (syscalls(2)).
CHANGES: Final = (
    "mkdir,mkdirat,mknod,mknodat,rename,renameat,renameat2,link,linkat,symlink,symlinkat,unlink,unlinkat,rmdir,"
    "chmod,fchmod,fchmodat,chown,fchown,lchown,fchownat,utimensat,setxattr,fsetxattr,lsetxattr,removexattr,"
    "write,pwrite64,copy_file_range,sendfile,truncate,ftruncate,fallocate,mount,umount2,open_tree,move_mount,"
    "mount_setattr,fsmount,setns,exit_group"
)
#: The last one of all: what the program had to say is said.
_LAST: Final = "exit_group"
_CALL: Final = re.compile(r"^(\w+)\(", re.MULTILINE)


@dataclass(frozen=True)
class Cut:
    """A program was killed as it entered a call; the engine answered with `error`, or none."""

    call: str
    error: EngineError | None

    @property
    def said(self) -> str:
        return str(self.error or "")

    @property
    def last(self) -> bool:
        """Whether the program had done and said everything."""
        return self.call.startswith(_LAST)


async def cutting(
    program: str, change: Callable[[], Awaitable[object]], *, every: int = 1, again: bool = False
) -> AsyncIterator[Cut]:
    """Kill a program of the engine's in its last call, then in each before it that changes something; yield each time.

    `program` is the end of a word of its command line. Of several that are started during `change` the first one dies,
    with `again` each of them, also those that are to undo something. With `every` calls are left out. When the loop
    ends `change` has gone through with nobody killed; what a change did whose program died in its last call is for the
    body of the loop to take back.
    """
    with tempfile.TemporaryDirectory() as place:

        async def cut(name: str, number: int) -> tuple[Cut, list[str]]:
            log, error = Path(place) / f"{name}-{number}", None
            how = [f"--trace={CHANGES}", f"--inject={name}:signal=SIGKILL:when={number}"]
            how += [] if name == _LAST else [f"--inject={_LAST}:signal=SIGKILL"]
            with _traced(program, how, log, again=again):
                try:
                    await change()
                except EngineError as exc:
                    error = exc
            assert log.exists(), f"{program} was not started"
            text = log.read_text()
            # strace itself is killed by the engine now and then before it has written that down.
            assert name == _LAST or "killed by SIGKILL" in text or text.endswith("= ?\n"), text
            calls = _CALL.findall(text)
            if calls[-1] != _LAST and name == _LAST:
                calls.append(_LAST)
            return Cut(f"{calls[-1]} {calls.count(calls[-1])}", error), calls

        first, calls = await cut(_LAST, 1)
        yield first
        met: dict[str, int] = {}
        for at, name in enumerate(calls[:-1]):
            met[name] = met.get(name, 0) + 1
            if at % every == 0:
                yield (await cut(name, met[name]))[0]
    await change()


@contextlib.contextmanager
def _traced(program: str, how: Collection[str], log: Path, *, again: bool) -> Iterator[None]:
    """Let the engine start a program under strace(1); of several only the first writes to `log`."""
    real, strace = process.spawn, shutil.which("strace")
    assert strace, "needs strace (scripts/setup tests installs it)"

    def spawn(argv: Any, **more: Any) -> process.Child:
        if any(word.endswith(program) for word in argv) and (again or not log.exists()):
            to = Path("/dev/null") if log.exists() else log
            to.touch()
            argv = [strace, "-qq", f"--output={to}", *how, *argv]
        return real(argv, **more)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(process, "spawn", spawn)
        yield
