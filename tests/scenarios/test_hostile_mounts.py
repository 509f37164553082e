"""Mounts against those who mean ill: images and neighbours that move places while they are used, full disks, kills."""

# ruff: noqa: E501  scripts for a shell, whole
import os
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.scenarios.test_image_mounts import tree
from tests.support.engines import Answer, Berth, import_busybox, import_tree, wait_for

pytestmark = pytest.mark.root


@pytest.fixture
def outside(tmp_path: Path) -> Iterator[Path]:
    """A directory of the host that no container may reach; it must be as it was in the end."""
    place = tmp_path / "outside"
    (place / "inner").mkdir(parents=True)
    (place / "canary").write_text("canary\n")
    yield place
    assert sorted(str(one.relative_to(place)) for one in place.rglob("*")) == ["canary", "inner"]


def test_links_in_one_volume_lead_another_mount_nowhere(berth: Berth, outside: Path) -> None:
    """They lead inside the container, where its own /etc is; of the host's nothing is seen, or made there."""
    links = f"ln -s /etc abs; ln -s {'../' * 12}etc rel; ln -s abs far; ln -s {outside} none; ln -s round round"
    berth.docker("run", "--rm", "-v", "links:/d", "busybox", "sh", "-c", f"cd /d; {links}; ln -s /proc/1/root p")
    for name in ("abs", "rel", "far"):
        berth.docker("run", "--rm", "-v", "links:/d", "-v", f"in{name}:/d/{name}/berth-x", "busybox", "touch",
                     "/etc/berth-x/mark")  # fmt: skip
        assert (berth.data_root / f"volumes/in{name}/_data/mark").exists()
        assert not Path("/etc/berth-x").exists()
    for name in ("none", "round", "p"):
        place = f"/d/{name}/inner"
        done = berth.docker(
            "run", "--rm", "-v", "links:/d", "-v", f"in{name}:{place}", "busybox", "ls", place, check=False
        )
        assert not done.ok or done.out == ""


def test_a_neighbour_that_swaps_a_directory_for_a_link(berth: Berth, outside: Path, tmp_path: Path) -> None:
    """While it does, others start with that place as subpath and as target, files are copied, mounts come live."""
    # Whatever the others make in between, the next turn begins anew.
    swap = f"cd /a; while :; do rm -rf x; mkdir x; rm -rf x; ln -s {outside} x; done"
    berth.docker("run", "-d", "--name", "swapper", "-v", "arena:/a", "busybox", "sh", "-c", swap)
    berth.docker("run", "-d", "--name", "target", "-v", "arena:/a", "busybox", "sleep", "1000")
    wait_for(lambda: os.path.lexists(berth.data_root / "volumes/arena/_data/x"), "the swapping to begin")
    (tmp_path / "sent").write_text("sent\n")

    def subpath(number: int) -> str:
        mount = {"Type": "volume", "Source": "arena", "Target": "/p", "VolumeOptions": {"Subpath": "x"}}
        return _run(berth, f"sub{number}", [mount], ["ls", "/p"])

    def target(number: int) -> str:
        mounts = [{"Type": "volume", "Source": "arena", "Target": "/a"}, {"Type": "tmpfs", "Target": f"/a/x/t{number}"}]
        return _run(berth, f"tgt{number}", mounts, ["ls", "/a/x"])

    def live(number: int) -> str:
        add = {"Add": [{"Type": "tmpfs", "Target": f"/a/x/l{number}"}]}
        answer = berth.api("POST", "/berth/containers/target/mounts", add)
        assert answer.status in (200, 500), answer
        return answer.message

    def copied(_: int) -> str:
        return berth.docker("cp", str(tmp_path / "sent"), "target:/a/x", check=False).err

    with ThreadPoolExecutor(4) as pool:
        said = list(pool.map(lambda number: (subpath, target, live, copied)[number % 4](number), range(40)))
    # the neighbour was at it all the time: some found the link and were refused
    for number in range(100, 400):
        if any("leads out" in text for text in said):
            break
        said.append(subpath(number))
    assert any("leads out" in text for text in said), said
    assert not [text for text in said if "canary" in text]
    berth.docker("rm", "-f", "swapper", "target")


def _run(engine: Berth, name: str, mounts: list[dict[str, object]], command: list[str]) -> str:
    body = {"Image": "busybox", "Cmd": command, "HostConfig": {"Mounts": mounts, "NetworkMode": "none"}}
    made = engine.api("POST", f"/containers/create?name={name}", body)
    assert made.status == 201, made
    started: Answer = engine.api("POST", f"/containers/{name}/start")
    said = started.message if started.status != 204 else engine.docker("logs", name).out
    engine.api("DELETE", f"/containers/{name}?force=1")
    return said


FILES = {f"srv/many/{number:04}": b"x" * 2_000 for number in range(2_000)}


def test_a_kill_while_an_image_fills_a_volume(own_berth: Berth) -> None:
    """The next start goes on where the copy ended; no file is half, what somebody wrote meanwhile stays."""
    import_tree(own_berth, "many", tree(FILES))
    image = {"Type": "image", "Source": "busybox", "Target": "/bb"}
    for attempt in range(8):
        name = f"torn{attempt}"
        body = {"Image": "many", "Cmd": ["/bb/bin/busybox", "true"],
                "HostConfig": {"Binds": [f"{name}:/srv/many"], "Mounts": [image]}}  # fmt: skip
        assert own_berth.api("POST", f"/containers/create?name={name}", body).status == 201
        place = own_berth.data_root / f"volumes/{name}/_data"
        starting = threading.Thread(target=_quietly, args=(own_berth, name))
        starting.start()
        while starting.is_alive() and not _some(place):
            time.sleep(0)
        own_berth.kill9()
        starting.join()
        there = sorted(os.listdir(place))
        assert all((place / one).stat().st_size == 2_000 for one in there)
        own_berth.start()
        if 0 < len(there) < len(FILES):
            break
    else:
        raise AssertionError("no kill fell into the copying")
    (place / there[0]).write_text("mine\n")
    assert own_berth.docker("start", "-a", name).ok
    assert sorted(os.listdir(place)) == sorted(path.rpartition("/")[2] for path in FILES)
    assert (place / there[0]).read_text() == "mine\n"
    assert all((place / one).stat().st_size == 2_000 for one in os.listdir(place) if one != there[0])


def _quietly(engine: Berth, name: str) -> None:
    try:
        engine.api("POST", f"/containers/{name}/start")
    except OSError:
        return  # the engine was killed while it answered


def _some(place: Path) -> bool:
    try:
        with os.scandir(place) as entries:
            return next(entries, None) is not None
    except FileNotFoundError:
        return False


def test_a_disk_that_is_full_while_an_image_fills_a_volume(tmp_path: Path, busybox: Path) -> None:
    engine = Berth("fullvol", tmp_path / "berth")
    try:
        volumes = engine.data_root / "volumes"
        engine.host("mkdir", "-p", str(volumes))
        engine.host("mount", "-t", "tmpfs", "-o", "size=3m", "none", str(volumes))
        engine.start()
        import_busybox(engine, busybox)
        import_tree(engine, "many", tree(FILES))
        image = {"Type": "image", "Source": "busybox", "Target": "/bb"}
        body = {"Image": "many", "Cmd": ["/bb/bin/busybox", "sh", "-c", "/bb/bin/busybox ls /srv/many | /bb/bin/busybox wc -l"],
                "HostConfig": {"Binds": ["big:/srv/many"], "Mounts": [image]}}  # fmt: skip
        assert engine.api("POST", "/containers/create?name=big", body).status == 201
        refused = engine.api("POST", "/containers/big/start")
        assert refused.status == 500
        assert "error copying image content to the volume" in refused.message
        assert "no space left on device" in refused.message.lower()
        assert not engine.api("GET", "/containers/big/json").body["State"]["Running"]
        whole = engine.host("find", f"{volumes}/big/_data", "-type", "f", "-size", "2000c").out.count("\n")
        assert whole == engine.host("find", f"{volumes}/big/_data", "-type", "f").out.count("\n") > 0
        engine.host("mount", "-o", "remount,size=30m", str(volumes))
        assert engine.docker("start", "-a", "big").out.strip() == str(len(FILES))
    finally:
        engine.close()
