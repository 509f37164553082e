"""Routes for everything that streams into and out of containers."""

from collections.abc import AsyncIterator
from typing import Final

import msgspec
from aiohttp import web

from berth.api.call import Call, send_head
from berth.api.headers import HEADERS
from berth.api.hijack import MULTIPLEXED, RAW, Hijacked, hijack
from berth.api.routes import Route
from berth.base.errors import NotImplementedYet
from berth.containers.archive import STAT_HEADER
from berth.containers.attach import check_attachable, check_size, checked_keys
from berth.containers.execs.model import parse_size
from berth.containers.logs.entries import Wish, parse_tail, parse_time
from berth.wire.execs import ExecCreate, ExecStart

#: First version whose clients tell the two kinds of stream by the content type.
_TELLS_KINDS: Final = (1, 42)


def _content_type(call: Call, *, tty: bool) -> str:
    return RAW if tty or call.version < _TELLS_KINDS else MULTIPLEXED


async def attach(call: Call) -> web.StreamResponse:
    """POST /containers/{id}/attach: join what runs, or wait for the start."""
    record = call.engine.containers.find(call.path["id"])
    keys = checked_keys(call.text("detachKeys"))
    check_attachable(record)
    stdin, stdout, stderr = call.flag("stdin"), call.flag("stdout"), call.flag("stderr")
    client = await hijack(call, content_type=_content_type(call, tty=record.config.tty))
    try:
        if call.flag("logs"):
            wish = Wish(stdout=stdout or not stderr, stderr=stderr or not stdout)
            async for piece in call.engine.logs.read(record, wish):
                await client.write(piece)
        if call.flag("stream"):
            await call.engine.attachments.attach(record, client, stdin=stdin, stdout=stdout, stderr=stderr, keys=keys)
    except ConnectionError:
        return Hijacked()
    finally:
        await client.close()
    return Hijacked()


async def attach_websocket(call: Call) -> web.StreamResponse:
    """GET /containers/{id}/attach/ws."""
    call.engine.containers.find(call.path["id"])
    raise NotImplementedYet("attaching through a WebSocket is not implemented; use POST /containers/{id}/attach")


async def logs(call: Call) -> web.StreamResponse:
    """GET /containers/{id}/logs."""
    record = call.engine.containers.find(call.path["id"])
    wish = Wish(
        stdout=call.flag("stdout"),
        stderr=call.flag("stderr"),
        since_ns=parse_time(call.text("since")),
        until_ns=parse_time(call.text("until")),
        timestamps=call.flag("timestamps"),
        details=call.flag("details"),
        tail=parse_tail(call.text("tail")),
        follow=call.flag("follow"),
    )
    call.engine.logs.check(record, wish)
    response = await call.stream(_content_type(call, tty=record.config.tty))
    async for piece in call.engine.logs.read(record, wish):
        await response.write(piece)
    await response.write_eof()
    return response


async def resize(call: Call) -> web.StreamResponse:
    """POST /containers/{id}/resize."""
    height, width = check_size(call.integer("h"), call.integer("w"))
    call.engine.attachments.resize(call.engine.containers.find(call.path["id"]), height, width)
    return call.empty(200)


async def exec_create(call: Call) -> web.StreamResponse:
    """POST /containers/{id}/exec."""
    want = await call.body(ExecCreate)
    if want.detach_keys:
        checked_keys(want.detach_keys)
    return call.json({"Id": call.engine.execs.create(call.path["id"], want).id}, 201)


async def exec_start(call: Call) -> web.StreamResponse:
    """POST /exec/{id}/start: run it, attached unless told otherwise."""
    want = await call.optional_body(ExecStart, ExecStart())
    execs, ident, size = call.engine.execs, call.path["id"], parse_size(want.console_size)
    command = execs.check_startable(ident).command
    if want.detach:
        await execs.start(ident, None, size=size)
        return call.empty(200)
    keys = checked_keys(command.detach_keys)
    client = await hijack(call, content_type=_content_type(call, tty=command.tty))
    try:
        await execs.start(ident, client, keys=keys, size=size)
    finally:
        await client.close()
    return Hijacked()


async def exec_resize(call: Call) -> web.StreamResponse:
    """POST /exec/{id}/resize."""
    height, width = check_size(call.integer("h"), call.integer("w"))
    await call.engine.execs.resize(call.path["id"], height, width)
    return call.empty(200)


async def exec_inspect(call: Call) -> web.StreamResponse:
    """GET /exec/{id}/json."""
    return call.json(call.engine.execs.find(call.path["id"]).to_wire())


async def stats(call: Call) -> web.StreamResponse:
    """GET /containers/{id}/stats: one sample, or one a second."""
    ident = call.engine.containers.find(call.path["id"]).id
    if not call.flag("stream", default=True):
        return call.json(await call.engine.stats.once(ident, one_shot=call.flag("one-shot")))
    response = await call.stream()
    async for sample in call.engine.stats.stream(ident):
        await response.write(msgspec.json.encode(sample) + b"\n")
    await response.write_eof()
    return response


async def export(call: Call) -> web.StreamResponse:
    """GET /containers/{id}/export: the root file system as a tar."""
    async with call.engine.archives.export(call.path["id"]) as pieces:
        return await _sent(await call.stream("application/octet-stream"), pieces)


async def archive_head(call: Call) -> web.StreamResponse:
    """HEAD /containers/{id}/archive: describe a path."""
    found = await call.engine.archives.stat(call.path["id"], call.filename("path"))
    response = call.empty(200)
    response.headers[STAT_HEADER] = found.header()
    return response


async def archive_get(call: Call) -> web.StreamResponse:
    """GET /containers/{id}/archive: a path as a tar."""
    async with call.engine.archives.get(call.path["id"], call.filename("path")) as (found, pieces):
        response = web.StreamResponse(
            headers=HEADERS | {"Content-Type": "application/x-tar", STAT_HEADER: found.header()}
        )
        await send_head(call.request, response)
        return await _sent(response, pieces)


async def archive_put(call: Call) -> web.StreamResponse:
    """PUT /containers/{id}/archive: unpack a tar into a directory."""
    await call.engine.archives.put(
        call.path["id"],
        call.filename("path"),
        call.request.content.iter_any(),
        keep_kinds=call.flag("noOverwriteDirNonDir"),
        as_user=call.flag("copyUIDGID"),
    )
    return call.empty(200)


async def _sent(response: web.StreamResponse, pieces: AsyncIterator[bytes]) -> web.StreamResponse:
    async for piece in pieces:
        await response.write(piece)
    await response.write_eof()
    return response


ROUTES: Final = (
    Route("POST", "/containers/{id}/attach", attach, stream=True),
    Route("GET", "/containers/{id}/attach/ws", attach_websocket),
    Route("GET", "/containers/{id}/logs", logs, stream=True),
    Route("GET", "/containers/{id}/stats", stats, stream=True),
    Route("GET", "/containers/{id}/export", export, stream=True),
    Route("HEAD", "/containers/{id}/archive", archive_head),
    Route("GET", "/containers/{id}/archive", archive_get, stream=True),
    Route("PUT", "/containers/{id}/archive", archive_put, stream=True),
    Route("POST", "/containers/{id}/resize", resize),
    Route("POST", "/containers/{id}/exec", exec_create),
    Route("POST", "/exec/{id}/start", exec_start, stream=True),
    Route("POST", "/exec/{id}/resize", exec_resize),
    Route("GET", "/exec/{id}/json", exec_inspect),
)
