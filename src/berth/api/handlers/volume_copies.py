"""``/berth/volumes/{name}/clone`` and ``…/snapshots``: copies of volumes on this machine.

What takes long answers with JSON lines: how far it is, and at the end the result or the error. An error before the
first line has a status of its own.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

import msgspec
from aiohttp import web

from berth.api.call import Call
from berth.api.routes import Route
from berth.base.clock import rfc3339
from berth.base.errors import EngineError, InvalidArgument
from berth.kernel.copying import Copied
from berth.volumes.consistency.model import HOOK_LIMIT_S, Wish, parse_mode
from berth.volumes.copies.model import Copy, SnapshotRecord
from berth.wire.volume_copies import CopyRequest

#: How often it is said how far a copy is, in seconds.
_SAY_S: Final = 0.5

_Work = Callable[[Callable[[Copied], None]], Awaitable[dict[str, Any]]]


def wish_of(want: CopyRequest) -> Wish:
    """Return how still the users of a volume are to hold."""
    if want.hook_timeout < 0:
        raise InvalidArgument("HookTimeout is a number of seconds, 0 for the default")
    return Wish(
        mode=parse_mode(want.consistency),
        pre=want.pre,
        post=want.post,
        hook_limit_s=want.hook_timeout or HOOK_LIMIT_S,
    )


async def _followed(call: Call, work: _Work) -> web.StreamResponse:
    """Do something that takes its time, and say how far it is; a client that leaves ends it."""
    latest = Copied()

    def told(copied: Copied) -> None:
        nonlocal latest
        latest = copied

    task = asyncio.ensure_future(work(told))  # noqa: TID251  owned here: awaited or cancelled below
    response: web.StreamResponse | None = None
    try:
        while not (await asyncio.wait((task,), timeout=_SAY_S))[0]:
            response = response or await call.stream("application/jsonl")
            await _say(response, {"entries": latest.entries, "bytes": latest.bytes})
        if response is None:
            return call.json(task.result(), 201)
        try:
            await _say(response, task.result())
        except EngineError as exc:
            await _say(response, {"error": str(exc)})
        await response.write_eof()
        return response
    finally:
        task.cancel()
        await asyncio.wait((task,))


async def _say(response: web.StreamResponse, line: dict[str, Any]) -> None:
    await response.write(msgspec.json.encode(line) + b"\n")


def _done(copy: Copy) -> dict[str, Any]:
    return {
        "How": copy.how,
        "Entries": copy.entries,
        "BytesMoved": copy.moved_bytes,
        "Consistency": copy.report.to_wire(),
    }


async def clone(call: Call) -> web.StreamResponse:
    """POST /berth/volumes/{name}/clone: a new volume with the data of a volume, or of ``VOLUME@SNAPSHOT``."""
    want = await call.body(CopyRequest)
    engine, wish = call.engine, wish_of(want)

    async def work(told: Callable[[Copied], None]) -> dict[str, Any]:
        made, copy = await engine.copies.clone(call.path["name"], want.name, wish, told)
        return {"Volume": engine.volumes.inspect(made)} | _done(copy)

    return await _followed(call, work)


async def take(call: Call) -> web.StreamResponse:
    """POST /berth/volumes/{name}/snapshots."""
    want = await call.optional_body(CopyRequest, CopyRequest())
    volume, copies, wish = call.path["name"], call.engine.copies, wish_of(want)

    async def work(told: Callable[[Copied], None]) -> dict[str, Any]:
        made, copy = await copies.take(volume, want.name, wish, told)
        return copies.inspect(volume, made) | _done(copy)

    return await _followed(call, work)


async def list_(call: Call) -> web.StreamResponse:
    """GET /berth/volume-snapshots: those of every volume, or of ``volume``, with their sizes."""
    return call.json(await _shown(call, await call.engine.copies.all(call.text("volume"))))


async def inspect(call: Call) -> web.StreamResponse:
    """GET /berth/volumes/{name}/snapshots/{snapshot}."""
    (shown,) = await _shown(call, [await call.engine.copies.get(_reference(call))])
    return call.json(shown)


async def _shown(call: Call, listed: Sequence[tuple[str, SnapshotRecord]]) -> list[dict[str, Any]]:
    """Render snapshots with their apparent sizes; -1 for one that is still being measured."""
    copies, sizes = call.engine.copies, await call.engine.volumes.resting.snapshots(listed)
    return [
        copies.inspect(volume, one)
        | {
            "Size": sizes[volume, one.name].size if (volume, one.name) in sizes else -1,
            "SizeAt": rfc3339(sizes[volume, one.name].taken_ns if (volume, one.name) in sizes else 0),
        }
        for volume, one in listed
    ]


async def remove(call: Call) -> web.StreamResponse:
    """DELETE /berth/volumes/{name}/snapshots/{snapshot}."""
    await call.engine.copies.remove(_reference(call))
    return call.empty()


async def rollback(call: Call) -> web.StreamResponse:
    """POST /berth/volumes/{name}/snapshots/{snapshot}/rollback: with ``keep`` (default) what was there is kept."""
    copies = call.engine.copies
    kept = await copies.rollback(_reference(call), keep=call.flag("keep", default=True))
    return call.json({"Kept": None if kept is None else copies.inspect(call.path["name"], kept)})


async def diff(call: Call) -> web.StreamResponse:
    """GET /berth/volume-diff: what differs from ``one`` to ``other``, in JSON lines; with ``whole`` all is read."""
    found = call.engine.comparing.differences(call.text("one"), call.text("other"), whole=call.flag("whole"))
    async with contextlib.aclosing(found):
        first = await anext(found)
        response = await call.stream("application/jsonl")
        try:
            await _say(response, first)
            async for line in found:
                await _say(response, line)
        except EngineError as exc:
            await _say(response, {"error": str(exc)})
    await response.write_eof()
    return response


def _reference(call: Call) -> str:
    return f"{call.path['name']}@{call.path['snapshot']}"


ROUTES: Final = (
    Route("POST", "/berth/volumes/{name}/clone", clone, stream=True),
    Route("POST", "/berth/volumes/{name}/snapshots", take, stream=True),
    Route("GET", "/berth/volume-snapshots", list_, stream=True),
    Route("GET", "/berth/volume-diff", diff, stream=True),
    Route("GET", "/berth/volumes/{name}/snapshots/{snapshot}", inspect),
    Route("DELETE", "/berth/volumes/{name}/snapshots/{snapshot}", remove),
    Route("POST", "/berth/volumes/{name}/snapshots/{snapshot}/rollback", rollback),
)
