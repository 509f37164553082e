"""What differs between two volumes, or snapshots of volumes. Must not: read a volume itself; a program does."""

import contextlib
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any, Final

import msgspec

from berth.base.aio import in_thread
from berth.base.errors import SystemFault
from berth.kernel import copying, treediff_child
from berth.volumes.consistency.model import Mode, Wish
from berth.volumes.consistency.still import Stillness
from berth.volumes.copies import model
from berth.volumes.copies.errors import NoSuchSnapshot
from berth.volumes.copies.shelf import Shelf

_CHILD: Final = treediff_child.__file__


class NotCompared(SystemFault):
    """Two trees could not be compared."""

    def __init__(self, one: str, other: str, why: str) -> None:
        super().__init__(f"cannot compare {one} and {other}: {why}")


class Comparing:
    """Compares one engine's volumes."""

    def __init__(self, shelf: Shelf, stillness: Stillness, stall_limit_s: float = copying.STALL_LIMIT_S) -> None:
        self._shelf = shelf
        self._stillness = stillness
        self._stall_limit_s = stall_limit_s

    async def differences(self, one: str, other: str, *, whole: bool = False) -> AsyncGenerator[dict[str, Any], None]:
        """Yield what is added, removed and changed from one to the other, and at the end how many that were.

        Files of one size and time are not read unless `whole`. Nobody is held still: what changes meanwhile may be told
        either way. Raises `NoSuchVolume`, `NoSuchSnapshot`, `NotCompared`, `VolumeOccupied`.
        """
        references = [model.parse_reference(text) for text in (one, other)]
        volumes = {reference.volume for reference in references}
        async with self._stillness.still(volumes, "diff", Wish(mode=Mode.NONE), instants=False) as still:
            paths: list[Path] = []
            for volume, snapshot in references:
                paths.append(self._shelf.snapshot(volume, snapshot) if snapshot else still.path(volume))
                if snapshot and not await in_thread(paths[-1].is_dir):
                    raise NoSuchSnapshot(volume, snapshot)
            argv = (_CHILD, *map(str, paths), "whole" if whole else "quick")
            try:
                async with contextlib.aclosing(copying.told_by(argv, str(paths[0]), self._stall_limit_s)) as lines:
                    async for line in lines:
                        said = msgspec.json.decode(line, type=dict[str, Any])
                        if "errno" in said:
                            raise NotCompared(one, other, said["why"])
                        yield said
            except copying.TreeNotCopied as exc:
                raise NotCompared(one, other, str(exc)) from exc
