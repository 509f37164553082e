"""Deletes retired links and namespaces behind the answers, many at once.

The kernel takes tens of milliseconds to delete a link, keeps everyone else from changing any meanwhile, and takes
no longer for a hundred. So deletions wait for a quiet moment, or for the longest wait, and go together.
"""

import asyncio
from collections.abc import Iterable
from typing import Final

from berth.base.aio import Tasks, in_thread
from berth.kernel import link, netns

#: Seconds without new work before deletions begin.
QUIET_S: Final = 0.15
#: Seconds after which they begin in any case.
LONGEST_S: Final = 2.0
#: Retired things after which they begin in any case.
MOST: Final = 200
#: Seconds after which bridges are deleted in any case. Each takes as long as all links together, and whoever changes a
#: link meanwhile waits for it; down and without an address they harm nobody.
LONGEST_BRIDGES_S: Final = 30.0


class Reaper:
    """What waits to be deleted."""

    def __init__(self, tasks: Tasks, group: int) -> None:
        """Delete links of `group`, which no other engine on the machine uses."""
        self.group = group
        self._tasks = tasks
        self._namespaces: list[str] = []
        self._bridges: list[str] = []
        self._waiting = 0
        self._stirred = asyncio.Event()
        self._hurry = False
        self._running = False

    def put(self, *, links: int = 0, namespaces: Iterable[str] = (), bridges: Iterable[str] = ()) -> None:
        """Delete, soon, links that were put into the group, these namespaces and bridges."""
        found, gone = [path for path in namespaces if path], list(bridges)
        self._namespaces += found
        self._bridges += gone
        self._waiting += links + len(found)
        self.stir()
        if (self._waiting or self._bridges) and not self._running:
            self._running = True
            self._tasks.start("delete retired links", self._run())

    def stir(self) -> None:
        """Say that others are at work: not now."""
        self._stirred.set()

    async def flush(self) -> None:
        """Delete now, and wait for it."""
        self._hurry = True
        self._stirred.set()
        try:
            await self._tasks.settle()
        finally:
            self._hurry = False

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        overdue = loop.time() + LONGEST_BRIDGES_S
        try:
            while self._waiting or self._bridges:
                if self._waiting and loop.time() < overdue:
                    await self._quiet(loop.time() + LONGEST_S, MOST)
                    namespaces, self._namespaces, self._waiting = self._namespaces, [], 0
                    await in_thread(_delete, self.group, namespaces)
                    continue
                patient = await self._quiet(overdue, None)
                bridges, self._bridges = self._bridges, []
                while bridges and not (patient and self._disturbed()):  # no cheaper together, so one by one
                    await in_thread(link.delete, bridges.pop(0))
                self._bridges = bridges + self._bridges
                if not patient:
                    overdue = loop.time() + LONGEST_BRIDGES_S
        finally:
            self._running = False

    def _disturbed(self) -> bool:
        return self._stirred.is_set() and not self._hurry

    async def _quiet(self, latest: float, most: int | None) -> bool:
        """Wait for a quiet moment; return whether there was one before `latest` and before `most` were waiting."""
        loop = asyncio.get_running_loop()
        while not self._hurry and (most is None or self._waiting < most) and loop.time() < latest:
            self._stirred.clear()
            try:
                async with asyncio.timeout(QUIET_S):
                    await self._stirred.wait()
            except TimeoutError:
                return True
        return False


def _delete(group: int, namespaces: Iterable[str]) -> None:
    link.reap(group)
    for path in namespaces:
        netns.remove(path)
