"""``/berth/prune/…``: what a prune would remove, with nothing removed."""

from typing import Any, Final

from aiohttp import web

from berth.api.call import Call
from berth.api.routes import Route
from berth.volumes.model import VolumeRecord
from berth.wire.filters import Filters


def _volumes(planned: list[tuple[VolumeRecord, int]], keep_ns: int) -> list[dict[str, Any]]:
    return [
        {
            "Name": record.name,
            "Size": size,
            "Anonymous": record.anonymous,
            "Trash": bool(keep_ns) and not record.anonymous,
        }
        for record, size in planned
    ]


async def volumes(call: Call) -> web.StreamResponse:
    """``GET /berth/prune/volumes``."""
    engine = call.engine.volumes
    planned = await engine.pruning.sized(engine.pruning.plan(call.filters()))
    return call.json({"Volumes": _volumes(planned, engine.trash.keep_ns)})


async def system(call: Call) -> web.StreamResponse:
    """``GET /berth/prune/system``: with ``all`` every unused image, with ``volumes`` the anonymous volumes too."""
    engine, filters = call.engine, call.filters()
    containers = engine.containers.prunable(filters)
    gone = {record.id for record in containers}  # what only these use is unused by the time it is looked at
    dangling = {"dangling": ("false" if call.flag("all") else "true",)}
    images = engine.images.prunable(Filters({**filters.terms, **dangling}), gone)
    answer: dict[str, Any] = {
        "Containers": [{"Id": record.id, "Name": record.name} for record in containers],
        "Networks": [{"Id": record.id, "Name": record.name} for record in engine.networks.prunable(filters)],
        "Volumes": [],
        "Images": [
            {"Id": image.id, "Names": [*image.repo_tags] or [*image.repo_digests], "Size": image.size}
            for image in images
        ],
    }
    if call.flag("volumes"):
        planned = await engine.volumes.pruning.sized(engine.volumes.pruning.plan(filters, gone))
        answer["Volumes"] = _volumes(planned, engine.volumes.trash.keep_ns)
    return call.json(answer)


ROUTES: Final = (
    Route("GET", "/berth/prune/volumes", volumes),
    Route("GET", "/berth/prune/system", system),
)
