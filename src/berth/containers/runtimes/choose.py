"""Finds the OCI runtime that works on this machine by trying it: one throw-away container with a memory limit.

crun is tried first (it takes half the time), then runc. Must not: judge by versions or by the layout of control groups.
"""

import logging
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec

from berth.base.aio import in_thread
from berth.base.errors import EngineError, SystemFault
from berth.base.ids import new_id
from berth.containers.oci import defaults
from berth.containers.oci.spec import OCI_VERSION
from berth.containers.runtimes.command import Runtime, last_error, version_of
from berth.kernel import cgroup, process
from berth.kernel.removal import remove_tree

log = logging.getLogger(__name__)

PREFERENCE: Final = ("crun", "runc")
#: What of the host the trial container sees, so that it has a program to run.
_BORROWED: Final = ("/bin", "/lib", "/lib64", "/usr")
_TRIAL_LIMIT_S: Final = 20.0
_TRIAL_MEMORY: Final = 64 * 1024 * 1024


class NoRuntime(SystemFault):
    """No OCI runtime works here."""

    def __init__(self, reasons: Sequence[str]) -> None:
        super().__init__("no OCI runtime works on this machine: " + "; ".join(reasons))


async def choose(wanted: str, root: Path, scratch: Path, cgroup_parent: str, groups: cgroup.Hierarchies) -> Runtime:
    """Return the first runtime that works; `wanted` (a name or path) limits the choice. Raises `NoRuntime`."""
    reasons: list[str] = []
    for name in (wanted,) if wanted else PREFERENCE:
        path = shutil.which(name)
        if path is None:
            reasons.append(f"{name} is not installed")
            continue
        found = Runtime(Path(path).name, path, root)
        if found.name == "crun" and groups.version == 1:
            # Else crun would work for only as long as that other engine runs.
            await in_thread(cgroup.take_from_unified, cgroup.held_elsewhere(groups), scratch.parent)
        refusal = await _refusal(found, scratch, cgroup_parent)
        if refusal and found.name == "crun" and groups.is_hybrid:
            taken = await in_thread(cgroup.take_from_unified, groups.unified_controllers, scratch.parent)
            if taken:
                refusal = await _refusal(found, scratch, cgroup_parent)
                reasons += (
                    [] if refusal else [f"crun works since {', '.join(taken)} is mounted as version 1 controller"]
                )
        if not refusal:
            why = "; ".join(reasons) or "the first choice works"
            return Runtime(found.name, path, root, why, await version_of(path))
        reasons.append(f"{name} does not: {refusal}")
        log.info("runtime %s does not work here: %s", path, refusal)
    raise NoRuntime(reasons)


async def _refusal(runtime: Runtime, scratch: Path, cgroup_parent: str) -> str:
    """Run a throw-away container; return why it did not work, empty if it did."""
    ident = f"trial-{new_id()[:12]}"
    bundle = scratch / ident
    await in_thread(_make_bundle, bundle, f"/{cgroup_parent.strip('/')}/{ident}")
    argv = [runtime.path, *runtime.global_args, "run", "--bundle", str(bundle), ident]
    try:
        done = await process.run(argv, timeout_s=_TRIAL_LIMIT_S, check=False)
    except EngineError as exc:
        return str(exc)
    finally:
        await process.run(
            [runtime.path, *runtime.global_args, "delete", "--force", ident], timeout_s=_TRIAL_LIMIT_S, check=False
        )
        await in_thread(remove_tree, bundle)
    return "" if done.returncode == 0 else last_error(done.stderr.decode(errors="replace"))


def _make_bundle(bundle: Path, group: str) -> None:
    rootfs = bundle / "rootfs"
    mounts: list[dict[str, object]] = [dict(defaults.MOUNTS[0]), dict(defaults.MOUNTS[1])]
    for path in _BORROWED:
        if Path(path).is_dir():
            (rootfs / path.lstrip("/")).mkdir(parents=True, exist_ok=True)
            mounts.append({"destination": path, "type": "bind", "source": path, "options": ["rbind", "ro"]})
    for path in ("proc", "dev"):
        (rootfs / path).mkdir(parents=True, exist_ok=True)
    spec = {
        "ociVersion": OCI_VERSION,
        "process": {
            "user": {"uid": 0, "gid": 0}, "args": ["/bin/true"], "cwd": "/", "env": ["PATH=/bin:/usr/bin"],
        },
        "root": {"path": str(rootfs)},
        "mounts": mounts,
        "linux": {
            "namespaces": [{"type": kind} for kind in ("mount", "pid", "network", "ipc", "uts")],
            "cgroupsPath": group,
            "resources": {"memory": {"limit": _TRIAL_MEMORY}},
        },
    }  # fmt: skip
    (bundle / "config.json").write_bytes(msgspec.json.encode(spec))
