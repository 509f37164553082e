"""Routes of the container life cycle: parse, call the service, render."""

import asyncio
from typing import Final

from aiohttp import web

from berth.api.call import Call
from berth.api.routes import Route
from berth.base.errors import InvalidArgument
from berth.containers.modes import as_known_then, check_endpoint_count
from berth.wire.containers import UpdateRequest, decode, decode_create


async def create(call: Call) -> web.StreamResponse:
    """``POST /containers/create``."""
    want = decode_create(await call.json_body())
    check_endpoint_count(want.networking_config, call.version)
    want = as_known_then(want, call.version)
    ident, warnings = await call.engine.containers.create(call.text("name"), want, call.text("platform"))
    return call.json({"Id": ident, "Warnings": warnings}, status=201)


async def listing(call: Call) -> web.StreamResponse:
    """``GET /containers/json``."""
    rows = await call.engine.containers.listing(
        call.filters(), all_=call.flag("all"), limit=call.integer("limit", 0) or 0, size=call.flag("size")
    )
    return call.json(rows)


async def inspect(call: Call) -> web.StreamResponse:
    """``GET /containers/{id}/json``."""
    shown = await call.engine.containers.inspect(call.path["id"], size=call.flag("size"))
    shown["ExecIDs"] = call.engine.execs.of(shown["Id"]) or None
    return call.json(shown)


async def start(call: Call) -> web.StreamResponse:
    """``POST /containers/{id}/start``."""
    await call.engine.containers.start(call.path["id"])
    return call.empty()


async def stop(call: Call) -> web.StreamResponse:
    """``POST /containers/{id}/stop``."""
    await call.engine.containers.stop(call.path["id"], timeout_s=call.integer("t"), signal_text=call.text("signal"))
    return call.empty()


async def restart(call: Call) -> web.StreamResponse:
    """``POST /containers/{id}/restart``."""
    await call.engine.containers.restart(call.path["id"], timeout_s=call.integer("t"), signal_text=call.text("signal"))
    return call.empty()


async def kill(call: Call) -> web.StreamResponse:
    """``POST /containers/{id}/kill``."""
    await call.engine.containers.kill(call.path["id"], call.text("signal"))
    return call.empty()


async def pause(call: Call) -> web.StreamResponse:
    """``POST /containers/{id}/pause``."""
    await call.engine.containers.pause(call.path["id"])
    return call.empty()


async def unpause(call: Call) -> web.StreamResponse:
    """``POST /containers/{id}/unpause``."""
    await call.engine.containers.unpause(call.path["id"])
    return call.empty()


async def wait(call: Call) -> web.StreamResponse:
    """``POST /containers/{id}/wait``: the head at once, the exit code when there is one."""
    ended = await call.engine.containers.waiting(call.path["id"], call.text("condition"))
    try:
        response = await call.stream()
        code = await asyncio.shield(ended)
    finally:
        ended.cancel()
    await response.write(b'{"StatusCode":%d}\n' % code)
    await response.write_eof()
    return response


async def rename(call: Call) -> web.StreamResponse:
    """``POST /containers/{id}/rename``."""
    await call.engine.containers.rename(call.path["id"], call.text("name"))
    return call.empty()


async def update(call: Call) -> web.StreamResponse:
    """``POST /containers/{id}/update``."""
    want = decode(await call.json_body(), UpdateRequest)
    return call.json({"Warnings": await call.engine.containers.update(call.path["id"], want) or None})


async def top(call: Call) -> web.StreamResponse:
    """``GET /containers/{id}/top``."""
    return call.json(await call.engine.containers.top(call.path["id"], call.text("ps_args")))


async def changes(call: Call) -> web.StreamResponse:
    """``GET /containers/{id}/changes``."""
    return call.json(await call.engine.containers.changes(call.path["id"]))


async def prune(call: Call) -> web.StreamResponse:
    """``POST /containers/prune``."""
    removed, freed = await call.engine.containers.prune(call.filters())
    return call.json({"ContainersDeleted": removed or None, "SpaceReclaimed": freed})


async def remove(call: Call) -> web.StreamResponse:
    """``DELETE /containers/{id}``."""
    if call.path["id"] in ("", "."):
        raise InvalidArgument("a container must be named")
    await call.engine.containers.remove(
        call.path["id"], force=call.flag("force"), volumes=call.flag("v"), link=call.flag("link")
    )
    return call.empty()


ROUTES: Final[tuple[Route, ...]] = (
    Route("POST", "/containers/create", create),
    Route("GET", "/containers/json", listing),
    Route("POST", "/containers/prune", prune),
    Route("GET", "/containers/{id}/json", inspect),
    Route("POST", "/containers/{id}/start", start),
    Route("POST", "/containers/{id}/stop", stop),
    Route("POST", "/containers/{id}/restart", restart),
    Route("POST", "/containers/{id}/kill", kill),
    Route("POST", "/containers/{id}/pause", pause),
    Route("POST", "/containers/{id}/unpause", unpause),
    Route("POST", "/containers/{id}/wait", wait, stream=True),
    Route("POST", "/containers/{id}/rename", rename),
    Route("POST", "/containers/{id}/update", update),
    Route("GET", "/containers/{id}/top", top),
    Route("GET", "/containers/{id}/changes", changes),
    Route("DELETE", "/containers/{id}", remove),
)
