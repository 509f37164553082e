"""Keeps one namespace made in advance, so that a container's start need not wait for it.

After a kill it is removed as any namespace without a record. Must not: know what it will be used for.
"""

import logging
from pathlib import Path

from berth.base.aio import Tasks, in_thread
from berth.base.errors import EngineError
from berth.base.ids import new_id, short
from berth.kernel import netns
from berth.plan.model import Planned
from berth.plan.steps.netns import MakeNamespace, TakeNamespace

log = logging.getLogger(__name__)


class SpareNamespace:
    """At most one namespace that nobody uses yet."""

    def __init__(self, directory: Path, tasks: Tasks) -> None:
        """Pin namespaces below `directory`."""
        self._directory = directory
        self._tasks = tasks
        self._ready = ""
        self._making = False
        self._closed = False

    def take(self, why: str) -> tuple[str, Planned]:
        """Return a sandbox id and how to get its namespace, pinned at `path`: the one in reserve, or a new one."""
        ident, self._ready = self._ready, ""
        if ident:
            return ident, Planned(TakeNamespace(self.path(ident)), why)
        ident = new_id()
        return ident, Planned(MakeNamespace(self.path(ident)), why)

    def path(self, sandbox_id: str) -> str:
        """Return where a sandbox's namespace is pinned.

        Not named after the container: its last namespace may still wait to be removed.
        """
        return str(self._directory / short(sandbox_id))

    def refill(self) -> None:
        """Make another, behind."""
        if not self._ready and not self._making and not self._closed:
            self._making = True
            self._tasks.start("namespace in reserve", self._make())

    async def _make(self) -> None:
        ident = new_id()
        try:
            await in_thread(netns.create, self.path(ident))
        except (EngineError, OSError) as exc:
            log.warning("namespace in reserve: %s", exc)
        else:
            self._ready = ident
        finally:
            self._making = False

    def close(self) -> None:
        """Remove it (blocking) and make no more."""
        self._closed = True
        ident, self._ready = self._ready, ""
        if ident:
            netns.remove(self.path(ident))
