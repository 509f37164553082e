"""``/berth/volumes/…`` and ``/berth/volume-trash``: protection, labels, names, and what was removed."""

from typing import Any, Final

from aiohttp import web

from berth.api.call import Call
from berth.api.handlers import volume_files
from berth.api.routes import Route
from berth.base.clock import rfc3339
from berth.base.errors import InvalidArgument
from berth.volumes.model import TrashRecord
from berth.volumes.seen import Figure
from berth.volumes.trash import Trash
from berth.wire.volume_changes import VolumeUpdate


async def list_(call: Call) -> web.StreamResponse:
    """``GET /berth/volumes``: with users, sizes, last uses; ``fresh``: sizes measured now."""
    return call.json({"Volumes": await call.engine.volumes.shown(call.filters(), fresh=call.flag("fresh"))})


async def inspect(call: Call) -> web.StreamResponse:
    """``GET /berth/volumes/{name}``."""
    volumes = call.engine.volumes
    record = volumes.get(call.path["name"])
    (shown,) = await volumes.sight.show([record], fresh=call.flag("fresh"))
    return call.json(shown)


async def protect(call: Call) -> web.StreamResponse:
    """``POST /berth/volumes/{name}/protect``."""
    await call.engine.volumes.changing.protect(call.path["name"], protected=True)
    return call.empty()


async def unprotect(call: Call) -> web.StreamResponse:
    """``POST /berth/volumes/{name}/unprotect``."""
    await call.engine.volumes.changing.protect(call.path["name"], protected=False)
    return call.empty()


async def update(call: Call) -> web.StreamResponse:
    """``POST /berth/volumes/{name}/update``: labels, while it is used."""
    want = await call.body(VolumeUpdate)
    volumes = call.engine.volumes
    changed = await volumes.changing.relabel(call.path["name"], want.labels_add or {}, want.labels_remove or ())
    return call.json(volumes.inspect(changed))


async def rename(call: Call) -> web.StreamResponse:
    """``POST /berth/volumes/{name}/rename?name=…``."""
    if not call.text("name"):
        raise InvalidArgument("Neither old nor new names may be empty")
    volumes = call.engine.volumes
    return call.json(volumes.inspect(await volumes.changing.rename(call.path["name"], call.text("name"))))


def _shown(trash: Trash, entry: TrashRecord, figure: Figure | None = None) -> dict[str, Any]:
    return {
        "Id": entry.id,
        "Name": entry.volume.name,
        "Driver": entry.volume.driver,
        "Labels": entry.volume.labels,
        "Options": entry.volume.options,
        "RemovedAt": rfc3339(entry.removed_ns),
        "GoesAt": rfc3339(trash.goes_ns(entry)),
        "Size": -1 if figure is None else figure.size,
        "SizeAt": rfc3339(0 if figure is None else figure.taken_ns),
    }


async def trash_list(call: Call) -> web.StreamResponse:
    """``GET /berth/volume-trash``: with apparent sizes, snapshots included; -1 for what is still being measured."""
    volumes = call.engine.volumes
    trash, entries = volumes.trash, volumes.trash.all()
    sizes = await volumes.resting.removed(entries)
    shown = [_shown(trash, one, sizes.get(one.id)) for one in entries]
    return call.json({"KeepSeconds": trash.keep_ns // 10**9, "Volumes": shown})


async def trash_restore(call: Call) -> web.StreamResponse:
    """``POST /berth/volume-trash/{id}/restore?name=…``."""
    volumes = call.engine.volumes
    return call.json(volumes.inspect(await volumes.trash.restore(call.path["id"], call.text("name"))), 201)


async def trash_remove(call: Call) -> web.StreamResponse:
    """``DELETE /berth/volume-trash/{id}``."""
    trash = call.engine.volumes.trash
    return call.json(_shown(trash, await trash.remove(call.path["id"])))


async def trash_empty(call: Call) -> web.StreamResponse:
    """``DELETE /berth/volume-trash``."""
    trash = call.engine.volumes.trash
    return call.json({"Volumes": [_shown(trash, one) for one in await trash.empty()]})


ROUTES: Final = (
    *volume_files.ROUTES,
    Route("GET", "/berth/volumes", list_, stream=True),
    Route("GET", "/berth/volumes/{name}", inspect, stream=True),
    Route("POST", "/berth/volumes/{name}/protect", protect),
    Route("POST", "/berth/volumes/{name}/unprotect", unprotect),
    Route("POST", "/berth/volumes/{name}/update", update),
    Route("POST", "/berth/volumes/{name}/rename", rename),
    Route("GET", "/berth/volume-trash", trash_list, stream=True),
    Route("POST", "/berth/volume-trash/{id}/restore", trash_restore),
    Route("DELETE", "/berth/volume-trash/{id}", trash_remove),
    Route("DELETE", "/berth/volume-trash", trash_empty),
)
