"""``scripts/setup`` and what it makes, on machines and in places that are not as expected."""

import os
import signal
import subprocess
from collections.abc import Iterable
from pathlib import Path

import pytest

from tests.support.engines import REPO

#: What the script calls before it has looked at the machine.
_FIRST = ("bash", "env", "dirname", "id", "basename", "cat", "grep", "mktemp", "rm")
_APT = ("apt-get", "apt-cache", "dpkg", "dpkg-query")
#: Another user in name only: the source tree may be where real ones do not get.
_USER = ("unshare", "--user", "--map-user=1000", "--map-group=1000")


def _programs(place: Path, names: Iterable[str]) -> Path:
    """Make a directory for PATH that has these of the machine's programs and no others."""
    place.mkdir()
    for name in names:
        (place / name).symlink_to(next(p for p in (Path("/usr/bin") / name, Path("/bin") / name) if p.exists()))
    return place


def _set_up(programs: Path, *as_user: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*as_user, "/usr/bin/env", "-i", f"PATH={programs}", "/bin/bash", str(REPO / "scripts/setup")],
        capture_output=True, text=True, timeout=240,
    )  # fmt: skip


def test_a_machine_without_apt_is_told_so_in_one_sentence(tmp_path: Path) -> None:
    done = _set_up(_programs(tmp_path / "bin", _FIRST))
    assert done.returncode == 1
    assert done.stderr == (
        "setup: this sets up Debian 12/13 and Ubuntu 22.04/24.04 only: there is no apt-get on this machine\n"
    )


@pytest.mark.root
def test_a_user_without_sudo_is_told_so_in_one_sentence(tmp_path: Path) -> None:
    programs = _programs(tmp_path / "bin", (*_FIRST, *_APT))
    (programs / "dpkg-query").unlink()
    (programs / "dpkg-query").symlink_to("/bin/false")  # nothing is installed
    done = _set_up(programs, *_USER)
    assert done.returncode == 1
    assert done.stderr == (
        "setup: system packages are missing, and installing them takes root: run this as root, or install sudo\n"
    )


@pytest.mark.parametrize("place", ["plain", "with a space", "long" * 40], ids=["plain", "space", "long"])
def test_programs_start_wherever_the_source_tree_is(tmp_path: Path, place: str) -> None:
    tree = tmp_path / place
    (tree / "scripts").mkdir(parents=True)
    (tree / ".venv/bin").mkdir(parents=True)
    (tree / "scripts/launcher").write_bytes((REPO / "scripts/launcher").read_bytes())
    (tree / "src").symlink_to(REPO / "src")
    (tree / ".venv/bin/python").symlink_to(REPO / ".venv/bin/python")
    packages = next((REPO / ".venv/lib").glob("python3*/site-packages"))
    subprocess.run(
        ["/bin/sh", str(tree / "scripts/launcher"), "berth", "berth.cli.main", str(packages)], check=True, timeout=240
    )
    script = tree / ".venv/bin/berth"
    assert os.access(script, os.X_OK)
    done = subprocess.run([script, "--version"], capture_output=True, text=True, timeout=240)
    assert (done.returncode, done.stdout[:5]) == (0, "Berth"), done.stderr
    done = subprocess.run([script, "two words"], capture_output=True, text=True, timeout=240)
    assert "two words" in done.stderr  # arguments arrive whole
    done = subprocess.run([script, "--version"], capture_output=True, text=True, timeout=60, preexec_fn=_interrupted)
    assert (done.returncode, done.stdout, done.stderr) == (-signal.SIGINT, "", "")


def _interrupted() -> None:
    """Have Ctrl-C come in the very moment of the start, when nothing of ours is loaded."""
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    os.kill(os.getpid(), signal.SIGINT)
