"""``/networks``: parse, call the service, render."""

from aiohttp import web

from berth.api.call import Call
from berth.api.routes import Route
from berth.base.errors import InvalidArgument
from berth.networks.endpoint_options import DELAY, LOSS, RATE_IN, RATE_OUT
from berth.wire.networks import EndpointSettings, NetworkConnect, NetworkCreate, NetworkDisconnect, NetworkShape


async def list_networks(call: Call) -> web.StreamResponse:
    """GET /networks."""
    return call.json(call.engine.networks.list(call.filters()))


async def inspect(call: Call) -> web.StreamResponse:
    """GET /networks/{id}."""
    return call.json(call.engine.networks.inspect(call.path["id"], scope=call.text("scope")))


async def create(call: Call) -> web.StreamResponse:
    """POST /networks/create."""
    ident, warning = await call.engine.networks.create(await call.body(NetworkCreate))
    return call.json({"Id": ident, "Warning": warning}, 201)


async def remove(call: Call) -> web.StreamResponse:
    """DELETE /networks/{id}."""
    await call.engine.networks.remove(call.path["id"])
    return call.empty()


async def prune(call: Call) -> web.StreamResponse:
    """POST /networks/prune."""
    names = await call.engine.networks.prune(call.filters())
    return call.json({"NetworksDeleted": names or None})


async def connect(call: Call) -> web.StreamResponse:
    """POST /networks/{id}/connect."""
    want = await call.body(NetworkConnect)
    if not want.container:
        raise InvalidArgument("container name or ID is required")
    engine = call.engine
    network = engine.networks.get(call.path["id"])
    container = engine.containers.staying(want.container)
    settings = want.endpoint or EndpointSettings()
    await engine.networks.connect(network.id, container.id, settings)
    return call.empty(200)


async def disconnect(call: Call) -> web.StreamResponse:
    """POST /networks/{id}/disconnect."""
    want = await call.body(NetworkDisconnect)
    if not want.container:
        raise InvalidArgument("container name or ID is required")
    container = call.engine.containers.staying(want.container)
    await call.engine.networks.disconnect(call.path["id"], container.id, force=bool(want.force))
    return call.empty(200)


async def shape(call: Call) -> web.StreamResponse:
    """POST /berth/networks/{id}/shape."""
    want = await call.body(NetworkShape)
    if not want.container:
        raise InvalidArgument("container name or ID is required")
    asked = {RATE_IN: want.rate_in, RATE_OUT: want.rate_out, DELAY: want.delay, LOSS: want.loss}
    limits = {key: value for key, value in asked.items() if value is not None}
    container = call.engine.containers.find(want.container)
    now = await call.engine.networks.shape(call.path["id"], container.id, limits)
    fields = {"RateIn": RATE_IN, "RateOut": RATE_OUT, "Delay": DELAY, "Loss": LOSS}
    return call.json({field: now.get(key, "") for field, key in fields.items()})


ROUTES: tuple[Route, ...] = (
    Route("GET", "/networks", list_networks),
    Route("GET", "/networks/{id}", inspect),
    Route("POST", "/networks/create", create),
    Route("POST", "/networks/prune", prune),
    Route("POST", "/networks/{id}/connect", connect),
    Route("POST", "/networks/{id}/disconnect", disconnect),
    Route("DELETE", "/networks/{id}", remove),
    Route("POST", "/berth/networks/{id}/shape", shape),
)
