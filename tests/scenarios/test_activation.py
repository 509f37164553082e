"""An engine whose socket the service manager opened: started by the first client, as berth.socket does."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.engines import Berth, running, wait_for

pytestmark = pytest.mark.root


class Activated(Berth):
    """A Berth behind systemd's own tool for trying socket activation."""

    def argv(self) -> list[str]:
        words = super().argv()
        words[words.index("-H") + 1] = "fd://"
        passed = ("PATH", "HOME", "LANG")
        return ["systemd-socket-activate", f"--listen={self.socket}", *(f"--setenv={name}" for name in passed), *words]


@pytest.fixture(scope="module")
def activated(tmp_path_factory: pytest.TempPathFactory, busybox: Path) -> Iterator[Berth]:
    with running(Activated("activated", tmp_path_factory.mktemp("activated")), busybox) as engine:
        yield engine


def test_the_first_client_starts_it(activated: Berth) -> None:
    assert activated.docker("version", "--format", "{{.Server.Version}}").ok


def test_containers_know_nothing_of_the_handed_over_socket(activated: Berth) -> None:
    inside = activated.docker("run", "--rm", "busybox", "sh", "-c", "env; ls /proc/self/fd | wc -l").out
    assert "LISTEN_" not in inside
    # Standard input, output and error, and the directory that ls reads.
    assert inside.splitlines()[-1].strip() == "4"
    activated.docker("run", "-d", "--name", "stays", "busybox", "sleep", "1000")
    inside = activated.docker("exec", "stays", "sh", "-c", "env; ls /proc/self/fd | wc -l").out
    assert "LISTEN_" not in inside
    assert inside.splitlines()[-1].strip() == "4"


def test_the_companions_do_not_keep_the_socket(activated: Berth) -> None:
    def holders() -> set[str]:
        inode = next(
            line.split()[6]
            for line in activated.host("cat", "/proc/net/unix").out.splitlines()
            if line.endswith(str(activated.socket)) and line.split()[3] == "00010000"
        )
        return {
            line
            for pid, line in activated.processes()
            if f"socket:[{inode}]" in activated.host("sh", "-c", f"readlink /proc/{pid}/fd/*", check=False).out.split()
        }

    activated.docker("run", "-d", "-p", "8097:80", "busybox", "sleep", "1000")
    assert wait_for(holders, "the engine to hold its socket")
    assert all("bin/berthd" in line for line in holders()), holders()
