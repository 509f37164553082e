"""An empty volume gets what Docker gives it, file by file; its first users, all at once, see it whole."""

import hashlib
import io
import os
import shutil
import stat
import struct
import subprocess
import tarfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.support.engines import Done, Engine, import_tree

pytestmark = [pytest.mark.root, pytest.mark.compat]

#: VFS_CAP_REVISION_2 with cap_net_bind_service, linux/capability.h.
CAPABLE = bytes.fromhex("0100000200040000000000000000000000000000")


def _acl(*entries: tuple[int, int, int]) -> bytes:
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries)


ANY = 0xFFFFFFFF
ACL = _acl((1, 6, ANY), (2, 5, 1234), (4, 4, ANY), (16, 7, ANY), (32, 4, ANY))


def odd_tree(busybox: Path) -> bytes:
    """Pack everything a file can have; as bytes, since names are no UTF-8."""
    out = io.BytesIO(busybox.read_bytes())
    with tarfile.open(fileobj=out, mode="a", format=tarfile.PAX_FORMAT, errors="surrogateescape") as tar:

        def add(path: str, kind: bytes = tarfile.REGTYPE, content: bytes = b"", **more: Any) -> None:
            info = tarfile.TarInfo(f"srv/odd/{path}" if path else "srv/odd")
            info.type, info.size, info.mode, info.mtime = kind, len(content), 0o644, 1_400_000_000
            for key, value in more.items():
                setattr(info, key, value)
            tar.addfile(info, io.BytesIO(content))

        def attributes(**named: bytes) -> dict[str, str]:
            keyed = {name.replace("__", "."): value for name, value in named.items()}
            return {f"SCHILY.xattr.{key}": value.decode("utf-8", "surrogateescape") for key, value in keyed.items()}

        add("", tarfile.DIRTYPE, mode=0o3771, uid=70, gid=71, mtime=1_300_000_001)
        add("setuid", content=b"s", mode=0o4755, uid=1, gid=2)
        add("setgid", content=b"g", mode=0o2755, uid=0, gid=50)
        add("sticky", tarfile.DIRTYPE, mode=0o1777, uid=65534, gid=65534)
        add("none", content=b"n", mode=0)
        add("big-ids", content=b"i", uid=2_000_000_000, gid=2_000_000_001)
        add("one", content=b"linked", uid=7)
        add("sticky/two", tarfile.LNKTYPE, linkname="srv/odd/one", uid=7)
        add("fifo", tarfile.FIFOTYPE, mode=0o620, uid=3)
        add("char", tarfile.CHRTYPE, mode=0o660, devmajor=1, devminor=3, gid=9)
        add("block", tarfile.BLKTYPE, mode=0o640, devmajor=7, devminor=99)
        add("dangling", tarfile.SYMTYPE, linkname="/no/such/place", uid=11, gid=12)
        add("absolute", tarfile.SYMTYPE, linkname="/etc/passwd")
        add("upwards", tarfile.SYMTYPE, linkname="../../../../../../etc")
        add("loop", tarfile.SYMTYPE, linkname="loop")
        add("n" * 255, content=b"long")
        for depth in range(1, 61):
            add("/".join(f"d{number:03}" for number in range(depth)), tarfile.DIRTYPE, mode=0o700)
        add("latin-\udce9\udcff", content=b"no UTF-8")
        add("new\nline and \ttab", content=b"odd")
        add("empty", tarfile.DIRTYPE, mode=0o500)
        add("noted", content=b"x", pax_headers=attributes(user__note=b"kept"))
        add("capable", content=b"x", mode=0o755, pax_headers=attributes(security__capability=CAPABLE))
        add("listed", content=b"x", mode=0o674, pax_headers=attributes(system__posix_acl_access=ACL))
        add("many", tarfile.DIRTYPE)
        for number in range(300):
            add(f"many/{number}", content=str(number).encode(), mtime=1_400_000_000 + number)
        add("sparse", content=b"start" + bytes(4 << 20) + b"end")
    return out.getvalue()


@pytest.fixture
def place(engine: Engine, busybox: Path) -> Iterator[Engine]:
    if engine.api("GET", "/images/odd/json").status == 404:
        import_tree(engine, "odd", odd_tree(busybox))
    yield engine
    engine.wipe_containers()
    for name in ("odd1", "odd2", "odd3"):
        engine.api("DELETE", f"/volumes/{name}")


def listing(top: Path) -> dict[bytes, tuple[Any, ...]]:
    """Return everything about every file: kind, mode, owner, time, content or target, attributes, its other names."""
    names: dict[tuple[int, int], bytes] = {}
    found: dict[bytes, tuple[Any, ...]] = {}
    paths = [os.fsencode(top)]
    for root, directories, files in os.walk(os.fsencode(top)):
        paths += [os.path.join(root, name) for name in (*directories, *files)]
    for path in sorted(paths):
        seen = os.lstat(path)
        kind = stat.S_IFMT(seen.st_mode)
        content: Any = None
        if kind == stat.S_IFREG:
            with open(path, "rb") as file:
                content = hashlib.sha256(file.read()).hexdigest()
        elif kind == stat.S_IFLNK:
            content = os.readlink(path)
        elif kind in (stat.S_IFCHR, stat.S_IFBLK):
            content = (os.major(seen.st_rdev), os.minor(seen.st_rdev))
        attributes = {name: os.getxattr(path, name, follow_symlinks=False)
                      for name in os.listxattr(path, follow_symlinks=False)}  # fmt: skip
        rel = os.path.relpath(path, os.fsencode(top))
        first = names.setdefault((seen.st_dev, seen.st_ino), rel) if kind != stat.S_IFDIR else rel
        found[rel] = (
            kind,
            stat.S_IMODE(seen.st_mode),
            seen.st_uid,
            seen.st_gid,
            int(seen.st_mtime),
            content,
            attributes,
            first,
        )
    return found


def data(engine: Engine, name: str) -> Path:
    return Path(engine.api("GET", f"/volumes/{name}").body["Mountpoint"])


def filled(engine: Engine, name: str, target: str = "/srv/odd") -> Path:
    done = engine.docker("run", "--rm", "-v", f"{name}:{target}", "odd", "true", check=False)
    assert done.ok, done.err
    return data(engine, name)


def test_file_by_file(place: Engine, tmp_path: Path, busybox: Path) -> None:
    """The volume is compared with what GNU tar makes of the same archive; both engines pass, so they agree."""
    truth = tmp_path / "truth"
    truth.mkdir()
    subprocess.run(["tar", "x", "--xattrs", "--xattrs-include=*", "-p", "--same-owner", "--numeric-owner", "-C", truth],
                   input=odd_tree(busybox), check=True, capture_output=True)  # fmt: skip
    wanted, got = listing(truth / "srv/odd"), listing(filled(place, "odd1"))
    assert got.keys() == wanted.keys()
    for name, seen in got.items():
        want = list(wanted[name])
        if seen[0] == stat.S_IFDIR:  # tar sets some too early, and 20.10 gives them the time of the copy
            own = 1_300_000_001 if name == b"." else 1_400_000_000
            want[4] = own if place.kind == "berth" else seen[4]
        assert list(seen) == want, name
    shutil.rmtree(truth)


def test_many_first_users_see_it_whole(place: Engine) -> None:
    script = "cd /srv/odd; find . | wc -l; cat many/*  | wc -c; stat -c %a .; cat one"

    def user(number: int) -> Done:
        command = ("--name", f"first{number}", "-v", "odd2:/srv/odd", "odd", "sh", "-c", script)
        return place.docker("run", "--rm", *command, check=False)

    with ThreadPoolExecutor(5) as pool:
        answers = list(pool.map(user, range(5)))
    whole = place.docker("run", "--rm", "odd", "sh", "-c", script).out
    if place.kind == "dockerd":  # each of its users copies, and may trip over what another has just put there
        answers = [one for one in answers if "failed to " not in one.err]
    assert {(one.code, one.out, one.err) for one in answers} == {(0, whole, "")}


def test_a_link_at_the_target_leads_inside_the_image(place: Engine) -> None:
    """The image's own symlinks are followed as a process in it would; the volume gets what is there."""
    place.docker("create", "--name", "linked", "-v", "odd3:/srv/odd/upwards", "odd", "true")
    place.docker("start", "-a", "linked")
    assert not [name for name in os.listdir(data(place, "odd3")) if name in ("shadow", "fstab", "debian_version")]
