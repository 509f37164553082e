"""File systems of a test's own, on loop devices: with and without blocks that files can share, and small ones."""

import contextlib
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from berth.kernel.files import sync_filesystem

_MKFS = {
    "ext4": ("mkfs.ext4", "-q", "-F"),
    "xfs": ("mkfs.xfs", "-q", "-f", "-m", "reflink=1"),
    "btrfs": ("mkfs.btrfs", "-q", "-f"),
}
#: The smallest size each makes without complaint, in MiB.
SIZES_MIB = {"ext4": 64, "xfs": 320, "btrfs": 256}


def is_missing(kind: str) -> str:
    """Return why there can be none of this kind here, or nothing."""
    return "" if shutil.which(_MKFS[kind][0]) else f"needs {_MKFS[kind][0]} (scripts/setup tests installs it)"


@contextlib.contextmanager
def mounted(kind: str, place: Path, *, size_mib: int = 0, inside: Sequence[str] = ()) -> Iterator[Path]:
    """Lend a new file system of `kind`, mounted at ``place/KIND``; `inside` is a command prefix of a namespace."""
    image, at = place / f"{kind}.img", place / kind
    at.mkdir(parents=True, exist_ok=True)
    with image.open("wb") as out:
        out.truncate((size_mib or SIZES_MIB[kind]) << 20)
    subprocess.run([*_MKFS[kind], str(image)], check=True, capture_output=True)
    subprocess.run([*inside, "mount", "-o", "loop", str(image), str(at)], check=True, capture_output=True)
    try:
        yield at
    finally:
        done = subprocess.run([*inside, "umount", str(at)], capture_output=True, text=True)
        if done.returncode:  # a test that failed has files open there: none of it stays on the machine all the same
            subprocess.run([*inside, "umount", "-l", str(at)], check=True, capture_output=True)
        image.unlink()
        assert not done.returncode, done.stderr


def cut_power(kind: str, place: Path, close: Callable[[], None]) -> None:
    """Let what `mounted` lends have only what is on its medium now, as after a power failure.

    `close` closes what is open there; whatever that writes is lost.
    """
    image, at = place / f"{kind}.img", place / kind
    survives = place / f"{kind}.survives"
    subprocess.run(["cp", "--sparse=always", str(image), str(survives)], check=True)
    close()
    subprocess.run(["umount", str(at)], check=True, capture_output=True)
    survives.replace(image)
    subprocess.run(["mount", "-o", "loop", str(image), str(at)], check=True, capture_output=True)


def fill(filler: Path, *, left: int) -> None:
    """Let `filler` take all of its disk but `left` bytes, or what there is less."""
    filler.unlink(missing_ok=True)
    sync_filesystem(filler.parent)  # what was deleted is free now
    piece = 1 << 20
    with filler.open("wb", buffering=0) as out:
        while piece and (free := _free(filler)) > left:
            try:
                out.write(bytes(min(piece, free - left)))
            except OSError:
                os.fsync(out.fileno())  # it may have taken less than what was put by for it
                piece //= 4


def _free(place: Path) -> int:
    found = os.statvfs(place)
    return found.f_bfree * found.f_frsize  # root may have them all
