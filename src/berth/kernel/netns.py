"""Network namespaces: make, pin to a file, enter for one errand, remove. Blocking.

A thread that changes its namespace is never used for anything but errands: it enters where each of them leads, and
nobody else's work is ever done in it. Must not: know what a namespace is for.
"""

import contextlib
import ctypes
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from queue import SimpleQueue
from typing import Any, Final, Generic, ParamSpec, TypeVar, cast

from berth.base.errors import SystemFault
from berth.kernel import netlink
from berth.kernel.libc import LIBC, check
from berth.kernel.mount import bind, unmount
from berth.kernel.mountflags import MNT_DETACH
from berth.plan.model import Step
from berth.plan.steps.netns import MakeNamespace, RemoveNamespace, TakeNamespace

T = TypeVar("T")
P = ParamSpec("P")

#: linux/sched.h
CLONE_NEWNET: Final = 0x4000_0000

LIBC.unshare.argtypes = (ctypes.c_int,)
LIBC.setns.argtypes = (ctypes.c_int, ctypes.c_int)


class NamespaceGone(SystemFault):
    """The file pins no namespace (any more)."""

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(f"network namespace {path}: {reason}")


class _Errand(Generic[T]):
    """Work for a thread that may change its namespace, and what became of it."""

    def __init__(self, work: Callable[[], T]) -> None:
        self._work = work
        self._outcome: list[T] = []
        self._failure: list[BaseException] = []

    def do(self) -> None:
        try:
            self._outcome.append(self._work())
        except BaseException as exc:  # noqa: BLE001  carried over to the thread that waits
            self._failure.append(exc)

    def result(self) -> T:
        if self._failure:
            raise self._failure[0]
        return self._outcome[0]


def _errand(work: Callable[[], T]) -> T:
    """Run `work` in a thread of its own and return, or raise, what it did."""
    errand = _Errand(work)
    thread = threading.Thread(target=errand.do, name="berth-netns")
    thread.start()
    thread.join()
    return errand.result()


class _Runner:
    """A thread that does one errand after the other, each of which enters a namespace first.

    It waits for the next one in the process's own: otherwise it would keep the last one's alive.
    """

    def __init__(self) -> None:
        self._errands: SimpleQueue[_Errand[Any] | None] = SimpleQueue()
        self._told: SimpleQueue[bool] = SimpleQueue()
        with opened("/proc/self/ns/net") as home:
            self._home = os.dup(home)
        try:
            threading.Thread(target=self._run, name="berth-netns", daemon=True).start()
        except BaseException:
            os.close(self._home)
            raise

    def do(self, errand: _Errand[Any]) -> bool:
        """Do an errand; tell whether another may follow."""
        self._errands.put(errand)
        return self._told.get()

    def end(self) -> None:
        """Let the thread end."""
        self._errands.put(None)

    def _run(self) -> None:
        back = True
        while back and (errand := self._errands.get()) is not None:
            errand.do()
            del errand
            back = LIBC.setns(self._home, CLONE_NEWNET) == 0
            self._told.put(back)
        os.close(self._home)


#: Those without an errand. Starting a thread takes longer than most errands do.
_waiting: Final[list[_Runner]] = []
#: How many may wait: more are needed only by many plans at once.
_MOST_WAITING: Final = 4

# In a process that was forked off none of them is there.
os.register_at_fork(after_in_child=_waiting.clear)


def _run_in(enter: Callable[[], T]) -> T:
    """Run what enters a namespace first, in a thread for such errands."""
    try:
        runner = _waiting.pop()
    except IndexError:
        runner = _Runner()
    errand = _Errand(enter)
    if runner.do(errand):
        if len(_waiting) < _MOST_WAITING:
            _waiting.append(runner)
        else:
            runner.end()
    return errand.result()


def create(path: str) -> None:
    """Make a namespace with the loopback link up and pin it to the new file `path`.

    IPv6 stays off on links to come until someone asks for it: no network has it unless told.
    """

    def make() -> None:
        check(LIBC.unshare(CLONE_NEWNET), "unshare network namespace")
        bind("/proc/thread-self/ns/net", path)
        with netlink.RouteSocket() as route:
            route.send(netlink.set_up("lo"))
        with contextlib.suppress(OSError):  # a kernel without IPv6
            Path("/proc/sys/net/ipv6/conf/default/disable_ipv6").write_text("1")

    os.close(os.open(path, os.O_RDONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o444))
    try:
        _errand(make)
    except BaseException:
        remove(path)  # it may be pinned already
        raise


def remove(path: str) -> bool:
    """Unpin a namespace; it ends with the last process in it. False when there was none."""
    there = unmount(path, MNT_DETACH)
    try:
        os.unlink(path)
    except FileNotFoundError:
        return there
    return True


@contextlib.contextmanager
def opened(path: str) -> Iterator[int]:
    """Lend a descriptor of a pinned namespace. Raises `NamespaceGone`."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as exc:
        raise NamespaceGone(path, os.strerror(exc.errno or 0)) from exc
    try:
        yield fd
    finally:
        os.close(fd)


def inside(path: str, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Run `work` in a pinned namespace, in a thread for such errands, and return its value.

    Sockets it opens belong to that namespace for good. Raises `NamespaceGone`.
    """

    def enter(fd: int) -> T:
        if LIBC.setns(fd, CLONE_NEWNET) < 0:
            raise NamespaceGone(path, os.strerror(ctypes.get_errno()))
        return work(*args, **kwargs)

    with opened(path) as fd:
        return _run_in(lambda: enter(fd))


def apart(work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Run `work` in a new, empty namespace that ends with it, in a thread made for it, and return its value."""

    def enter() -> T:
        check(LIBC.unshare(CLONE_NEWNET), "unshare network namespace")
        return work(*args, **kwargs)

    return _errand(enter)


def _make(step: Step) -> Step | None:
    want = cast("MakeNamespace", step)
    create(want.path)
    return RemoveNamespace(want.path)


def _take(step: Step) -> Step | None:
    want = cast("TakeNamespace", step)
    with opened(want.path):
        return RemoveNamespace(want.path)


def _remove(step: Step) -> Step | None:
    remove(cast("RemoveNamespace", step).path)
    return None


def _undo_make(step: Step) -> Step | None:
    return RemoveNamespace(cast("MakeNamespace | TakeNamespace", step).path)


HANDLERS: dict[type[Step], Callable[[Step], Step | None]] = {
    MakeNamespace: _make,
    TakeNamespace: _take,
    RemoveNamespace: _remove,
}
UNDO: dict[type[Step], Callable[[Step], Step | None]] = {MakeNamespace: _undo_make, TakeNamespace: _undo_make}
