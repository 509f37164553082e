"""What holding still needs of others: the containers, and whoever can copy a volume's data in an instant. Pure."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

from berth.volumes.consistency.model import Writer
from berth.volumes.model import VolumeRecord


class Writers(Protocol):
    """The containers, as somebody sees them who wants them to hold still. Errors are `EngineError`s."""

    async def running(self, idents: Sequence[str]) -> tuple[Sequence[Writer], Sequence[str]]:
        """Return those of `idents` that run, and those that are busy with something else for too long to say."""
        ...

    async def freeze(self, ident: str, limit_s: float) -> None:
        """Freeze every process; all are frozen when this returns. Raises `TimeoutError` if that takes too long."""
        ...

    async def thaw(self, ident: str) -> None:
        """Thaw, whatever is known of the state; nothing happens to what is not frozen, or gone."""
        ...

    async def stop(self, ident: str) -> None:
        """Stop, in the time the container is given for it."""
        ...

    async def start(self, ident: str) -> None:
        """Start; nothing happens to what runs, or is gone."""
        ...

    async def run(self, ident: str, argv: Sequence[str], limit_s: float, keep: int) -> tuple[int, str]:
        """Run a command; return its status and the first `keep` bytes it says. Raises `TimeoutError`."""
        ...


class Point(NamedTuple):
    """A copy of a volume's data at one instant."""

    path: Path
    #: What it is: "btrfs snapshot", "reflinks".
    how: str


class Points(Protocol):
    """Who can make copies of one instant."""

    async def take(self, record: VolumeRecord) -> Point | None:
        """Make one, quickly; None where that cannot be. Nothing writes while this runs."""
        ...

    async def drop(self, point: Point) -> None:
        """Remove it."""
        ...
