"""The command line that crun and runc share, beyond `create`, which conmon gives. Must not: know Docker's words."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec

from berth.base.errors import SystemFault
from berth.kernel import process

#: Seconds a runtime's command may take.
LIMIT_S: Final = 60.0


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
        """Let a created container's process go."""
        await self._run("start", ident)

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
