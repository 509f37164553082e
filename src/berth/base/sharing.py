"""Many at once, or one alone: for work that may go on side by side until something changes what all of it rests on.

First come, first served, so that neither kind waits for ever. Must not be entered by who is in it already.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class Sharing:
    """Lets many in, or one alone."""

    def __init__(self) -> None:
        self._inside = 0
        self._alone = False
        self._queue: deque[tuple[bool, asyncio.Future[None]]] = deque()

    @asynccontextmanager
    async def shared(self) -> AsyncIterator[None]:
        """Be in together with others that share."""
        await self._enter(alone=False)
        try:
            yield
        finally:
            self._leave()

    @asynccontextmanager
    async def alone(self) -> AsyncIterator[None]:
        """Be in with nobody else, once all are out."""
        await self._enter(alone=True)
        try:
            yield
        finally:
            self._leave()

    def _fits(self, *, alone: bool) -> bool:
        return not self._alone and not (alone and self._inside)

    async def _enter(self, *, alone: bool) -> None:
        if not self._queue and self._fits(alone=alone):
            self._inside += 1
            self._alone = alone
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._queue.append((alone, turn))
        try:
            await turn
        except BaseException:
            if turn.done() and not turn.cancelled():
                self._leave()  # it was our turn and we are gone
            else:
                self._queue.remove((alone, turn))
                self._next()
            raise

    def _leave(self) -> None:
        self._inside -= 1
        self._alone = False
        self._next()

    def _next(self) -> None:
        while self._queue and self._fits(alone=self._queue[0][0]):
            alone, turn = self._queue.popleft()
            if turn.cancelled():
                continue
            self._inside += 1
            self._alone = alone
            turn.set_result(None)
