"""Whether a container's user can write where it has writable mounts: said when the container is made, not at 3 a.m.

By numbers, with groups and POSIX ACLs, as the kernel decides (acl(5), access check algorithm). Only a forewarning: what
cannot be known quickly is not warned of. Blocking. Must not: look at sources that may hang; they are not handed in.
"""

import os
import stat
import struct
from collections.abc import Sequence
from typing import Final, NamedTuple, Protocol

from berth.kernel.copyup import is_empty
from berth.kernel.rootpath import open_inside
from berth.volumes.mounts.model import MountPoint, MountType

_ACL: Final = "system.posix_acl_access"
# linux/posix_acl_xattr.h and posix_acl.h
_ACL_VERSION: Final = 2
_USER_OBJ, _USER, _GROUP_OBJ, _GROUP, _MASK, _OTHER = 0x01, 0x02, 0x04, 0x08, 0x10, 0x20
_READ, _WRITE, _EXECUTE = 4, 2, 1


class User(Protocol):
    """Whom a container's process runs as."""

    @property
    def uid(self) -> int:
        """The user."""
        ...

    @property
    def gid(self) -> int:
        """The group."""
        ...

    @property
    def groups(self) -> Sequence[int]:
        """Further groups."""
        ...


class Owned(NamedTuple):
    """Who may do what with a file."""

    uid: int
    gid: int
    mode: int
    acl: bytes = b""


def warnings(points: Sequence[MountPoint], user: User, layers: Sequence[str]) -> list[str]:
    """Say for which writable mounts a user lacks the right; `layers` are the image's, topmost first."""
    if user.uid == 0:
        return []
    said = []
    for point in points:
        if not point.rw or point.chown or point.mapped or point.type not in (MountType.BIND, MountType.VOLUME):
            continue
        owned = _owned(point, layers)
        if owned is not None and not may_write(owned, user):
            said.append(_said(point, owned, user))
    return said


def _said(point: MountPoint, owned: Owned, user: User) -> str:
    what = f"volume {point.name}" if point.type is MountType.VOLUME else point.source
    mend = "mount it with :U, or" if point.type is MountType.VOLUME else "mount it with bind-idmap or :U, or"
    return (
        f"The container runs as {user.uid}:{user.gid} and cannot write to {point.target}: {what} belongs to "
        f"{owned.uid}:{owned.gid}, mode {stat.S_IMODE(owned.mode):04o}. To let it, {mend}: "
        f"chown {user.uid}:{user.gid} {point.source}"
    )


def may_write(owned: Owned, user: User) -> bool:
    """Tell whether a user may write to a file, or make files in a directory."""
    wanted = _WRITE | (_EXECUTE if stat.S_ISDIR(owned.mode) else 0)
    groups = {user.gid, *user.groups}
    if user.uid == owned.uid:
        return owned.mode >> 6 & wanted == wanted
    entries = _entries(owned.acl)
    if not entries:
        bits = owned.mode >> 3 if owned.gid in groups else owned.mode
        return bits & wanted == wanted
    mask = next((perm for tag, perm, _ in entries if tag == _MASK), 7)
    for tag, perm, ident in entries:
        if tag == _USER and ident == user.uid:
            return perm & mask & wanted == wanted
    mine = [
        perm & mask
        for tag, perm, ident in entries
        if (tag == _GROUP_OBJ and owned.gid in groups) or (tag == _GROUP and ident in groups)
    ]
    if mine:
        return any(perm & wanted == wanted for perm in mine)
    return next((perm for tag, perm, _ in entries if tag == _OTHER), 0) & wanted == wanted


def _entries(acl: bytes) -> list[tuple[int, int, int]]:
    if len(acl) < 4 or struct.unpack_from("<I", acl)[0] != _ACL_VERSION or (len(acl) - 4) % 8:
        return []
    return [struct.unpack_from("<HHI", acl, at) for at in range(4, len(acl), 8)]


def _owned(point: MountPoint, layers: Sequence[str]) -> Owned | None:
    """Return what the mount will be like; None where that is not known."""
    try:
        if point.type is MountType.VOLUME and point.copy_up and is_empty(point.source):
            return _from_image(point.target, layers) or _of(point.source)
        return _of(os.path.join(point.source, point.subpath) if point.subpath else point.source)
    except FileNotFoundError:
        return Owned(0, 0, 0o755 | stat.S_IFDIR) if point.create_source else None
    except OSError:
        return None


def _of(path: str) -> Owned:
    seen = os.stat(path)
    try:
        acl = os.getxattr(path, _ACL)
    except OSError:
        acl = b""
    return Owned(seen.st_uid, seen.st_gid, seen.st_mode, acl)


def _from_image(target: str, layers: Sequence[str]) -> Owned | None:
    """Return the owner an empty volume gets from the image's directory at `target`."""
    for layer in layers:
        root = os.open(layer, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fd = open_inside(root, target, os.O_RDONLY | os.O_DIRECTORY)
        except (FileNotFoundError, NotADirectoryError):
            continue
        finally:
            os.close(root)
        try:
            seen = os.fstat(fd)
            return Owned(seen.st_uid, seen.st_gid, seen.st_mode)
        finally:
            os.close(fd)
    return None
