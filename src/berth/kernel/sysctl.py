"""Kernel settings below /proc/sys. Must not: choose them."""

from collections.abc import Callable
from pathlib import Path
from typing import Final, cast

from berth.base.errors import SystemFault
from berth.kernel import netns
from berth.plan.model import Step
from berth.plan.steps.sysctl import WriteSysctl

ROOT: Final = Path("/proc/sys")


class SysctlRefused(SystemFault):
    """A setting is unknown to this kernel, or cannot be written."""

    def __init__(self, key: str, reason: str) -> None:
        super().__init__(f"sysctl {key}: {reason}")


def path(key: str) -> Path:
    """Return the file of a setting; dots separate unless slashes do (a link's name may hold dots)."""
    return ROOT / (key if "/" in key else key.replace(".", "/"))


def read(key: str) -> str:
    """Return a setting's value. Raises `SysctlRefused`."""
    try:
        return path(key).read_text().strip()
    except OSError as exc:
        raise SysctlRefused(key, exc.strerror or "") from exc


def write(key: str, value: str) -> str | None:
    """Write a setting and return the value before, or None if it had that value already. Raises `SysctlRefused`."""
    before = read(key)
    if before == value:
        return None
    try:
        path(key).write_text(value)
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
