"""Packs a directory, or the upper directory of an overlay, into the tar stream of an image layer.

Runs alone: as ``pack.py DIRECTORY TARGET`` inside the namespaces that a layer of packages is built in, and as ``pack.py
DIRECTORY TARGET PATHS`` for what a container has changed, where the file PATHS is a JSON list of what to keep. Standard
library only. What an overlay records as removed becomes a layer's whiteouts (OCI image-spec, layer.md "Whiteouts").
"""

import json
import os
import stat
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final, Protocol

#: Directories whose content belongs to the machine a container runs on, or to the build; they stay, empty.
_EMPTIED: Final = frozenset({
    "dev", "proc", "sys", "tmp", "var/tmp", "var/cache/apt", "var/lib/apt/lists", "usr/share/man",
    "usr/share/info", "usr/share/locale", "usr/share/lintian", "usr/share/doc-base", "var/log/apt",
})  # fmt: skip
_DROPPED: Final = frozenset({
    "var/log/dpkg.log", "var/log/alternatives.log", "var/log/bootstrap.log", "var/lib/dpkg/status-old",
    "var/lib/dpkg/diversions-old", "var/lib/dpkg/statoverride-old", "var/cache/debconf/config.dat-old",
    "var/cache/debconf/templates.dat-old", "var/cache/ldconfig/aux-cache", "etc/.pwd.lock", "etc/passwd-",
    "etc/group-", "etc/shadow-", "etc/gshadow-", ".dockerenv",
})  # fmt: skip
_OPAQUE: Final = "trusted.overlay.opaque"
_CAPABILITY: Final = "security.capability"


class Keep(Protocol):
    """Tells whether a path, relative to the root, belongs into the layer."""

    def __call__(self, path: str, *, directory: bool) -> bool:
        """Return it; what is in a directory that does not belong is not asked for."""
        ...


def is_kept(path: str, *, directory: bool) -> bool:
    """Tell whether `path`, relative to the root, belongs into an image of packages."""
    if path in _DROPPED:
        return False
    if any(path.startswith(f"{parent}/") for parent in _EMPTIED):
        return False
    # Of the documentation only the licences stay.
    return directory or not path.startswith("usr/share/doc/") or path.endswith("/copyright")


def walk(root: str, inside: str = "", keep: Keep = is_kept) -> Iterator[tuple[str, os.stat_result]]:
    """Yield what is below `root`, sorted, parents first: path relative to `root` and its lstat."""
    with os.scandir(os.path.join(root, inside)) as entries:
        found = sorted(entries, key=lambda entry: entry.name)
    for entry in found:
        path = os.path.join(inside, entry.name)
        seen = entry.stat(follow_symlinks=False)
        directory = stat.S_ISDIR(seen.st_mode)
        if keep(path, directory=directory):
            yield path, seen
            if directory:
                yield from walk(root, path, keep)


def pack(root: str, target: str, keep: Keep = is_kept) -> None:
    """Write the layer; blocking."""
    links: dict[tuple[int, int], str] = {}
    with tarfile.open(target, "w", format=tarfile.PAX_FORMAT) as tar:
        for path, seen in walk(root, keep=keep):
            full = os.path.join(root, path)
            if stat.S_ISCHR(seen.st_mode) and seen.st_rdev == 0:
                tar.addfile(_whiteout(os.path.dirname(path), ".wh." + os.path.basename(path)))
                continue
            if stat.S_ISSOCK(seen.st_mode):
                continue
            info = _info(path, full, seen)
            first = links.setdefault((seen.st_dev, seen.st_ino), path) if seen.st_nlink > 1 else path
            if info.isreg() and first != path:
                info.type, info.linkname, info.size = tarfile.LNKTYPE, first, 0
                tar.addfile(info)
            elif info.isreg():
                with Path(full).open("rb") as body:
                    tar.addfile(info, body)
            else:
                tar.addfile(info)
            if info.isdir() and _attribute(full, _OPAQUE) == b"y":
                tar.addfile(_whiteout(path, ".wh..wh..opq"))


def _info(path: str, full: str, seen: os.stat_result) -> tarfile.TarInfo:
    info = tarfile.TarInfo(path)
    info.mode, info.uid, info.gid = stat.S_IMODE(seen.st_mode), seen.st_uid, seen.st_gid
    info.mtime = int(seen.st_mtime)
    if stat.S_ISDIR(seen.st_mode):
        info.type = tarfile.DIRTYPE
    elif stat.S_ISLNK(seen.st_mode):
        info.type, info.linkname = tarfile.SYMTYPE, os.readlink(full)
    elif stat.S_ISFIFO(seen.st_mode):
        info.type = tarfile.FIFOTYPE
    elif stat.S_ISCHR(seen.st_mode) or stat.S_ISBLK(seen.st_mode):
        info.type = tarfile.CHRTYPE if stat.S_ISCHR(seen.st_mode) else tarfile.BLKTYPE
        info.devmajor, info.devminor = os.major(seen.st_rdev), os.minor(seen.st_rdev)
    else:
        info.size = seen.st_size
        capability = _attribute(full, _CAPABILITY)
        if capability:
            info.pax_headers = {f"SCHILY.xattr.{_CAPABILITY}": capability.decode("utf-8", "surrogateescape")}
    return info


def _whiteout(directory: str, name: str) -> tarfile.TarInfo:
    info = tarfile.TarInfo(os.path.join(directory, name))
    info.mode = 0o644
    return info


def _attribute(path: str, name: str) -> bytes:
    try:
        return os.getxattr(path, name, follow_symlinks=False)
    except OSError:
        return b""


def only(paths: set[str]) -> Keep:
    """Keep just these, which must name the directories they are in."""

    def keep(path: str, *, directory: bool) -> bool:
        del directory
        return path in paths

    return keep


if __name__ == "__main__":
    directory, target, *listed = sys.argv[1:]
    pack(directory, target, *(only(set(json.loads(Path(paths).read_bytes()))) for paths in listed))
