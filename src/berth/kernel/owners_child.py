"""The program `berth.kernel.owners` runs: files under other owners, for one mount or for good.

``owners_child.py JSON`` with a verb and what it needs; prints ``{"error": …, "directory": …}``. A process of its own
because a user namespace can only be made by a process with one thread, and because the files may lie on a server that
is gone. Started by file name with an isolated interpreter.
"""

import errno
import json
import os
import signal
import stat
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

from berth.base.errors import SystemFault
from berth.kernel import treemount
from berth.kernel.libc import LIBC
from berth.kernel.mount import bind_open, make_place

CLONE_NEWUSER = 0x1000_0000
#: Ids a kernel knows: 32 bits, the last one stands for none (uapi/linux/uidgid).
ALL = (1 << 32) - 1


def swapped(one: int, other: int) -> str:
    """Return a mapping that exchanges two ids and leaves all others (user_namespaces(7), uid_map)."""
    low, high = sorted((one, other))
    spans = [(0, 0, low), (low, high, 1), (low + 1, low + 1, high - low - 1), (high, low, 1)]
    spans.append((high + 1, high + 1, ALL - high - 1))
    if low == high:
        spans = [(0, 0, ALL)]
    return "".join(f"{inner} {outer} {count}\n" for inner, outer, count in spans if count > 0)


def user_namespace(users: str, groups: str) -> int:
    """Return a descriptor of a namespace with these mappings."""
    ready, tell = os.pipe()
    lives, alive = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(alive)
        done = LIBC.unshare(CLONE_NEWUSER)
        os.write(tell, b"y" if done == 0 else b"n")
        os.read(lives, 1)  # until we are killed, or whoever made us is
        os._exit(0)
    try:
        if os.read(ready, 1) != b"y":
            raise OSError(errno.EPERM, "this kernel makes no user namespaces")
        for name, mapping in (("uid_map", users), ("gid_map", groups)):
            fd = os.open(f"/proc/{child}/{name}", os.O_WRONLY)
            try:
                os.write(fd, mapping.encode())
            finally:
                os.close(fd)
        return os.open(f"/proc/{child}/ns/user", os.O_RDONLY | os.O_CLOEXEC)
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def idmap(source: str, place: str, uid: int, gid: int, *, recursive: bool) -> bool:
    """Mount `source` at `place` so that its owner is seen as `uid` and `gid`, and the other way round."""
    seen = os.stat(source)
    directory = stat.S_ISDIR(seen.st_mode)
    if (seen.st_uid, seen.st_gid) == (uid, gid):
        fd = os.open(source, os.O_PATH | os.O_CLOEXEC)
        bind_open(fd, Path(place))
        return directory
    tree = treemount.clone(source, recursive=recursive)
    namespace = user_namespace(swapped(seen.st_uid, uid), swapped(seen.st_gid, gid))
    treemount.set_attributes(tree, propagation=treemount.PROPAGATION["private"], recursive=True)
    treemount.set_attributes(tree, userns=namespace, recursive=True)
    make_place(Path(place), directory=directory)
    where = os.open(place, os.O_PATH | os.O_CLOEXEC)
    try:
        treemount.attach(tree, where)
    finally:
        os.close(where)
    return directory


def give(source: str, uid: int, gid: int) -> None:
    """Make `source` and all below it on the same file system belong to `uid` and `gid`."""
    top = os.open(source, os.O_PATH | os.O_CLOEXEC)
    seen = os.fstat(top)
    if (seen.st_uid, seen.st_gid) != (uid, gid):
        os.chown(f"/proc/self/fd/{top}", uid, gid)
    if not stat.S_ISDIR(seen.st_mode):
        return
    inside = os.open(f"/proc/self/fd/{top}/.", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    for _, directories, files, here in os.fwalk(".", dir_fd=inside, follow_symlinks=False):
        for name in list(directories):
            inner = os.stat(name, dir_fd=here, follow_symlinks=False)
            if inner.st_dev != seen.st_dev:
                directories.remove(name)
                continue
            _chown(name, here, inner, uid, gid)
        for name in files:
            _chown(name, here, os.stat(name, dir_fd=here, follow_symlinks=False), uid, gid)


def _chown(name: str, here: int, seen: os.stat_result, uid: int, gid: int) -> None:
    if (seen.st_uid, seen.st_gid) == (uid, gid):
        return
    try:
        os.chown(name, uid, gid, dir_fd=here, follow_symlinks=False)
    except FileNotFoundError:  # removed meanwhile by whoever uses the directory
        return


def main(order: dict[str, Any]) -> dict[str, Any]:
    """Do what is asked for."""
    try:
        if order["verb"] == "idmap":
            if order["create"]:
                os.makedirs(order["source"], 0o755, exist_ok=True)
            directory = idmap(order["source"], order["place"], order["uid"], order["gid"], recursive=order["recursive"])
            read_only = bool(os.statvfs(order["source"]).f_flag & os.ST_RDONLY)
            return {"error": "", "directory": directory, "read_only": read_only}
        give(order["source"], order["uid"], order["gid"])
    except OSError as exc:
        if exc.errno in (errno.EINVAL, errno.EOPNOTSUPP) and order["verb"] == "idmap":
            return {"error": "its file system, or one below it, does not take other owners (id-mapped mounts)"}
        return {"error": f"{exc.filename or ''}: {exc.strerror}".removeprefix(": ")}
    except SystemFault as exc:
        return {"error": str(exc)}
    return {"error": ""}


if __name__ == "__main__":
    sys.stdout.write(json.dumps(main(json.loads(sys.argv[1]))))
