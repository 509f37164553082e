"""``/volumes``: create, list, inspect, remove, prune."""

from typing import Final

from aiohttp import web

from berth.api.call import Call
from berth.api.routes import Route
from berth.volumes.errors import NotAClusterVolume
from berth.wire.filters import Filters
from berth.wire.volumes import VolumeCreate

#: From this version on, pruning spares volumes with a name unless ``all`` is asked for.
_SPARES_NAMED: Final = (1, 42)


async def create(call: Call) -> web.StreamResponse:
    """``POST /volumes/create``."""
    want = await call.body(VolumeCreate)
    volumes = call.engine.volumes
    record = await volumes.create(want.name or "", want.driver or "", want.driver_opts, want.labels)
    warnings = await volumes.thin.warnings(record)
    return call.json(volumes.inspect(record) | ({"Warnings": warnings} if warnings else {}), status=201)


async def list_(call: Call) -> web.StreamResponse:
    """``GET /volumes``."""
    volumes = call.engine.volumes
    found = [volumes.inspect(record) for record in volumes.list(call.filters())]
    return call.json({"Volumes": found, "Warnings": None})


async def inspect(call: Call) -> web.StreamResponse:
    """``GET /volumes/{name}``."""
    volumes = call.engine.volumes
    record = volumes.get(call.path["name"])
    status = await volumes.sizing.status(record)
    return call.json(volumes.inspect(record) | ({"Status": status} if status else {}))


async def update(call: Call) -> web.StreamResponse:
    """``PUT /volumes/{name}``: only volumes of a cluster can be changed."""
    del call
    raise NotAClusterVolume


async def remove(call: Call) -> web.StreamResponse:
    """``DELETE /volumes/{name}``."""
    await call.engine.volumes.remove(call.path["name"], force=call.flag("force"))
    return call.empty(204)


async def prune(call: Call) -> web.StreamResponse:
    """``POST /volumes/prune``."""
    filters = call.filters()
    if call.version < _SPARES_NAMED:
        filters = Filters({"all": ("true",), **filters.terms})
    names, freed = await call.engine.volumes.prune(filters)
    return call.json({"VolumesDeleted": names, "SpaceReclaimed": freed})


ROUTES: Final = (
    Route("POST", "/volumes/create", create),
    Route("POST", "/volumes/prune", prune),
    Route("GET", "/volumes", list_),
    Route("GET", "/volumes/{name:.*}", inspect),
    Route("PUT", "/volumes/{name:.*}", update),
    Route("DELETE", "/volumes/{name:.*}", remove),
)
