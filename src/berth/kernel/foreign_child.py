"""The program `berth.kernel.foreign` runs: one call on a mount whose server may be gone, then the errno as JSON.

Started by file name with an isolated interpreter, so that nothing but the standard library is needed to mount.
"""

import ctypes
import errno
import json
import os
import sys

MNT_DETACH = 2
MNT_FORCE = 1


def main(argv: list[str]) -> int:
    """Do what `argv` says and print ``{"errno": …}``."""
    libc = ctypes.CDLL(None, use_errno=True)
    verb, args = argv[0], argv[1:]
    result = 0
    if verb == "mount":
        source, target, fstype, flags, data = args
        result = libc.mount(
            os.fsencode(source),
            os.fsencode(target),
            fstype.encode() or None,
            ctypes.c_ulong(int(flags)),
            os.fsencode(data) or None,
        )
    elif verb in ("unmount", "detach"):
        result = libc.umount2(os.fsencode(args[0]), MNT_DETACH | MNT_FORCE if verb == "detach" else 0)
    elif verb == "fill":
        return _fill(args)
    elif verb == "pin":
        return _pin(args)
    sys.stdout.write(json.dumps({"errno": ctypes.get_errno() if result else 0}))
    return 0


def _fill(args: list[str]) -> int:
    from pathlib import Path

    sys.path.insert(0, str(Path(__file__).parents[2]))
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
    import stat
    from pathlib import Path

    sys.path.insert(0, str(Path(__file__).parents[2]))
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
