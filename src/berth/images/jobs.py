"""Work that several clients may ask for at once: it is done once, all see its messages, the last to leave ends it."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass, field

from berth.base.aio import Tasks
from berth.base.errors import EngineError, SystemFault
from berth.images.messages import Message

Say = Callable[[Message], None]


@dataclass
class _Job:
    said: list[Message] = field(default_factory=list)
    news: asyncio.Event = field(default_factory=asyncio.Event)
    ended: bool = False
    error: EngineError | None = None
    watchers: int = 0
    task: "asyncio.Task[None] | None" = None

    def say(self, message: Message) -> None:
        self.said.append(message)
        self.news.set()


class Jobs:
    """Jobs under way, by what they do."""

    def __init__(self, tasks: Tasks) -> None:
        self._tasks = tasks
        self._jobs: dict[str, _Job] = {}

    async def join(self, key: str, work: Callable[[Say], Awaitable[None]]) -> AsyncGenerator[Message, None]:
        """Yield the messages of the job `key`, from its start; start it with `work` if it is not under way."""
        job = self._jobs.get(key)
        if job is None:
            job = self._jobs[key] = _Job()
            job.task = self._tasks.start(key, self._run(key, job, work))
        job.watchers += 1
        try:
            at = 0
            while True:
                while at < len(job.said):
                    at += 1
                    yield job.said[at - 1]
                if job.ended:
                    break
                job.news.clear()
                await job.news.wait()
            if job.error is not None:
                raise job.error
        finally:
            job.watchers -= 1
            if job.watchers == 0 and not job.ended and job.task is not None:
                self._forget(key, job)
                job.task.cancel()

    async def _run(self, key: str, job: _Job, work: Callable[[Say], Awaitable[None]]) -> None:
        job.error = SystemFault("the operation was cancelled")
        try:
            await work(job.say)
            job.error = None
        except EngineError as exc:
            job.error = exc
        finally:
            job.ended = True
            self._forget(key, job)
            job.news.set()

    def _forget(self, key: str, job: _Job) -> None:
        if self._jobs.get(key) is job:
            del self._jobs[key]
