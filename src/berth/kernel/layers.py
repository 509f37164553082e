"""Unpacks image layers, each in a process of its own that is chrooted into the layer's directory.

A process and not a thread: the engine's own memory and responsiveness stay as they are, a layer can use a whole
processor, and what it does ends with it.
"""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from berth.base.errors import SystemFault
from berth.kernel import process

#: How long one layer may take, in seconds: tens of gigabytes on slow disks.
_LIMIT_S: Final = 6 * 3600.0
_ENVIRONMENT: Final = {"PATH": "/usr/local/bin:/usr/bin:/bin"}
_CHILD: Final = str(Path(__file__).with_name("layer_child.py"))


class LayerRefused(SystemFault):
    """A layer could not be unpacked, by its own fault or the machine's."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"failed to register layer: {reason}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Unpacked:
    """A layer that lies in its directory."""

    #: ``sha256:`` and the digest of the tar stream.
    diff_id: str
    #: Bytes of its files.
    size: int
    #: Bytes of the tar stream.
    tar_size: int


async def unpack(blob: Path, directory: Path, *, digest: str = "") -> Unpacked:
    """Unpack the file `blob` into the empty `directory`; raises `LayerRefused` and leaves what there is by then.

    `digest` (``sha256:…``) is what the file must have, if nobody has checked it yet.
    """
    argv = (sys.executable, "-I", "-S", _CHILD, str(directory), str(blob), digest.removeprefix("sha256:") or "-")
    done = await process.run(process.ending_with_us(argv), timeout_s=_LIMIT_S, env=_ENVIRONMENT, check=False)
    verdict, _, rest = done.stdout.decode(errors="replace").strip().partition(" ")
    if verdict == "ok":
        diff_id, size, tar_size = rest.split(" ")
        return Unpacked(diff_id=diff_id, size=int(size), tar_size=int(tar_size))
    if verdict in ("bad", "failed"):
        raise LayerRefused(rest)
    said = done.stderr.decode(errors="replace").strip().rpartition("\n")[2]
    raise LayerRefused(said or f"the process that unpacked it ended with status {done.returncode}")
