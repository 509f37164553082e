"""``/berth/dns``: what Docker has not: ask as a container would, see who asked what, and how it went."""

import msgspec
from aiohttp import web

from berth.api.call import Call
from berth.api.routes import Route
from berth.base.errors import InvalidArgument


async def query(call: Call) -> web.StreamResponse:
    """GET /berth/dns/query: ask for ``name`` (``type``) from inside container ``from``, and say who answered."""
    if not call.text("from"):
        raise InvalidArgument("a query needs the container that asks: from")
    container = call.engine.containers.find(call.text("from"))
    names = call.engine.networks.names
    search = call.flag("search", default=True)
    return call.json(await names.query(container.id, call.text("name"), call.text("type"), search=search))


async def log(call: Call) -> web.StreamResponse:
    """GET /berth/dns/log: recent queries, one a line; with ``follow`` new ones as they come."""
    wanted = [call.engine.containers.find(ref).id for ref in call.texts("from")]
    tail = call.integer("tail", -1)
    response = await call.stream("application/jsonl")
    lines = call.engine.networks.names.log(wanted, follow=call.flag("follow"), tail=-1 if tail is None else tail)
    async for some in lines:
        await response.write(b"".join(msgspec.json.encode(line) + b"\n" for line in some))
    return response


async def stats(call: Call) -> web.StreamResponse:
    """GET /berth/dns/stats: numbers by network and container, and how the servers outside do."""
    return call.json(await call.engine.networks.names.stats())


ROUTES: tuple[Route, ...] = (
    Route("GET", "/berth/dns/query", query),
    Route("GET", "/berth/dns/log", log, stream=True),
    Route("GET", "/berth/dns/stats", stats),
)
