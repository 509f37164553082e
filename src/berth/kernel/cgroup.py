"""Control groups, version 1, 2 and both at once: where they lie, what they count, and writing limits to running groups.

Must not: decide limits. Paths in groups are as a record has them, below each hierarchy's root. Blocking, microseconds.
"""

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Final

from berth.base.errors import SystemFault
from berth.kernel import mount, mountflags

#: Where distributions mount hierarchies (cgroups(7)).
_ROOT: Final = Path("/sys/fs/cgroup")
#: How often a group is asked whether it is frozen, in seconds.
_LOOK_S: Final = 0.002


class LimitRefused(SystemFault):
    """The kernel refused a limit."""

    def __init__(self, file: str, value: str, reason: str) -> None:
        super().__init__(f"cannot write {value!r} to {file}: {reason}")


@dataclass(frozen=True)
class Hierarchies:
    """What is mounted: version 1 controllers with their mounts, and the unified hierarchy's mount if there is one."""

    v1: Mapping[str, Path]
    unified: Path | None

    @cached_property
    def unified_controllers(self) -> frozenset[str]:
        """Controllers that the unified hierarchy manages."""
        if self.unified is None:
            return frozenset()
        try:
            return frozenset((self.unified / "cgroup.controllers").read_text().split())
        except OSError:
            return frozenset()

    @property
    def version(self) -> int:
        """1 or 2: which interface resource limits are written through."""
        return 1 if "memory" in self.v1 or "cpu" in self.v1 or self.unified is None else 2

    @property
    def is_hybrid(self) -> bool:
        """Whether version 1 controllers are mounted and the unified hierarchy has some left."""
        return self.version == 1 and bool(self.unified_controllers)

    def directory(self, group: str, controller: str) -> Path | None:
        """Return the directory of `group` for one controller; None if nothing manages that controller."""
        if controller in self.v1:
            return self.v1[controller] / group.lstrip("/")
        if self.unified is not None and (controller in self.unified_controllers or self.version == 2):
            return self.unified / group.lstrip("/")
        return None


def look() -> Hierarchies:
    """Read what is mounted now."""
    known = _v1_controllers()
    v1: dict[str, Path] = {}
    unified: Path | None = None
    for row in mount.mount_table():
        if row.fstype == "cgroup2" and (unified is None or row.target.startswith(str(_ROOT))):
            unified = Path(row.target)
        elif row.fstype == "cgroup":
            options = _super_options(row.target)
            # A named hierarchy (systemd's) manages nothing, and runtimes make groups in it all the same.
            for name in options & known or {one for one in options if one.startswith("name=")}:
                if name not in v1 or row.target.startswith(str(_ROOT)):
                    v1[name] = Path(row.target)
    return Hierarchies(v1, unified)


def _v1_controllers() -> frozenset[str]:
    try:
        lines = Path("/proc/cgroups").read_text().splitlines()
    except OSError:
        return frozenset()
    return frozenset(line.split()[0] for line in lines if line and not line.startswith("#"))


def held_elsewhere(groups: Hierarchies) -> frozenset[str]:
    """Return controllers that another engine's mount, not seen from here, keeps off the unified hierarchy."""
    try:
        rows = [line.split() for line in Path("/proc/cgroups").read_text().splitlines() if not line.startswith("#")]
    except OSError:
        return frozenset()
    return frozenset(name for name, hierarchy, *_ in rows if hierarchy != "0" and name not in groups.v1)


def _super_options(target: str) -> frozenset[str]:
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as lines:
        for line in lines:
            left, _, right = line.partition(" - ")
            if left.split(" ")[4] == target:
                return frozenset(right.rstrip("\n").split(" ")[2].split(","))
    return frozenset()


def take_from_unified(controllers: frozenset[str], below: Path) -> list[str]:
    """Mount controllers that are left on the unified hierarchy as version 1 ones below a directory of ours.

    crun refuses a layout with controllers on both (libcrun 1.8, cgroup-utils.c). Nothing else on the machine sees
    these mounts' place, and no group on the unified hierarchy loses a limit: the kernel gives a controller away
    only while no group there has it enabled. Returns the controllers taken.
    """
    taken = []
    for name in sorted(controllers):
        target = below / f"cgroup-{name}"
        target.mkdir(parents=True, exist_ok=True)
        if mount.is_mounted(str(target)):
            taken.append(name)
            continue
        try:
            mount.mount(
                "cgroup", str(target), "cgroup", mountflags.MS_NOSUID | mountflags.MS_NODEV | mountflags.MS_NOEXEC, name
            )
        except mount.MountFailed:
            target.rmdir()
        else:
            taken.append(name)
    return taken


def give_back(below: Path) -> None:
    """Unmount what `take_from_unified` mounted below a directory of ours; the kernel gives the controllers back."""
    for target in below.glob("cgroup-*"):
        mount.unmount(str(target))
        target.rmdir()


def get_ready_for_moves(groups: Hierarchies) -> bool:
    """Have the kernel get ready to move processes between groups; blocking, some milliseconds; False if it did not.

    The first move after a pause waits for all processors (``cgroup_threadgroup_rwsem`` in cgroup/cgroup.c, an RCU
    grace period: 6 ms on two of them, up to 20); those that follow at once do not. Whoever knows that a move is coming
    asks for that while other work is done. The move made for it leads this process to where it is already.
    """
    mounted = groups.unified or groups.v1.get("pids")
    if mounted is None:
        return False
    wanted = "" if groups.unified is not None else "pids"
    with open("/proc/self/cgroup", encoding="utf-8") as lines:
        rows = [line.rstrip("\n").split(":", 2) for line in lines]
    own = next((path for _, names, path in rows if wanted in names.split(",")), "/")
    members = mounted / own.lstrip("/") / "cgroup.procs"
    try:
        # Where a mount shows only a part of its hierarchy, a path leads to some other group.
        if str(os.getpid()) not in members.read_text().split():
            return False
        members.write_text("0")
    except OSError:
        return False
    return True


def oom_kills(groups: Hierarchies, group: str) -> int:
    """Return how many processes of a group the kernel killed for want of memory; 0 if the group is gone."""
    directory = groups.directory(group, "memory")
    if directory is None:
        return 0
    for name in ("memory.events", "memory.oom_control"):
        try:
            text = (directory / name).read_text()
        except OSError:
            continue
        for line in text.splitlines():
            key, _, value = line.partition(" ")
            if key == "oom_kill":
                return int(value)
    return 0


def processes(groups: Hierarchies, group: str) -> list[int]:
    """Return the processes of a group and those below it, in the order of their ids."""
    directory = next((found for name in ("pids", "memory", "cpu") if (found := groups.directory(group, name))), None)
    if directory is None:
        return []
    pids: set[int] = set()
    for below, _, files in os.walk(directory):
        if "cgroup.procs" in files:
            try:
                with open(os.path.join(below, "cgroup.procs")) as lines:
                    pids.update(int(line) for line in lines)
            except OSError:
                continue
    return sorted(pids)


def is_frozen(groups: Hierarchies, group: str) -> bool:
    """Tell whether every process of a group is frozen; one that hangs in the kernel keeps it from being so."""
    for name, file, word in (("freezer", "freezer.state", "FROZEN"), ("pids", "cgroup.events", "frozen 1")):
        directory = groups.directory(group, name)
        try:
            if directory is not None and word in (directory / file).read_text().splitlines():
                return True
        except OSError:
            continue
    return False


def wait_until_frozen(groups: Hierarchies, group: str, limit_s: float) -> bool:
    """Wait until every process of a group is frozen; False if that takes longer than `limit_s` seconds."""
    deadline = time.monotonic() + limit_s
    while not is_frozen(groups, group):
        if time.monotonic() > deadline:
            return False
        time.sleep(_LOOK_S)  # version 1 groups tell nobody when they are frozen
    return True


def remove(groups: Hierarchies, group: str) -> bool:
    """Remove a group that has no processes from every hierarchy; False if something keeps it somewhere."""
    roots = [*groups.v1.values(), *([groups.unified] if groups.unified is not None else [])]
    left = [root for root in dict.fromkeys(roots) if not _remove(f"{root}/{group.lstrip('/')}")]
    return not left


def _remove(directory: str) -> bool:
    try:
        os.rmdir(directory)
    except FileNotFoundError:
        return True
    except OSError:
        for below, names, _ in os.walk(directory, topdown=False):
            for name in names:
                _remove(os.path.join(below, name))
        try:
            os.rmdir(directory)
        except FileNotFoundError:
            return True
        except OSError:
            return False
    return True
