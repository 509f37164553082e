"""The process that the OCI runtime is to run, and what its complaints mean."""

import contextlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import msgspec

from berth.base.errors import SystemFault
from berth.containers.errors import cannot_be_executed
from berth.containers.execs.model import Command, StartFailed
from berth.containers.model import ContainerRecord
from berth.containers.users import Identity, resolve
from berth.kernel.rootpath import open_inside

#: Exit codes of a command that could not be found or not be run (POSIX shell, section 2.8.2).
NOT_FOUND: Final = 127
NOT_RUNNABLE: Final = 126
#: A passwd or group file larger than this is not read.
_ACCOUNTS_BYTES: Final = 4 * 1024 * 1024
#: Capabilities by number (linux/capability.h).
_CAPABILITIES: Final = (
    "CHOWN", "DAC_OVERRIDE", "DAC_READ_SEARCH", "FOWNER", "FSETID", "KILL", "SETGID", "SETUID", "SETPCAP",
    "LINUX_IMMUTABLE", "NET_BIND_SERVICE", "NET_BROADCAST", "NET_ADMIN", "NET_RAW", "IPC_LOCK", "IPC_OWNER",
    "SYS_MODULE", "SYS_RAWIO", "SYS_CHROOT", "SYS_PTRACE", "SYS_PACCT", "SYS_ADMIN", "SYS_BOOT", "SYS_NICE",
    "SYS_RESOURCE", "SYS_TIME", "SYS_TTY_CONFIG", "MKNOD", "LEASE", "AUDIT_WRITE", "AUDIT_CONTROL", "SETFCAP",
    "MAC_OVERRIDE", "MAC_ADMIN", "SYSLOG", "WAKE_ALARM", "BLOCK_SUSPEND", "AUDIT_READ", "PERFMON", "BPF",
    "CHECKPOINT_RESTORE",
)  # fmt: skip


class _Report(msgspec.Struct):
    """One line the runtime logs."""

    level: str = ""
    msg: str = ""


def process_spec(bundle: Path, record: ContainerRecord, command: Command, size: tuple[int, int] | None = None) -> bytes:
    """Describe the process as the OCI runtime takes it: as the container's own, but for what the command says."""
    try:
        spec = dict(msgspec.json.decode((bundle / "config.json").read_bytes())["process"])
    except (OSError, KeyError, msgspec.DecodeError) as exc:
        reason = exc.strerror if isinstance(exc, OSError) else exc
        raise SystemFault(f"container {record.id} has no readable bundle: {reason}") from None
    env = dict(pair.partition("=")[::2] for pair in spec.get("env", ()))
    configured = {pair.partition("=")[0] for pair in record.config.env or ()}
    if command.user:
        root = os.open(f"/proc/{record.pid}/root", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            who = identity(root, record, command.user)
        finally:
            os.close(root)
        spec["user"] = {"uid": who.uid, "gid": who.gid, "additionalGids": list(who.groups)}
        if "HOME" not in configured:
            env["HOME"] = who.home
    if command.tty:
        env.setdefault("TERM", "xterm")
    elif "TERM" not in configured:
        env.pop("TERM", None)
    for pair in command.env:
        key, given, value = pair.partition("=")
        if given:
            env[key] = value
        else:
            env.pop(key, None)
    spec |= {
        "terminal": command.tty,
        "args": list(command.argv),
        "env": [f"{key}={value}" for key, value in env.items()],
        "cwd": command.working_dir or spec.get("cwd") or "/",
    }
    if command.tty and size is not None:
        spec["consoleSize"] = {"height": size[0], "width": size[1]}
    else:
        spec.pop("consoleSize", None)
    if command.privileged:
        spec |= privileges()
        spec.pop("apparmorProfile", None)
    return msgspec.json.encode(spec)


def privileges() -> Mapping[str, object]:
    """Return the parts of a process description that give it every capability."""
    every = [f"CAP_{name}" for name in _CAPABILITIES[: _last_capability() + 1]]
    return {
        "capabilities": dict.fromkeys(("bounding", "effective", "permitted"), every),
        "noNewPrivileges": False,
    }


def _last_capability() -> int:
    return int(Path("/proc/sys/kernel/cap_last_cap").read_text())


def identity(root: int, record: ContainerRecord, user: str) -> Identity:
    """Find out who `user` is in a container whose root directory is open."""
    passwd, group = (_read_inside(root, name) for name in ("/etc/passwd", "/etc/group"))
    return resolve(user, passwd, group, record.host_config.group_add or ())


def _read_inside(root: int, path: str) -> str:
    try:
        fd = open_inside(root, path, os.O_RDONLY | os.O_NONBLOCK)
    except OSError:
        return ""
    with open(fd, "rb") as file:
        return file.read(_ACCOUNTS_BYTES).decode(errors="replace")


def translate(complaint: str, command: Command) -> StartFailed:
    """Say what the runtime complained of in the words clients know, with the status a shell would return."""
    said = complaint.removeprefix("exec failed: ").removeprefix("unable to start container process: ")
    lower, first = said.lower(), command.argv[0]
    if "chdir" in lower:
        path = command.working_dir or "/"
        reason = lower.rsplit(": ", 1)[-1]
        return StartFailed(f'chdir to cwd ("{path}") set in config.json failed: {reason}', NOT_RUNNABLE)
    if "not found in $path" in lower:
        return StartFailed(f'exec: "{first}": executable file not found in $PATH', NOT_FOUND)
    if "no such file or directory" in lower and ("executable" in lower or "exec" in lower):
        return StartFailed(f'exec: "{first}": stat {first}: no such file or directory', NOT_FOUND)
    if cannot_be_executed(lower) or (lower.startswith("exec") and ("permi" in lower or "is a directory" in lower)):
        return StartFailed(f'exec: "{first}": permission denied', NOT_RUNNABLE)
    if "exec format error" in lower:
        return StartFailed(f"exec {first}: exec format error", NOT_RUNNABLE)
    return StartFailed(said, NOT_RUNNABLE)


def complaint_of(said: bytes) -> str:
    """Return the last error among the lines that a runtime logged, empty if there is none."""
    """Take the last error out of a runtime's log lines, which may follow a pid."""
    start = said.find(b"{")
    found = ""
    for line in said[start:].splitlines() if start >= 0 else ():
        with contextlib.suppress(msgspec.DecodeError):
            report = msgspec.json.decode(line, type=_Report)
            if report.level in ("error", "fatal", ""):
                found = report.msg
    return found
