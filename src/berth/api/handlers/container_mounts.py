"""The route that changes mounts of containers that are there."""

from typing import Final

from aiohttp import web

from berth.api.call import Call
from berth.api.routes import Route
from berth.volumes.mounts.model import to_wire
from berth.wire.containers import decode
from berth.wire.volumes import MountsUpdate


async def change(call: Call) -> web.StreamResponse:
    """``POST /berth/containers/{id}/mounts``."""
    want = decode(await call.json_body(), MountsUpdate)
    record, warnings = await call.engine.containers.remounting.change(call.path["id"], want)
    return call.json({"Mounts": to_wire(record.mounts), "Warnings": warnings or None})


ROUTES: Final[tuple[Route, ...]] = (Route("POST", "/berth/containers/{id}/mounts", change),)
