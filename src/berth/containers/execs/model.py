"""A command in a container: what was asked for, and what became of it."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from berth.base.errors import Conflict, InvalidArgument, NotFound
from berth.containers.attach import NotRunning
from berth.containers.model import ContainerRecord
from berth.containers.states import State
from berth.kernel import process


class NoSuchExec(NotFound):
    """No instance has this id."""

    def __init__(self, ident: str) -> None:
        super().__init__(f"No such exec instance: {ident}")


class StartFailed(InvalidArgument):
    """The command could not be started; `exit_code` is what a shell would return."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(f"OCI runtime exec failed: exec failed: unable to start container process: {message}")
        self.exit_code = exit_code


@dataclass(frozen=True, kw_only=True)
class Command:
    """What to run."""

    argv: tuple[str, ...]
    stdin: bool = False
    stdout: bool = False
    stderr: bool = False
    tty: bool = False
    privileged: bool = False
    user: str = ""
    working_dir: str = ""
    env: tuple[str, ...] = ()
    detach_keys: str = ""
    size: tuple[int, int] | None = None

    @property
    def spoken(self) -> str:
        """How Docker's events name it: a blank stands after the program also where nothing follows."""
        return f"{self.argv[0]} {' '.join(self.argv[1:])}"


@dataclass(eq=False)
class Instance:
    """One command, from its creation to its being forgotten."""

    id: str
    container_id: str
    command: Command
    pid: int = 0
    exit_code: int | None = None
    running: bool = False
    ended_ns: int = 0
    terminal: int | None = None
    child: process.Child | None = None
    #: The runtime proxies the terminal itself and must be told of a new size.
    proxied: bool = False
    started: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def has_run(self) -> bool:
        """Whether it was started before."""
        return self.running or self.exit_code is not None

    def to_wire(self) -> dict[str, Any]:
        """Render it as ``GET /exec/{id}/json`` does."""
        config: dict[str, Any] = {
            "tty": self.command.tty,
            "entrypoint": self.command.argv[0],
            "arguments": list(self.command.argv[1:]),
            "privileged": self.command.privileged,
        }
        if self.command.user:
            config["user"] = self.command.user
        return {
            "ID": self.id,
            "Running": self.running,
            "ExitCode": self.exit_code,
            "ProcessConfig": config,
            "OpenStdin": self.command.stdin,
            "OpenStderr": self.command.stderr,
            "OpenStdout": self.command.stdout,
            "CanRemove": self.exit_code is not None,
            "ContainerID": self.container_id,
            "DetachKeys": self.command.detach_keys,
            "Pid": self.pid,
        }


def check_running(record: ContainerRecord) -> None:
    """Raise unless commands can run in the container now."""
    if record.state is State.PAUSED:
        raise Conflict(f"container {record.id} is paused, unpause the container before exec")
    if record.state is State.RESTARTING:
        raise Conflict(f"container {record.id} is restarting, wait until the container is running")
    if not record.running:
        raise NotRunning(record.id)


def parse_size(pair: Sequence[int] | None) -> tuple[int, int] | None:
    """Read ``[height, width]``; nothing or zeros mean unknown. Raises `InvalidArgument`."""
    if not pair or list(pair) == [0, 0]:
        return None
    if len(pair) != 2 or not all(0 <= part <= 65_535 for part in pair):
        raise InvalidArgument(f"invalid console size {list(pair)}")
    return pair[0], pair[1]
