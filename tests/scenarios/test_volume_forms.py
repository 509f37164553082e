"""What `docker volume create -o type= -o o= -o device=` can mount, on Berth and on the original."""

import subprocess
from pathlib import Path

import pytest

from tests.support.engines import Engine, wait_for

pytestmark = pytest.mark.root


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """A file with an ext4 file system."""
    file = tmp_path / "disk.img"
    with file.open("wb") as out:
        out.truncate(16 << 20)
    subprocess.run(["mkfs.ext4", "-q", "-F", str(file)], check=True)
    return file


def make(engine: Engine, name: str, **options: str) -> None:
    engine.docker("volume", "create", *(f"--opt={key}={value}" for key, value in options.items()), name)


def run(engine: Engine, name: str, script: str, *, check: bool = True) -> str:
    done = engine.docker("run", "--rm", "-v", f"{name}:/v", "busybox", "sh", "-c", script, check=check)
    return done.out + done.err


def gone(engine: Engine, name: str) -> None:
    """Wait until a volume is mounted no more."""
    where = engine.api("GET", f"/volumes/{name}").body["Mountpoint"]
    wait_for(lambda: f" {where} " not in engine.host("cat", "/proc/self/mountinfo").out, f"{name} to be unmounted")


def test_a_directory_of_the_host(place: Engine, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("on the host\n")
    make(place, "dir", type="none", o="bind,ro", device=str(tmp_path))
    assert run(place, "dir", "cat /v/file") == "on the host\n"
    assert "Read-only file system" in run(place, "dir", "touch /v/x", check=False)
    gone(place, "dir")
    place.docker("volume", "rm", "dir")
    assert (tmp_path / "file").exists()


def test_a_block_device(place: Engine, image: Path) -> None:
    device = subprocess.run(["losetup", "--find", "--show", str(image)], capture_output=True, text=True, check=True)
    try:
        make(place, "disk", type="ext4", o="noatime", device=device.stdout.strip())
        out = run(place, "disk", "echo kept >/v/file; grep ' /v ' /proc/mounts")
        assert out.startswith(f"{device.stdout.strip()} /v ext4 rw,noatime")
        gone(place, "disk")
        assert run(place, "disk", "cat /v/file") == "kept\n"
        gone(place, "disk")
    finally:
        subprocess.run(["losetup", "--detach", device.stdout.strip()], check=True)


def test_a_file_by_a_loop_device(place: Engine, image: Path) -> None:
    make(place, "looped", type="ext4", o="loop", device=str(image))
    if place.kind == "dockerd":  # hands the word to the kernel, which knows no such option
        assert "failed to mount local volume" in run(place, "looped", "true", check=False)
        return
    assert run(place, "looped", "echo kept >/v/file; grep -c ' /v ext4 ' /proc/mounts") == "1\n"
    gone(place, "looped")
    assert run(place, "looped", "cat /v/file") == "kept\n"
    gone(place, "looped")
    assert str(image) not in subprocess.run(["losetup", "--list"], capture_output=True, text=True, check=True).stdout
    make(place, "bare", type="ext4", device=str(image))
    said = run(place, "bare", "true", check=False)
    assert f"block device required: {image} is no block device; if it is a file with a file system, add loop" in said


@pytest.mark.parametrize("kind", ["nfs", "cifs"])
def test_a_server_without_a_kernel_for_it(place: Engine, kind: str) -> None:
    with open("/proc/filesystems", encoding="ascii") as known:
        if kind in known.read().split():
            pytest.skip(f"this kernel has {kind}: tests/netns/test_nfs.py mounts it")
    device = ":/export" if kind == "nfs" else "//127.0.0.1/share"
    make(place, "far", type=kind, o="addr=127.0.0.1,username=u,password=hush,soft", device=device)
    said = run(place, "far", "true", check=False)
    where = place.api("GET", "/volumes/far").body["Mountpoint"]
    assert f"error while mounting volume '{where}': failed to mount local volume: mount {device}:{where}" in said
    assert "soft: no such device" in said
    if place.kind == "berth":  # 20.10 shows the password
        assert "data: addr=127.0.0.1,username=u,password=********,soft: no such device" in said
        assert "hush" not in said
        assert f"this machine's kernel has no file system '{kind}'; try: modprobe {kind}" in said
    place.docker("volume", "rm", "far")


def test_a_server_without_an_address(place: Engine) -> None:
    make(place, "lost", type="nfs", o="addr=nonesuch.invalid", device=":/x")
    said = run(place, "lost", "true", check=False)
    assert "error resolving passed in network volume address: lookup nonesuch.invalid" in said
