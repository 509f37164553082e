"""`berth network tap`: a container's packets, with nothing of it in the container."""

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.engines import REPO, Berth, wait_for

pytestmark = pytest.mark.root


@pytest.fixture
def pair(berth_engine: Berth) -> Iterator[Berth]:
    berth_engine.berth("network", "create", "tp-net")
    try:
        for name in ("tp-one", "tp-two"):
            berth_engine.berth("run", "-d", "--network", "tp-net", "--name", name, "busybox", "sleep", "9999")
        yield berth_engine
    finally:
        berth_engine.berth("rm", "-f", "tp-one", "tp-two", check=False)
        berth_engine.berth("network", "rm", "tp-net")


def taps(engine: Berth) -> int:
    """Count the packet sockets in the container's namespace."""
    return len(engine.docker("exec", "tp-one", "cat", "/proc/net/packet").out.splitlines()) - 1


class Tapping:
    """A tap that runs while something happens."""

    def __init__(self, engine: Berth, *args: str) -> None:
        self._engine = engine
        self._process = subprocess.Popen(
            [str(REPO / ".venv/bin/berth"), "network", "tap", *args], env=engine.environment,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        wait_for(lambda: taps(engine), "the tap to be open")

    def end(self) -> tuple[str, str, int]:
        out, err = self._process.communicate(timeout=90)
        return out, err, self._process.returncode

    def kill(self) -> None:
        self._process.kill()
        self._process.communicate()


def test_packets_are_printed_as_they_pass(pair: Berth) -> None:
    tap = Tapping(pair, "-c", "2", "--filter", "icmp", "tp-one")
    address = pair.docker("exec", "tp-one", "nslookup", "-type=a", "tp-two").out.split()[-1]
    pair.docker("exec", "tp-one", "ping", "-c", "1", "-s", "10", address)
    out, _, code = tap.end()
    assert code == 0
    lines = [line.partition(" ")[2] for line in out.splitlines()]
    assert len(lines) == 2
    assert lines[0].endswith("10 bytes")
    assert f"> {address}: ICMP echo request" in lines[0]
    assert f"IP {address} > " in lines[1]


def test_names_are_seen_though_they_are_asked_on_the_loopback(pair: Berth) -> None:
    tap = Tapping(pair, "-c", "2", "tp-one", "dns")
    pair.docker("exec", "tp-one", "nslookup", "-type=a", "tp-two")
    out, _, _ = tap.end()
    assert "DNS asks A tp-two" in out
    assert "DNS A tp-two is " in out


def test_tcpdump_reads_what_was_written(pair: Berth, tmp_path: Path) -> None:
    tcpdump = shutil.which("tcpdump")
    assert tcpdump, "scripts/setup installs it"
    file = tmp_path / "one.pcap"
    tap = Tapping(pair, "-c", "2", "-w", str(file), "tp-one", "icmp")
    address = pair.docker("exec", "tp-one", "nslookup", "-type=a", "tp-two").out.split()[-1]
    pair.docker("exec", "tp-one", "ping", "-c", "1", address)
    _, err, _ = tap.end()
    assert err == f"2 packets written to {file}\n"
    read = subprocess.run([tcpdump, "-nr", str(file)], capture_output=True, text=True, check=True)
    assert "ICMP echo request" in read.stdout
    assert f"IP {address} > " in read.stdout


def test_a_tap_ends_with_its_container_and_with_its_reader(pair: Berth) -> None:
    tap = Tapping(pair, "tp-one", "arp")
    pair.berth("rm", "-f", "tp-one")
    assert tap.end()[2] == 0
    pair.berth("run", "-d", "--network", "tp-net", "--name", "tp-one", "busybox", "sleep", "9999")
    Tapping(pair, "tp-one").kill()
    wait_for(lambda: taps(pair) == 0, "the engine to close the tap of a reader that is gone")


def test_wrong_questions(pair: Berth) -> None:
    ask = lambda query: pair.api("GET", f"/berth/networks/tap?{query}")  # noqa: E731
    assert ask("container=nobody").status == 404
    assert ask("container=tp-one&link=eth7").message == "no link eth7 is in the container"
    assert ask("container=tp-one&filter=frobnicate").status == 400
    assert ask("container=tp-one&count=-1").status == 400
    pair.berth("kill", "tp-one")
    assert ask("container=tp-one").status == 409
