"""Brings records and machine together when an engine starts: who is alive, who ended unseen, what belongs to nobody."""

import os
from pathlib import Path

from berth.base.aio import in_thread
from berth.base.paths import Layout
from berth.containers import reconcile
from berth.containers.launch import Launcher
from berth.containers.life import Life
from berth.containers.model import ContainerRecord
from berth.containers.parts import NetworkPart
from berth.containers.register import Register
from berth.containers.retarget import data_moved
from berth.kernel import pidfd


def make_roots(layout: Layout) -> None:
    """Make the directories that containers need (blocking)."""
    for path in (
        layout.runtime_root,
        layout.exec_root / "exits",
        layout.exec_root / "containers",
        layout.exec_root / "trial",
        layout.data_root / "containers",
    ):
        path.mkdir(parents=True, exist_ok=True, mode=0o711)


async def adopt(layout: Layout, register: Register, life: Life, launcher: Launcher, networks: NetworkPart) -> None:
    """Find what still runs, tell the networks, finish what was left half done, remove what belongs to no record."""
    await _follow_data(layout, register)
    alive = {record.id: held for record in register.all() if (held := _still_held(record)) is not None}
    await networks.adopt(set(alive))
    await in_thread(launcher.make_missing_directories, [one for one in register.all() if one.id not in alive])
    for record in register.all():
        held = alive.get(record.id)
        if held is not None:
            life.take_over(record, held)
        else:
            await _settle(layout, life, launcher, record)
    await _sweep(layout, register, launcher)


async def _follow_data(layout: Layout, register: Register) -> None:
    """Let records say where things are, if somebody moved the data while no engine ran."""
    volumes = Path(await in_thread(os.path.realpath, layout.volumes))
    for record in register.all():
        moved = data_moved(record, layout.data_root, volumes)
        if moved is not record:
            await register.put(record, mounts=moved.mounts, layers=moved.layers)


def _still_held(record: ContainerRecord) -> pidfd.Held | None:
    if not record.running:
        return None
    monitor = pidfd.hold(record.conmon_pid, record.conmon_started)
    return monitor or pidfd.hold(record.pid, record.pid_started)


async def _settle(layout: Layout, life: Life, launcher: Launcher, record: ContainerRecord) -> None:
    match reconcile.resting(record, same_boot=layout.bundle(record.id).exists()):
        case reconcile.Verdict.REMOVE:
            await life.remove_leftover(record)
        case reconcile.Verdict.ENDED:
            await life.end_unseen(record)
        case reconcile.Verdict.START:
            await life.start_by_policy(record)
        case reconcile.Verdict.REST:
            await launcher.clear(record)
        case reconcile.Verdict.CREATED:
            return


async def _sweep(layout: Layout, register: Register, launcher: Launcher) -> None:
    """Remove directories, mounts and processes of creations and removals that were cut short."""
    known = {record.id for record in register.all()}
    for root in (layout.exec_root / "containers", layout.runtime_root):
        for name in await in_thread(_listed, root):
            if name not in known:
                await launcher.forget(name, f"{layout.cgroup_parent}/{name}")
                await launcher.remove_run_directory(name)
    for name in await in_thread(_listed, layout.data_root / "containers"):
        if name not in known:
            await launcher.remove_directory(name)


def _listed(root: Path) -> list[str]:
    try:
        return sorted(os.listdir(root))
    except FileNotFoundError:
        return []
