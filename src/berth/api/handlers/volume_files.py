"""``/berth/volumes/{name}/files|content|archive``: what is in a volume, with no container."""

import base64
import json
from typing import Any, Final

from aiohttp import web

from berth.api.call import Call
from berth.api.routes import Route
from berth.containers.archive import STAT_HEADER


def _header(stat: dict[str, Any]) -> str:
    return base64.b64encode(json.dumps(stat).encode()).decode()  # a name need not be UTF-8


async def files(call: Call) -> web.StreamResponse:
    """``GET …/files?path=…&recursive=1&long=1``: a line of JSON for each entry."""
    flags = ("r" if call.flag("recursive") else "") + ("l" if call.flag("long") else "")
    return await _stream(call, "list", flags, "application/x-ndjson")


async def content(call: Call) -> web.StreamResponse:
    """``GET …/content?path=…``: a file."""
    return await _stream(call, "cat", "", "application/octet-stream")


async def archive_head(call: Call) -> web.StreamResponse:
    """``HEAD …/archive?path=…``: describe a path."""
    async with call.engine.volumes.looking.look(call.path["name"], "stat", call.filename("path")) as (told, _):
        response = call.empty(200)
        response.headers[STAT_HEADER] = _header(told.stat)
    return response


async def archive_get(call: Call) -> web.StreamResponse:
    """``GET …/archive?path=…``: a path as a tar."""
    return await _stream(call, "pack", "", "application/x-tar")


async def archive_put(call: Call) -> web.StreamResponse:
    """``PUT …/archive?path=…``: unpack a tar into a directory."""
    await call.engine.volumes.looking.put(
        call.path["name"],
        call.filename("path"),
        call.request.content.iter_any(),
        keep_kinds=call.flag("noOverwriteDirNonDir"),
    )
    return call.empty(200)


async def _stream(call: Call, verb: str, flags: str, content_type: str) -> web.StreamResponse:
    looking = call.engine.volumes.looking
    async with looking.look(call.path["name"], verb, call.filename("path"), flags) as (told, pieces):
        response = await call.stream(content_type, headers={STAT_HEADER: _header(told.stat)} if told.stat else None)
        async for piece in pieces:
            await response.write(piece)
    await response.write_eof()
    return response


ROUTES: Final = (
    Route("GET", "/berth/volumes/{name}/files", files, stream=True),
    Route("GET", "/berth/volumes/{name}/content", content, stream=True),
    Route("HEAD", "/berth/volumes/{name}/archive", archive_head),
    Route("GET", "/berth/volumes/{name}/archive", archive_get, stream=True),
    Route("PUT", "/berth/volumes/{name}/archive", archive_put, stream=True),
)
