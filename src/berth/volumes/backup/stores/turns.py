"""Who has something at one time: many may share it, one may have it alone. For repositories of this engine's.

restic locks a repository itself, but what finds it locked fails: a backup while another prunes, pruning while another
is backed up. Here they wait for each other. Must not: be waited for by somebody who keeps others waiting (a backup
takes its turn before it has anybody hold still).
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager


class Turns:
    """Locks by key, made at first use and forgotten after the last."""

    def __init__(self) -> None:
        #: How many share a key; -1 for one alone.
        self._users: dict[str, int] = {}
        self._waiting: set[asyncio.Future[None]] = set()

    @asynccontextmanager
    async def shared(self, key: str) -> AsyncIterator[None]:
        """Have it together with others who share it."""
        await self._until(lambda: self._users.get(key, 0) >= 0)
        self._users[key] = self._users.get(key, 0) + 1
        try:
            yield
        finally:
            self._leave(key, self._users[key] - 1)

    @asynccontextmanager
    async def alone(self, key: str) -> AsyncIterator[None]:
        """Have it alone."""
        await self._until(lambda: key not in self._users)
        self._users[key] = -1
        try:
            yield
        finally:
            self._leave(key, 0)

    async def _until(self, free: Callable[[], bool]) -> None:
        while not free():
            told = asyncio.get_running_loop().create_future()
            self._waiting.add(told)
            try:
                await told
            finally:
                self._waiting.discard(told)

    def _leave(self, key: str, users: int) -> None:
        if users:
            self._users[key] = users
        else:
            del self._users[key]
        for told in self._waiting:
            if not told.done():
                told.set_result(None)
