"""Volumes with a size, owner and mode, from the command line to the container."""

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.engines import Berth, wait_for

pytestmark = pytest.mark.root


@pytest.fixture
def berth(berth_engine: Berth) -> Iterator[Berth]:
    yield berth_engine
    berth_engine.wipe_containers()
    for one in berth_engine.api("GET", "/volumes").body["Volumes"] or ():
        berth_engine.api("DELETE", f"/volumes/{one['Name']}")


def test_a_container_meets_the_end_of_its_volume(berth: Berth) -> None:
    since = str(int(time.time()))
    berth.docker("volume", "create", "-o", "size=16m", "-o", "uid=1000", "-o", "mode=0750", "sized")
    ident = berth.docker("run", "-d", "-u", "1000", "-v", "sized:/d", "busybox", "sleep", "600").out.strip()
    said = berth.docker("exec", ident, "sh", "-c", "stat -c '%u %a' /d; dd if=/dev/zero of=/d/f bs=1M",
                        check=False)  # fmt: skip
    assert said.out.splitlines()[0] == "1000 750"
    assert "No space left on device" in said.err
    assert int(berth.docker("exec", ident, "stat", "-c", "%s", "/d/f").out) >= 16 << 20
    status = json.loads(berth.docker("volume", "inspect", "sized").out)[0]["Status"]
    assert (status["SizeMechanism"], status["LimitBytes"]) == ("image", 16 << 20)
    assert status["UsedPercent"] > 95

    def told() -> list[str]:
        shown = berth.docker("events", "--since", since, "--until", str(int(time.time()) + 1), "-f", "event=usage",
                             "--format", "{{.Actor.ID}} {{.Actor.Attributes.level}}").out  # fmt: skip
        return shown.splitlines()

    wait_for(lambda: told() == ["sized 95"], "the event that it is full")
    refused = berth.berth("volume", "resize", "sized", "8m", check=False)
    assert "is less than the" in refused.err
    berth.docker("rm", "-f", ident)
    assert berth.berth("volume", "resize", "sized", "32m").out == "sized\n"
    assert berth.docker("run", "--rm", "-v", "sized:/d", "busybox", "sh", "-c",
                        "dd if=/dev/zero of=/d/g bs=1M count=12 2>/dev/null && ls /d").out == "f\ng\n"  # fmt: skip
    berth.docker("volume", "rm", "sized")


def test_it_grows_under_a_running_container(berth: Berth) -> None:
    berth.berth("volume", "create", "--size", "16m", "--reserve", "firm")
    shown = json.loads(berth.docker("volume", "inspect", "firm").out)[0]
    assert shown["Options"] == {"reserve": "true", "size": "16m"}
    assert shown["Status"]["AllocatedBytes"] >= 16 << 20
    berth.berth("volume", "create", "--size", "300m", "--gid", "7", "large")
    ident = berth.docker("run", "-d", "-v", "large:/d", "busybox", "sleep", "600").out.strip()
    before = int(berth.docker("exec", ident, "sh", "-c", "df -m /d | tail -1 | tr -s ' ' | cut -d' ' -f2").out)
    answer = berth.api("PUT", "/berth/volumes/large/size", {"Size": "600m"})
    assert (answer.status, answer.body["Options"]["size"]) == (200, str(600 << 20))
    assert answer.body["Status"]["FileSystem"] == "xfs"
    after = int(berth.docker("exec", ident, "sh", "-c", "df -m /d | tail -1 | tr -s ' ' | cut -d' ' -f2").out)
    assert after - before > 250
    assert berth.api("PUT", "/berth/volumes/large/size", {"Size": "400m"}).status == 409
    assert berth.api("PUT", "/berth/volumes/none/size", {"Size": "400m"}).status == 404
    assert berth.api("PUT", "/berth/volumes/large/size", {"Size": "much"}).status == 400


def test_a_killed_engine_finds_it_mounted(own_berth: Berth) -> None:
    own_berth.berth("volume", "create", "--size", "16m", "sized")
    ident = own_berth.docker("run", "-d", "-v", "sized:/d", "busybox", "sleep", "600").out.strip()
    own_berth.docker("exec", ident, "sh", "-c", "echo kept >/d/f")
    own_berth.kill9()
    own_berth.start()
    assert own_berth.docker("exec", ident, "cat", "/d/f").out == "kept\n"
    assert own_berth.docker("run", "--rm", "-v", "sized:/e", "busybox", "cat", "/e/f").out == "kept\n"
    where = own_berth.api("GET", "/volumes/sized").body["Mountpoint"]
    pid = own_berth.api("GET", f"/containers/{ident}/json").body["State"]["Pid"]
    own_berth.kill9()
    os.kill(pid, 9)
    own_berth.start()
    table = Path(f"/proc/{own_berth.spaces.pid}/mountinfo")
    wait_for(lambda: f" {where} " not in table.read_text(), "the volume to be unmounted")
    assert own_berth.docker("run", "--rm", "-v", "sized:/d", "busybox", "cat", "/d/f").out == "kept\n"
    own_berth.docker("rm", ident)
    own_berth.docker("volume", "rm", "sized")


def test_compose_says_size_and_owner(berth: Berth, tmp_path: Path) -> None:
    (tmp_path / "compose.yaml").write_text("""
name: sizes
services:
  app:
    image: busybox
    command: sh -c 'stat -c "%u %g %a" /d; df -m /d | tail -1'
    volumes: [data:/d]
volumes:
  data:
    driver_opts: {size: 24m, uid: "33", gid: "34", mode: "0700"}
""")
    shown = berth.berth("compose", "-f", str(tmp_path / "compose.yaml"), "up", "--no-log-prefix", timeout=240)
    assert "33 34 700" in shown.out
    berth.berth("compose", "-f", str(tmp_path / "compose.yaml"), "down", "-v", timeout=240)
    assert berth.api("GET", "/volumes/sizes_data").status == 404
