"""Changes the mounts of a container that runs, by a process of its own; see `livemount_child` for how.

The process inherits a lock of the caller's: it is held until the process has ended, though the engine be killed
meanwhile. Must not: know what a mount is for.
"""

import marshal
import sys
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Final

import msgspec

from berth.base.errors import SystemFault
from berth.kernel import process

#: How long a change may take, in seconds: what is mounted may lie on a server that is gone.
LIMIT_S: Final = 60.0
_CHILD: Final = str(Path(__file__).with_name("livemount_child.py"))


class LiveMountFailed(SystemFault):
    """The mounts of a running container could not be changed.

    `as_before`: it has what it had; otherwise what it has is not known.
    """

    def __init__(self, reason: str, *, as_before: bool = False) -> None:
        super().__init__(f"cannot change the mounts of the running container: {reason}")
        self.as_before = as_before


class Attach(msgspec.Struct, frozen=True):
    """A mount to come, as an entry of an OCI specification."""

    target: str
    source: str
    type: str
    options: tuple[str, ...]


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """What is to change in the mount namespace of a process."""

    pid: int
    #: When the process started, in clock ticks: another may have got its number.
    started: int
    #: Targets whose mounts go, deepest first.
    detach: Sequence[str] = ()
    #: Parents first.
    attach: Sequence[Attach] = ()
    #: Those of `detach` with no other change above or below, which can be exchanged without a gap.
    alone: Collection[str] = ()
    #: Places, symlinks resolved, where nothing may be put.
    protected: Collection[str] = ()
    #: Whatever is mounted at `detach` goes for good, however much that is.
    clear: bool = False
    limit_s: float = LIMIT_S


async def carry_out(order: Order, lock: int) -> None:
    """Change the mounts, all or nothing; `lock` is kept open until it is over. Raises `LiveMountFailed`."""
    argv = (sys.executable, "-I", "-S", _CHILD)
    feed = marshal.dumps(msgspec.to_builtins(order))
    try:
        said = await process.run(argv, timeout_s=order.limit_s, env={}, feed=feed, check=False, pass_fds=(lock,))
    except process.ProgramTimedOut:
        raise LiveMountFailed(f"no answer within {order.limit_s:g} s; is the server of the mount reachable?") from None
    begun, _, error = said.stdout.partition(b"=")
    if begun or not said.stdout:
        last = said.stderr.decode(errors="replace").strip().rpartition("\n")[2]
        how = process.ended(said.returncode)
        raise LiveMountFailed(f"the process that changes mounts {how}{f': {last}' if last else ''}")
    if error:
        raise LiveMountFailed(error.decode("utf-8", "surrogateescape"), as_before=True)
