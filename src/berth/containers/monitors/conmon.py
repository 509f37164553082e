r"""Launches conmon, one per container, and knows the files it makes. Must not: know what a container is for.

conmon holds the container's streams and log, outlives the engine (a session of its own), and when the
process ends writes the exit code to ``EXIT_DIR/ID`` and ends itself. In the bundle it makes

    attach   SEQPACKET socket: what the process prints, each packet after one byte saying which stream (2 out, 3 err);
             what is sent to it becomes standard input
    ctl      FIFO: ``1 HEIGHT WIDTH\n`` sets the terminal's size, ``2 0 0\\n`` reopens the log
    winsz    FIFO: ``HEIGHT WIDTH\n``

(conmon 2.1.6, src/conn_sock.c, src/ctrl.c, src/parent_pipe_fd.c). It leaves them there when it ends.
"""

import asyncio
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec

from berth.base.errors import SystemFault
from berth.kernel import process

PROGRAM: Final = "conmon"

#: Seconds the OCI runtime gets to create a container; a machine that thrashes needs many.
CREATE_LIMIT_S: Final = 120.0


def attach_socket(bundle: Path) -> Path:
    """Where conmon listens; the path may exceed a socket address's 108 bytes: connect through /proc/self/fd."""
    return bundle / "attach"


def control_fifo(bundle: Path) -> Path:
    """Where conmon takes orders."""
    return bundle / "ctl"


def order_reopening(bundle: Path) -> bool:
    """Tell a monitor to open its log anew; False if it does not listen any more."""
    try:
        fd = os.open(control_fifo(bundle), os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        os.write(fd, b"2 0 0\n")
    finally:
        os.close(fd)
    return True


def _forget_fifos(bundle: Path) -> None:
    """Remove the FIFOs of a run before: conmon 2.0 (Ubuntu 22.04) ends without a word where they are."""
    for name in ("ctl", "winsz"):
        (bundle / name).unlink(missing_ok=True)


def exit_file(exit_dir: Path, ident: str) -> Path:
    """Where conmon writes the exit code."""
    return exit_dir / ident


class RuntimeRefused(SystemFault):
    """The OCI runtime could not create the container; `said` is what it printed."""

    def __init__(self, said: str) -> None:
        super().__init__(said)
        self.said = said


@dataclass(frozen=True, kw_only=True)
class Order:
    """What to launch."""

    ident: str
    name: str
    bundle: Path
    exit_dir: Path
    runtime: str
    runtime_args: Sequence[str]
    #: ``driver:path`` as conmon takes it; several are allowed, none means no log.
    logs: Sequence[str] = ()
    log_bytes: int = 0
    terminal: bool = False
    stdin: bool = False
    leave_stdin_open: bool = False
    environment: Mapping[str, str] | None = None

    def argv(self) -> list[str]:
        """Write the order as a command line."""
        argv = [PROGRAM, "--api-version", "1", "--sync", "--no-sync-log", "--full-attach", "--log-level", "error"]
        argv += ["-b", str(self.bundle), "-c", self.ident, "-u", self.ident, "-n", self.name]
        argv += ["-p", str(self.bundle / "pid"), "--exit-dir", str(self.exit_dir), "-r", self.runtime]
        for arg in self.runtime_args:
            argv += ["--runtime-arg", arg]
        for log in self.logs or ("none",):
            argv += ["-l", log]
        if self.log_bytes > 0:
            argv += ["--log-size-max", str(self.log_bytes)]
        if self.terminal:
            argv.append("-t")
        elif self.stdin:
            argv.append("-i")
        if self.leave_stdin_open:
            argv.append("--leave-stdin-open")
        return argv


@dataclass(frozen=True)
class Launched:
    """A monitor at work and the process it holds, created and not yet started."""

    monitor: process.Child
    pid: int


class _Said(msgspec.Struct):
    """One line on conmon's sync pipe: the pid, or a negative number and why."""

    data: int = 0
    message: str = ""


async def launch(order: Order) -> Launched:
    """Start conmon and wait until the runtime has created the container. Raises `RuntimeRefused`."""
    _forget_fifos(order.bundle)
    reader, writer = os.pipe2(os.O_CLOEXEC)
    try:
        try:
            monitor = process.spawn(
                order.argv(),
                env={"PATH": os.environ.get("PATH", os.defpath), "_OCI_SYNCPIPE": str(writer)}
                | dict(order.environment or {}),
                pass_fds=(writer,),
                new_session=True,
            )
        finally:
            os.close(writer)
        said = b""
        try:
            async with asyncio.timeout(CREATE_LIMIT_S):
                async for piece in process.read_pipe(reader):
                    said += piece
                    if said.endswith(b"\n"):
                        break
        except BaseException:
            monitor.kill()
            await monitor.wait()
            raise
    finally:
        os.close(reader)
    answer = _read(said)
    if answer.data <= 0:
        await monitor.wait()
        raise RuntimeRefused(_reason(answer.message) or f"conmon ended before it created a container ({said!r})")
    return Launched(monitor, answer.data)


def _read(said: bytes) -> _Said:
    try:
        return msgspec.json.decode(said.strip() or b"{}", type=_Said, strict=False)
    except msgspec.DecodeError:
        return _Said(message=said.decode(errors="replace"))


class _LogLine(msgspec.Struct):
    level: str = ""
    msg: str = ""


def _reason(text: str) -> str:
    """Take the errors out of what the runtime printed, be it plain lines or one JSON object per line."""
    reasons = []
    for line in text.splitlines():
        try:
            parsed = msgspec.json.decode(line, type=_LogLine)
        except msgspec.DecodeError:
            reasons.append(line.strip())
        else:
            if parsed.level in ("error", "fatal", ""):
                reasons.append(parsed.msg.strip())
    return "\n".join(dict.fromkeys(reason for reason in reasons if reason))


def exit_code(exit_dir: Path, ident: str) -> int | None:
    """Read the exit code conmon wrote; None if it has not."""
    try:
        text = exit_file(exit_dir, ident).read_text()
    except FileNotFoundError:
        return None
    try:
        return int(text)
    except ValueError:
        return None
