"""A kernel of its own for a test, where this machine's lacks something: user-mode-linux, a Linux that is a process.

It boots in a second or two with the machine's root file system, read-only, and a directory of the test as its ``/tmp``.
"""

import contextlib
import os
import platform
import shutil
import signal
import subprocess
from dataclasses import dataclass
from pathlib import Path

from tests.support.engines import REPO

#: How the reason of a skip begins where no setting up by us brings such a kernel.
NOT_OF_THE_DISTRIBUTION = "this distribution"

#: Where Debian's package user-mode-linux keeps the modules of its kernel.
MODULES = Path("/usr/lib/uml/modules")

#: The first process: makes the usual mounts, loads modules, runs the program and powers off.
_INIT = """\
#!/bin/sh
export PATH=/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/tmp PYTHONDONTWRITEBYTECODE=1
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mkdir -p /dev/pts /dev/shm
mount -t devpts pts /dev/pts
ln -s /proc/self/fd /dev/fd
ln -s fd/0 /dev/stdin
ln -s fd/1 /dev/stdout
ln -s fd/2 /dev/stderr
mount -t hostfs -o hostfs={place} none /tmp || mount -t hostfs -o {place} none /tmp
exec >/tmp/out 2>/tmp/err
mount -t tmpfs run /run
mkdir -p /run/shm /run/netns
mount -t cgroup2 cgroup2 /sys/fs/cgroup
[ -z "{modules}" ] || modprobe -d /tmp/root -a {modules} || echo "modules are missing" >&2
ip link set lo up
cd {repo} && PYTHONPATH={repo}/src:{repo} .venv/bin/python {program}
echo $? >/tmp/status
exec poweroff -f
"""


@dataclass(frozen=True)
class Ran:
    """What a program came to in there."""

    code: int
    out: str
    err: str


def run(
    program: Path, place: Path, *, modules: tuple[str, ...] = (), limit_s: float = 600, memory_mb: int = 512
) -> Ran:
    """Run a Python program as root under a kernel of its own, with the directory `place` as its ``/tmp``.

    Debian's user-mode-linux; `modules` of it are loaded first. Raises `AssertionError` if it does not end.
    """
    (place / "root/lib").mkdir(parents=True)
    (place / "root/lib/modules").symlink_to(MODULES)
    init = place / "init"
    init.write_text(_INIT.format(place=place, modules=" ".join(modules), repo=REPO, program=program), encoding="utf-8")
    init.chmod(0o755)
    console = place / "console"
    with console.open("wb") as out:
        kernel = subprocess.Popen(
            [
                "linux.uml", "rootfstype=hostfs", "root=/dev/root", "rootflags=/", "ro", f"init={init}",
                f"mem={memory_mb}M", "con=null", "con0=null,fd:1", "quiet", f"umid=berth-test-{os.getpid()}",
            ],
            stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True,
            env={"HOME": str(place), "PATH": os.environ["PATH"]},
        )  # fmt: skip
        try:
            kernel.wait(limit_s)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"the kernel did not end within {limit_s:g} s:\n{_said(place)}") from None
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(kernel.pid, signal.SIGKILL)
            kernel.wait()
    status = place / "status"
    if not status.exists():
        raise AssertionError(f"the program did not end:\n{_said(place)}")
    return Ran(int(status.read_text()), (place / "out").read_text(), (place / "err").read_text())


def is_missing() -> str:
    """Return why there can be no such kernel here, or nothing."""
    if shutil.which("linux.uml") is None and platform.freedesktop_os_release().get("ID") == "ubuntu":
        return f"{NOT_OF_THE_DISTRIBUTION}, Ubuntu, has no user-mode-linux: needs a kernel of its own"
    absent = [name for name in ("linux.uml", "modprobe") if shutil.which(name) is None]
    return f"needs {' and '.join(absent)} (Debian: apt-get install user-mode-linux kmod)" if absent else ""


def _said(place: Path) -> str:
    texts = [
        (place / name).read_text(errors="replace") for name in ("console", "out", "err") if (place / name).exists()
    ]
    return "\n".join(texts)[-4000:]
