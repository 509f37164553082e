"""The command line that crun and runc share, beyond `create`, which conmon gives. Must not: know Docker's words."""

import logging
import os
import select
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec

from berth.base.aio import in_thread
from berth.base.errors import SystemFault
from berth.kernel import process
from berth.kernel.removal import remove_tree

log = logging.getLogger(__name__)

#: Seconds a runtime's command may take.
LIMIT_S: Final = 60.0
#: Seconds runc's init may take to come to its gate.
_GATE_LIMIT_S: Final = 5.0


class RuntimeFailed(SystemFault):
    """A runtime's command failed; the message is what it said."""


@dataclass(frozen=True)
class Runtime:
    """One installed OCI runtime with its own state directory."""

    #: crun or runc, as shown to users.
    name: str
    path: str
    root: Path
    #: Why this one was chosen.
    why: str = ""
    version: str = ""

    @property
    def global_args(self) -> tuple[str, ...]:
        """What goes before every command."""
        return ("--root", str(self.root))

    async def start(self, ident: str) -> None:
        """Let a created container's process go.

        The runtime holds it at a FIFO in its state directory until its own `start` comes; moving that one byte
        here costs a fiftieth of starting a program for it. Where this does not work, the program is started.
        """
        try:
            let_go = await in_thread(self._open_gate, ident)
        except OSError as exc:
            log.debug("%s: the gate of %s: %s", self.name, ident[:12], exc)
            let_go = False
        if not let_go:
            await self._run("start", ident)

    def _open_gate(self, ident: str) -> bool:
        gate = self.root / ident / "exec.fifo"
        match self.name:
            case "crun":  # its init waits for a byte (libcrun, status.c, libcrun_status_write_exec_fifo)
                fd = os.open(gate, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
                try:
                    gate.unlink()
                    os.write(fd, b"\0")
                finally:
                    os.close(fd)
                return True
            case "runc":  # its init waits for someone to take a byte (runc, libcontainer/container_linux.go, exec)
                fd = os.open(gate, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
                try:
                    come = select.poll()  # select(2) knows no numbers from 1,024 on
                    come.register(fd, select.POLLIN)
                    if not come.poll(_GATE_LIMIT_S * 1000) or not os.read(fd, 1):
                        return False
                finally:
                    os.close(fd)
                gate.unlink()
                return True
            case _:
                return False

    def forget(self, ident: str) -> None:
        """Remove the state of a container whose processes are gone (blocking)."""
        remove_tree(self.root / ident)

    def filter_of(self, ident: str) -> bytes | None:
        """Read the system call filter the runtime has compiled for a container, if it keeps one (blocking)."""
        if self.name != "crun":
            return None
        try:
            return (self.root / ident / "seccomp.bpf").read_bytes()
        except OSError:
            return None

    async def kill(self, ident: str, signum: int) -> None:
        """Send a signal to the container's first process."""
        await self._run("kill", ident, str(signum))

    async def pause(self, ident: str) -> None:
        """Freeze every process."""
        await self._run("pause", ident)

    async def resume(self, ident: str) -> None:
        """Thaw every process."""
        await self._run("resume", ident)

    async def delete(self, ident: str) -> None:
        """Remove what the runtime holds of a container: state, control groups, what still runs. May be repeated."""
        await self._run("delete", "--force", ident)

    async def update(self, ident: str, resources: object) -> None:
        """Apply the ``linux.resources`` part of a specification to a running container."""
        await self._run("update", "--resources", "-", ident, feed=msgspec.json.encode(resources))

    async def _run(self, command: str, *args: str, feed: bytes = b"") -> None:
        argv = [self.path, *self.global_args, command, *args]
        try:
            await process.run(argv, timeout_s=LIMIT_S, feed=feed)
        except process.ProgramFailed as exc:
            raise RuntimeFailed(last_error(exc.said)) from None


async def version_of(path: str) -> str:
    """Return what a runtime says its version is."""
    said = await process.run([path, "--version"], timeout_s=LIMIT_S)
    lines = said.stdout.decode(errors="replace").splitlines() or [""]
    return lines[0].rpartition(" ")[2]


def last_error(said: str) -> str:
    """Return the last thing a runtime complained of, without time stamps and colours."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    return lines[-1] if lines else "no reason given"


def exec_argv(runtime: Runtime, ident: str, spec: Path, *, terminal: bool) -> Sequence[str]:
    """Write the arguments conmon appends for ``exec``."""
    return [*runtime.global_args, "exec", *(["-t"] if terminal else []), "-p", str(spec), ident]
