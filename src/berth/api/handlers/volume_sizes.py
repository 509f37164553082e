"""``/berth/volumes/{name}/size``: what is used of a volume's size, and changing it."""

from typing import Final

import msgspec
from aiohttp import web

from berth.api.call import Call
from berth.api.routes import Route


class _Resize(msgspec.Struct, rename="pascal"):
    """The new size, as text with a unit or in bytes."""

    size: str | int = 0


async def show(call: Call) -> web.StreamResponse:
    """``GET /berth/volumes/{name}/size``."""
    volumes = call.engine.volumes
    return call.json(await volumes.sizing.status(volumes.get(call.path["name"])))


async def resize(call: Call) -> web.StreamResponse:
    """``PUT /berth/volumes/{name}/size``."""
    want = await call.body(_Resize)
    volumes = call.engine.volumes
    record = await volumes.sizing.resize(call.path["name"], str(want.size))
    status, warnings = await volumes.sizing.status(record), await volumes.thin.warnings(record)
    return call.json(volumes.inspect(record) | {"Status": status, "Warnings": warnings or None})


ROUTES: Final = (
    Route("GET", "/berth/volumes/{name}/size", show),
    Route("PUT", "/berth/volumes/{name}/size", resize),
)
