"""Fill a new volume with what an image has at its mount point.

Everything a file has comes along (`treecopy`); the volume's root gets owner and mode of the image's directory.

A marker beside the data stands while a copy is under way. Files appear whole or not at all, and nothing that exists
is replaced: a copy that was interrupted is simply begun again and keeps what somebody wrote meanwhile.
"""

import errno
import os
from pathlib import Path

from berth.base.errors import SystemFault
from berth.base.ownership import NOBODY_SAID, Owner
from berth.kernel.rootpath import open_inside
from berth.kernel.treecopy import TreeCopy


class CopyFailed(SystemFault):
    """An image's content could not be copied into a volume."""

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(f"error copying image content to the volume: {path}: {reason}")


class SourceIsFile(SystemFault):
    """The image has a file where the volume is to be."""

    def __init__(self, path: str) -> None:
        super().__init__(f"source {path} is not directory")


def is_empty(directory: str) -> bool:
    """Tell whether a directory has no entries."""
    with os.scandir(directory) as entries:
        return next(entries, None) is None


def fill(root: str, target: str, data: Path, marker: Path, owner: Owner = NOBODY_SAID) -> bool:
    """Copy what is at `target` inside `root` into the empty directory `data`; True if something was to copy.

    What `owner` says of the directory itself stays so.
    Nothing happens if `data` has content, unless `marker` says that an earlier copy did not end.
    """
    unfinished = marker.exists()
    if not unfinished and not is_empty(str(data)):
        return False
    root_fd = os.open(root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        source = open_inside(root_fd, target, os.O_RDONLY | os.O_DIRECTORY)
    except NotADirectoryError:
        raise SourceIsFile(target) from None
    except OSError as exc:
        if exc.errno in (errno.ENOENT, errno.ELOOP):
            marker.unlink(missing_ok=True)
            return False
        raise CopyFailed(target, exc.strerror or str(exc)) from None
    finally:
        os.close(root_fd)
    try:
        into = os.open(data, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            marker.touch()
            TreeCopy(source, into).run(owner)
        except OSError as exc:
            raise CopyFailed(str(exc.filename or target), exc.strerror or str(exc)) from exc
        finally:
            os.close(into)
    finally:
        os.close(source)
    marker.unlink()
    return True
