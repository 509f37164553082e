"""Kernel settings below /proc/sys. Must not: choose them."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Final, cast

from berth.base.errors import SystemFault
from berth.kernel import netns
from berth.plan.model import Step
from berth.plan.steps.sysctl import WriteSysctl

ROOT: Final = Path("/proc/sys")
#: Longest value of a setting, in bytes: the kernel fills at most a page of most machines.
_LONGEST: Final = 4096


class SysctlRefused(SystemFault):
    """A setting is unknown to this kernel, or cannot be written."""

    def __init__(self, key: str, reason: str) -> None:
        super().__init__(f"sysctl {key}: {reason}")


def path(key: str) -> Path:
    """Return the file of a setting; dots separate unless slashes do (a link's name may hold dots)."""
    return Path(_file(key))


def _file(key: str) -> str:
    return f"{ROOT}/{key if '/' in key else key.replace('.', '/')}"


def read(key: str) -> str:
    """Return a setting's value. Raises `SysctlRefused`."""
    try:
        fd = os.open(_file(key), os.O_RDONLY | os.O_CLOEXEC)
        try:
            return os.read(fd, _LONGEST).decode().strip()
        finally:
            os.close(fd)
    except OSError as exc:
        raise SysctlRefused(key, exc.strerror or "") from exc


def write(key: str, value: str) -> str | None:
    """Write a setting and return the value before, or None if it had that value already. Raises `SysctlRefused`."""
    before = read(key)
    if before == value:
        return None
    try:
        fd = os.open(_file(key), os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.write(fd, value.encode())
        finally:
            os.close(fd)
    except OSError as exc:
        raise SysctlRefused(key, exc.strerror or "") from exc
    return before


def _write(step: Step) -> Step | None:
    want = cast("WriteSysctl", step)
    if want.namespace:
        before = netns.inside(want.namespace, write, want.key, want.value)
    else:
        before = write(want.key, want.value)
    return None if before is None else WriteSysctl(want.key, before, want.namespace)


HANDLERS: dict[type[Step], Callable[[Step], Step | None]] = {WriteSysctl: _write}
UNDO: dict[type[Step], Callable[[Step], Step | None]] = {}
