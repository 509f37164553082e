"""The program `berth.kernel.foreign` runs: one call on a mount whose server may be gone, then the errno as JSON.

Started by file name with an isolated interpreter, so that nothing but the standard library is needed to mount.
"""

import ctypes
import errno
import json
import os
import stat
import sys

MNT_DETACH = 2
MNT_FORCE = 1
MS_RDONLY = 1


def main(argv: list[str]) -> int:
    """Do what `argv` says and print ``{"errno": …}``."""
    libc = ctypes.CDLL(None, use_errno=True)
    verb, args = argv[0], argv[1:]
    result = 0
    if verb == "mount":
        result = _mount(libc, *args)
    elif verb == "mount-loop":
        return _mount_loop(libc, *args)
    elif verb in ("unmount", "detach"):
        result = libc.umount2(os.fsencode(args[0]), MNT_DETACH | MNT_FORCE if verb == "detach" else 0)
    elif verb == "look":
        return _look(args[0])
    elif verb == "look-inside":
        return _look_inside(*args)
    elif verb == "mkdir":
        return _make_directories(args[0])
    elif verb == "fill":
        return _fill(args)
    elif verb == "pin":
        return _pin(args)
    sys.stdout.write(json.dumps({"errno": ctypes.get_errno() if result else 0}))
    return 0


def _mount(libc: ctypes.CDLL, source: str, target: str, fstype: str, flags: str) -> int:
    data = os.environ.get("BERTH_MOUNT_DATA", "")
    result: int = libc.mount(
        os.fsencode(source),
        os.fsencode(target),
        fstype.encode() or None,
        ctypes.c_ulong(int(flags)),
        os.fsencode(data) or None,
    )
    return result


def _mount_loop(libc: ctypes.CDLL, source: str, target: str, fstype: str, flags: str) -> int:
    _find_ourselves()
    from berth.kernel import loop

    said: dict[str, object] = {}
    try:
        with loop.attached(source, read_only=bool(int(flags) & MS_RDONLY)) as (device, _):
            if _mount(libc, device, target, fstype, flags):
                said["errno"] = ctypes.get_errno()
    except loop.NoLoopDevices as exc:
        said = {"errno": exc.errno, "why": exc.strerror}
    except OSError as exc:
        said = {"errno": exc.errno or errno.EIO}
    sys.stdout.write(json.dumps(said))
    return 0


def _look(path: str) -> int:
    said: dict[str, object]
    try:
        seen, system = os.stat(path), os.statvfs(path)  # the second is never answered from a cache
        said = {"directory": stat.S_ISDIR(seen.st_mode), "read_only": bool(system.f_flag & os.ST_RDONLY)}
    except OSError as exc:
        said = {"errno": exc.errno or errno.EIO}
    sys.stdout.write(json.dumps(said))
    return 0


def _look_inside(root: str, path: str) -> int:
    _find_ourselves()
    from berth.kernel.rootpath import open_inside

    said: dict[str, object]
    try:
        seen = os.open(root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        fd = open_inside(seen, path)
        system = os.fstatvfs(fd)
        said = {"directory": stat.S_ISDIR(os.fstat(fd).st_mode), "read_only": bool(system.f_flag & os.ST_RDONLY)}
    except OSError as exc:
        said = {"errno": exc.errno or errno.EIO}
    sys.stdout.write(json.dumps(said))
    return 0


def _make_directories(path: str) -> int:
    number = 0
    try:
        os.makedirs(path, 0o755, exist_ok=True)
    except OSError as exc:
        number = exc.errno or errno.EIO
    sys.stdout.write(json.dumps({"errno": number}))
    return 0


def _find_ourselves() -> None:
    from pathlib import Path

    sys.path.insert(0, str(Path(__file__).parents[2]))


def _fill(args: list[str]) -> int:
    _find_ourselves()
    from pathlib import Path

    from berth.kernel.copyup import CopyFailed, fill

    root, target, data, marker = args
    number = 0
    try:
        fill(root, target, Path(data), Path(marker))
    except OSError as exc:
        number = exc.errno or errno.EIO
    except CopyFailed as exc:
        cause = exc.__cause__
        number = cause.errno or errno.EIO if isinstance(cause, OSError) else errno.EIO
    sys.stdout.write(json.dumps({"errno": number}))
    return 0


def _pin(args: list[str]) -> int:
    from pathlib import Path

    _find_ourselves()
    from berth.base.errors import SystemFault
    from berth.kernel.mount import bind_open
    from berth.kernel.rootpath import RESOLVE_BENEATH, open_inside

    source, subpath, place = args
    number, directory = 0, True
    try:
        root = os.open(source, os.O_PATH | os.O_DIRECTORY)
        fd = open_inside(root, subpath, resolve=RESOLVE_BENEATH)
        directory = stat.S_ISDIR(os.fstat(fd).st_mode)
        bind_open(fd, Path(place))
    except (OSError, SystemFault) as exc:
        number = getattr(exc, "errno", 0) or errno.EIO
    sys.stdout.write(json.dumps({"errno": number, "directory": directory}))
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
