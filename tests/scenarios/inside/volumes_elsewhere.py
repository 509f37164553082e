"""Volumes in a kernel with project quotas, NFS, and every capability. Prints what became of each test as JSON."""

import asyncio
import contextlib
import errno
import json
import os
import shutil
import signal
import socket
import subprocess
import time
import traceback
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest

from berth.base.clock import SystemClock
from berth.base.errors import EngineError
from berth.base.paths import Layout
from berth.events.bus import Bus
from berth.kernel.mount import is_mounted
from berth.store.memory import MemoryRecords
from berth.volumes.model import VolumeRecord
from berth.volumes.mounts.away import Limits
from berth.volumes.service import Volumes
from tests.support.engines import REPO

PLACE: Final = Path("/run/tests")
#: The last are what CIFS encrypts and signs with, which it does not load by itself there.
MODULES: Final = (
    "loop", "quota_v2", "nfs", "nfsv4",
    "cifs", "ccm", "gcm", "cmac", "hmac", "md5", "sha512_generic", "sha256_generic", "aes_generic", "ecb", "ctr",
    "ghash-generic", "seqiv", "echainiv",
)  # fmt: skip
MIB: Final = 1 << 20
#: Time limits of the tests with a dead server, in seconds.
SHORT: Final = Limits(look_s=2, mount_s=3)
#: The same where the server may take its time: samba starts a process for each client.
PATIENT: Final = Limits(look_s=2, mount_s=30)
_CAN_EXCEED: Final = "sys_resource"


def service(root: Path, limits: Limits = SHORT) -> Volumes:
    """Volumes with their data root in a directory."""
    records: MemoryRecords[VolumeRecord] = MemoryRecords()
    return Volumes(Layout(root, PLACE / "exec"), records, Bus(SystemClock()), lambda: (), limits=limits)


@contextmanager
def disk(name: str, size_mb: int, mkfs: list[str], options: str) -> Iterator[Path]:
    """Lend a mounted file system of its own."""
    file, place = Path("/tmp") / f"{name}.img", PLACE / name
    place.mkdir(parents=True)
    with file.open("wb") as out:
        out.truncate(size_mb * MIB)
    subprocess.run([*mkfs, str(file)], check=True, capture_output=True)
    subprocess.run(["mount", "-o", f"loop,{options}", str(file), str(place)], check=True)
    try:
        yield place
    finally:
        subprocess.run(["umount", str(place)], check=True)
        file.unlink()


def write_as_container(path: Path, megabytes: int) -> str:
    """Write a file as a process without the capability to exceed limits; return what it complained of."""
    less = (f"--bounding-set=-{_CAN_EXCEED}", f"--inh-caps=-{_CAN_EXCEED}")
    argv = ["setpriv", *less, "dd", "if=/dev/zero", f"of={path}", "bs=1M", f"count={megabytes}", "conv=fsync"]
    return subprocess.run(argv, capture_output=True, text=True, env={**os.environ, "LC_ALL": "C"}).stderr


async def limited(root: Path, fstype: str, words: str) -> None:
    volumes = service(root)
    record = await volumes.create("sized", driver_opts={"size": "20m", "uid": "5"})
    driver, data = volumes.drivers.of(record), root / "volumes/sized/_data"
    await driver.hold(record, "user")
    assert not is_mounted(str(data)), "the directory itself is limited"
    assert data.stat().st_uid == 5
    assert words in write_as_container(data / "f", 40)
    assert (data / "f").stat().st_size <= 20 * MIB
    status = await volumes.sizing.status(record)
    assert (status["SizeMechanism"], status["FileSystem"], status["LimitBytes"]) == ("project quota", fstype, 20 * MIB)
    assert float(str(status["UsedPercent"])) > 90
    with pytest.raises(EngineError, match="is less than the"):
        await volumes.sizing.resize("sized", "10m")
    await volumes.sizing.resize("sized", "60m")
    assert "copied" in write_as_container(data / "g", 30)
    second = await volumes.create("other", driver_opts={"size": "10m", "size-mode": "quota"})
    assert "copied" in write_as_container(root / "volumes/other/_data/f", 8)
    await driver.let_go(record, "user")
    await volumes.adopt(set())
    for name in ("sized", second.name):
        await volumes.remove(name, force=False)
    await volumes.trash.empty()
    again = await volumes.create("again", driver_opts={"size": "20m"})
    assert int(str((await volumes.sizing.status(again))["UsedBytes"])) <= 4096, (
        "the directory, and none of the old files"
    )


async def test_project_quotas_of_ext4() -> None:
    mkfs = ["mkfs.ext4", "-q", "-F", "-O", "quota,project", "-E", "quotatype=prjquota"]
    with disk("ext4", 200, mkfs, "prjquota") as root:
        await limited(root, "ext4", os.strerror(errno.EDQUOT))


async def test_project_quotas_of_xfs() -> None:
    with disk("xfs", 400, ["mkfs.xfs", "-q"], "prjquota") as root:
        await limited(root, "xfs", os.strerror(errno.ENOSPC))


async def test_ext4_grows_under_its_users() -> None:
    with disk("plain", 300, ["mkfs.ext4", "-q", "-F"], "noatime") as root:
        volumes = service(root)
        record = await volumes.create("sized", driver_opts={"size": "20m", "size-fs": "ext4"})
        driver, data = volumes.drivers.of(record), root / "volumes/sized/_data"
        await driver.hold(record, "user")
        (data / "file").write_text("kept")
        for size in (40, 200):
            await volumes.sizing.resize("sized", f"{size}m")
            seen = os.statvfs(data)
            assert seen.f_bavail * seen.f_frsize >= (size - 1) * MIB
        assert (data / "file").read_text() == "kept"
        await driver.let_go(record, "user")
        await asyncio.to_thread(subprocess.run, ["e2fsck", "-fn", str(root / "volumes/sized/image")], check=True)


GANESHA: Final = """
NFS_CORE_PARAM { Protocols = 4; NFS_Port = 2049; Enable_NLM = false; Enable_RQUOTA = false; }
NFS_KRB5 { Active_krb5 = false; }
NFSv4 { Graceless = true; RecoveryBackend = fs; Allow_Numeric_Owners = true; Only_Numeric_Owners = true; }
EXPORT { Export_Id = 1; Path = %(export)s; Pseudo = /data; Access_Type = RW; Squash = No_Root_Squash; Protocols = 4;
         Transports = TCP; SecType = sys; FSAL { Name = VFS; } }
LOG { Default_Log_Level = EVENT; }
"""


@contextmanager
def nfs_server() -> Iterator[tuple[Path, "subprocess.Popen[bytes]"]]:
    """Run an NFS server in a process; lend its directory and itself."""
    with disk("export", 64, ["mkfs.ext4", "-q", "-F"], "noatime") as export:
        subprocess.run(["mount", "-t", "tmpfs", "state", "/var/lib/nfs"], check=True)
        Path("/var/lib/nfs/ganesha").mkdir()
        (PLACE / "ganesha.conf").write_text(GANESHA % {"export": export})
        Path("/run/ganesha").mkdir(exist_ok=True)
        log = Path("/tmp/ganesha.log")
        server = subprocess.Popen(
            ["ganesha.nfsd", "-F", "-f", str(PLACE / "ganesha.conf"), "-L", str(log), "-p", "/run/ganesha/pid"]
        )
        try:
            deadline = time.monotonic() + 40
            while True:
                assert server.poll() is None, log.read_text()[-2000:]
                assert time.monotonic() < deadline, log.read_text()[-2000:]
                with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", 2049), 1):
                    break
                time.sleep(0.1)
            yield export, server
        finally:
            server.kill()
            server.wait()
            subprocess.run(["umount", "/var/lib/nfs"], check=False)


async def test_nfs() -> None:
    with nfs_server() as (export, server):
        volumes = service(PLACE / "nfs-client")
        options = {"type": "nfs", "o": "addr=localhost,vers=4.1,hard", "device": ":/data"}
        record = await volumes.create("far", driver_opts=options)
        driver, data = volumes.drivers.of(record), PLACE / "nfs-client/volumes/far/_data"
        assert driver.away(record)
        await driver.hold(record, "first")
        (data / "file").write_text("over the wire")
        assert (export / "file").read_text() == "over the wire"
        await driver.hold(record, "second")
        await driver.let_go(record, "first")
        assert is_mounted(str(data))
        await driver.let_go(record, "second")
        assert not is_mounted(str(data))
        await driver.hold(record, "third")
        server.send_signal(signal.SIGSTOP)
        began = time.monotonic()
        await volumes.create("near")
        assert await volumes.usage()
        await volumes.remove("near", force=False)
        await volumes.adopt({"third"})
        assert time.monotonic() - began < 3, "the others went on"
        await driver.let_go(record, "third")
        assert not is_mounted(str(data)), "a dead server's mount is gone from the table"
        assert time.monotonic() - began < 40
        await fails(volumes, record, "no answer within 3 s")
        server.kill()
        server.wait()
        await fails(volumes, record, "cannot be reached on port 2049: connection refused")


SAMBA: Final = """
[global]
  server role = standalone server
  disable netbios = yes
  smb ports = 445
  interfaces = lo
  bind interfaces only = yes
  load printers = no
  private dir = %(state)s
  lock directory = %(state)s
  state directory = %(state)s
  cache directory = %(state)s
  pid directory = %(state)s
  ncalrpc dir = %(state)s/ncalrpc
  log file = /tmp/smbd.log
  passdb backend = tdbsam:%(state)s/passdb.tdb
[data]
  path = %(export)s
  read only = no
  force user = root
"""


def smbd() -> str:
    """Return where the server is: installed, or unpacked beside us; empty if nowhere."""
    beside = REPO / ".oracle/root/usr/sbin/smbd"
    return shutil.which("smbd") or (str(beside) if beside.exists() else "")


@contextmanager
def smb_server() -> Iterator[tuple[Path, "subprocess.Popen[bytes]"]]:
    """Run an SMB server, a process group of its own, with the user `daemon`; lend its directory and itself."""
    state, export, conf = PLACE / "samba", PLACE / "share", PLACE / "smb.conf"
    for directory in (state, state / "ncalrpc", state / "msg.lock", export):
        directory.mkdir(mode=0o755)
    conf.write_text(SAMBA % {"state": state, "export": export})
    subprocess.run(
        ["smbpasswd", "-c", str(conf), "-a", "-s", "daemon"], input=b"s3cret\n" * 2, check=True, capture_output=True
    )
    log = Path("/tmp/smbd.out")
    server = subprocess.Popen(
        [smbd(), "-F", "--no-process-group", "-s", str(conf)],
        stdout=log.open("wb"), stderr=subprocess.STDOUT, start_new_session=True,
    )  # fmt: skip
    try:
        deadline = time.monotonic() + 40
        while True:
            assert server.poll() is None, log.read_text()[-2000:]
            assert time.monotonic() < deadline, log.read_text()[-2000:]
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", 445), 1):
                break
            time.sleep(0.1)
        yield export, server
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(server.pid, signal.SIGKILL)
        server.wait()


async def test_cifs() -> None:
    with smb_server() as (export, server):
        volumes = service(PLACE / "smb-client", PATIENT)

        async def made(name: str, o: str) -> tuple[VolumeRecord, Path]:
            options = {"type": "cifs", "o": o, "device": "//localhost/data"}
            record = await volumes.create(name, driver_opts=options)
            assert volumes.drivers.of(record).away(record)
            return record, PLACE / f"smb-client/volumes/{name}/_data"

        driver = volumes.drivers.get("", "local")
        wrong, _ = await made("wrong", "username=daemon,password=wr0ng,vers=3.1.1")
        with pytest.raises(EngineError, match="permission denied") as refused:
            await driver.hold(wrong, "first")
        assert "wr0ng" not in str(refused.value)
        await driver.let_go(wrong, "first")
        sealed, data = await made("sealed", "username=daemon,password=s3cret,vers=3.0,seal")
        await driver.hold(sealed, "first")
        (data / "sealed").write_text("nobody else reads it")
        assert (export / "sealed").read_text() == "nobody else reads it"
        await driver.let_go(sealed, "first")
        far, data = await made("far", "username=daemon,password=s3cret,uid=33,dir_mode=0750")
        await driver.hold(far, "first")
        (data / "file").write_text("over the wire")
        assert (export / "file").read_text() == "over the wire"
        assert (data.stat().st_uid, data.stat().st_mode & 0o777) == (33, 0o750)
        await driver.hold(far, "second")
        await driver.let_go(far, "first")
        assert is_mounted(str(data))
        os.killpg(server.pid, signal.SIGSTOP)
        began = time.monotonic()
        await volumes.create("beside")
        assert await volumes.usage()
        await volumes.remove("beside", force=False)
        await volumes.adopt({"second"})
        assert time.monotonic() - began < 3, "the others went on"
        await driver.let_go(far, "second")
        assert not is_mounted(str(data)), "a dead server's mount is gone from the table"
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()
        await fails(volumes, far, "cannot be reached on port 445: connection refused")


async def fails(volumes: Volumes, record: VolumeRecord, words: str) -> None:
    with pytest.raises(EngineError, match=words):
        await volumes.drivers.of(record).hold(record, "fourth")
    await volumes.drivers.of(record).let_go(record, "fourth")


TESTS: Final[tuple[Callable[[], Awaitable[None]], ...]] = (
    test_project_quotas_of_ext4, test_project_quotas_of_xfs, test_ext4_grows_under_its_users, test_nfs, test_cifs,
)  # fmt: skip


def main() -> None:
    """Run every test."""
    PLACE.mkdir(parents=True)
    told = {}
    for test in TESTS:
        try:
            asyncio.run(test())  # type: ignore[arg-type]
        except BaseException:
            told[test.__name__] = traceback.format_exc()
        else:
            told[test.__name__] = ""
    print(json.dumps(told))


if __name__ == "__main__":
    main()
