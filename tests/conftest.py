"""Fixtures shared by all tests, the rules on skipping, and the leak check at the end of the run."""

import ctypes
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from berth.kernel.libc import LIBC, check
from berth.kernel.mount import mount
from berth.kernel.mountflags import MS_PRIVATE, MS_REC
from tests.support.clients import OLD_CLIENT, OTHER_ORIGINAL
from tests.support.engines import CGROUPS, RUN, Berth, Dockerd, Engine, busybox_tar, running, wait_for
from tests.support.uml import NOT_OF_THE_DISTRIBUTION

#: linux/sched.h
CLONE_NEWNS = 0x0002_0000


def _mounts_of_its_own() -> None:
    """Keep this run's mounts out of the namespaces others make meanwhile, as the engines of the suite's other parts.

    Such a namespace is a copy: a file system that is mounted in one of them, too, does not end when we unmount it.
    """
    if os.geteuid() == 0:
        check(LIBC.unshare(ctypes.c_int(CLONE_NEWNS)), "unshare")
        mount("", "/", flags=MS_REC | MS_PRIVATE)


_mounts_of_its_own()

IN_CI = bool(os.environ.get("CI"))
_skipped: list[str] = []
#: How reasons begin that are not the machine's set-up but the distribution's, or that its kernel has what others lack.
_DISTRIBUTIONS = tuple(
    f"Skipped: {one}" for one in (OLD_CLIENT, OTHER_ORIGINAL, NOT_OF_THE_DISTRIBUTION, "this kernel has")
)
#: Where this run's tests have their directories.
_directories: list[str] = []


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what needs root where there is none, saying so."""
    if os.geteuid() != 0:
        for item in items:
            if item.get_closest_marker("root"):
                item.add_marker(pytest.mark.skip(reason="needs root: namespaces, mounts and links of its own"))


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Remember skips: in CI nothing that can run may be skipped."""
    reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else ""
    if report.skipped and not hasattr(report, "wasxfail") and not reason.startswith(_DISTRIBUTIONS):
        _skipped.append(report.nodeid)


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Fail the run for leaks, and in CI for skips."""
    problems = _leaks()
    if IN_CI and _skipped:
        problems += [f"skipped in CI: {name}" for name in _skipped]
    if problems:
        print("\nLEFT BEHIND OR SKIPPED:\n  " + "\n  ".join(problems))
        if exitstatus == 0:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED


def _machine() -> dict[str, set[str]]:
    """Return what a test could leave on the machine, by kind."""
    if os.geteuid() != 0:
        return {}
    links = subprocess.run(["ip", "-o", "link"], capture_output=True, text=True).stdout
    spaces = subprocess.run(["ip", "netns", "list"], capture_output=True, text=True).stdout
    tables = subprocess.run(["nft", "list", "tables"], capture_output=True, text=True).stdout
    mounts = Path("/proc/self/mountinfo").read_text()
    cgroups = {str(child) for top in Path("/sys/fs/cgroup").iterdir() if top.is_dir()
               for child in top.iterdir() if child.name in CGROUPS}  # fmt: skip
    processes = set()
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            except OSError:
                continue
            if str(RUN) in line:
                processes.add(f"{entry.name} {line[:160]}")
    return {
        "link": {row.split(": ")[1] for row in links.splitlines()},
        "network namespace": {row.split()[0] for row in spaces.splitlines() if row},
        "nft table": set(tables.splitlines()),
        "mount": {row.split()[4] for row in mounts.splitlines() if "berth" in row and not _others(row)},
        "cgroup": cgroups,
        "process": processes,
    }


def _others(mount: str) -> bool:
    """Whether a row of mountinfo is in a directory of another run, as the suite's other parts are."""
    found = re.search(r"/pytest-of-[^/]+/pytest-\d+(?=/)|/run/berth-tests-\d+(?=/)", mount.split()[4] + "/")
    return found is not None and not any(place.endswith(found.group()) for place in (str(RUN), *_directories))


_before = _machine()


def _leaks() -> list[str]:
    return [f"{kind} {what}" for kind, now in _machine().items() for what in sorted(now - _before[kind])]


@pytest.fixture(scope="session", autouse=True)
def _directory(tmp_path_factory: pytest.TempPathFactory) -> None:
    _directories.append(str(tmp_path_factory.getbasetemp()))


# --- engines --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def busybox(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tar of a busybox root file system."""
    return busybox_tar(tmp_path_factory.mktemp("busybox") / "busybox.tar")


@pytest.fixture(scope="session")
def berth_engine(tmp_path_factory: pytest.TempPathFactory, busybox: Path) -> Iterator[Berth]:
    """A berthd for the whole run, with a busybox image."""
    with running(Berth("berth", tmp_path_factory.mktemp("berth")), busybox) as engine:
        yield engine


@pytest.fixture(scope="session")
def dockerd_engine(tmp_path_factory: pytest.TempPathFactory, busybox: Path) -> Iterator[Dockerd]:
    """A dockerd for the whole run, with the same image."""
    with running(Dockerd("dockerd", tmp_path_factory.mktemp("dockerd")), busybox) as engine:
        yield engine


@pytest.fixture(params=["berth", "dockerd"])
def engine(request: pytest.FixtureRequest) -> Engine:
    """Each engine in turn: what passes here holds for the original too."""
    return request.getfixturevalue(f"{request.param}_engine")


@pytest.fixture
def berth(berth_engine: Berth) -> Iterator[Berth]:
    """The run's berthd, rid of containers and volumes afterwards, when nothing else may be left either."""
    yield berth_engine
    berth_engine.wipe_containers()
    wait_for(lambda: not berth_engine.leaks(), "nothing to be left")
    for one in berth_engine.api("GET", "/volumes").body["Volumes"] or ():
        berth_engine.api("DELETE", f"/volumes/{one['Name']}")


@pytest.fixture
def place(engine: Engine) -> Iterator[Engine]:
    """Each engine in turn, rid of containers and new volumes afterwards."""
    before = {one["Name"] for one in engine.api("GET", "/volumes").body["Volumes"] or ()}
    yield engine
    engine.wipe_containers()
    for one in engine.api("GET", "/volumes").body["Volumes"] or ():
        if one["Name"] not in before:
            engine.api("DELETE", f"/volumes/{one['Name']}")


@pytest.fixture
def engine_socket(engine: Engine) -> str:
    """The socket of each engine in turn."""
    return str(engine.socket)


@pytest.fixture
def own_berth(request: pytest.FixtureRequest, tmp_path: Path, busybox: Path) -> Iterator[Berth]:
    """A berthd for one test alone: to be killed, restarted, filled."""
    name = "own" + format(abs(hash(request.node.nodeid)) % 0xFFFF, "04x")
    try:
        with running(Berth(name, tmp_path / "berth"), busybox) as engine:
            yield engine
    finally:
        shutil.rmtree(tmp_path / "berth", ignore_errors=True)
