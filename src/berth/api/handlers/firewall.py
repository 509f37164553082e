"""``/berth/firewall``: what Docker has not: the engine's rules, what of others is in their way, and mending them."""

from aiohttp import web

from berth.api.call import Call
from berth.api.routes import Route
from berth.networks.ports.exposure import Exposure


async def status(call: Call) -> web.StreamResponse:
    """GET /berth/firewall: tables, chains of others that drop, drops by network."""
    return call.json(await call.engine.networks.firewall.status())


async def differences(call: Call) -> web.StreamResponse:
    """GET /berth/firewall/diff: rules and elements that are missing in the kernel, or foreign there."""
    found = await call.engine.networks.firewall.differences()
    return call.json([{"Kind": one.kind, "Where": one.where, "Text": one.text} for one in found])


async def reload(call: Call) -> web.StreamResponse:
    """POST /berth/firewall/reload: write the rules anew, in one transaction."""
    return call.json({"Elements": await call.engine.networks.firewall.reload()})


async def policy(call: Call) -> web.StreamResponse:
    """GET /berth/networks/{id}/policy: what a network may reach outside, and what was refused."""
    networks = call.engine.networks
    return call.json(await networks.firewall.policy(networks.get(call.path["id"])))


async def ports(call: Call) -> web.StreamResponse:
    """GET /berth/ports: every port by which containers are reached; with ``exposed`` only those others reach."""
    engine = call.engine
    running = [record for record in engine.containers.all() if record.running]
    on_host = [record for record in running if record.host_config.network_mode == "host"]
    pids = {record.name: await engine.containers.pids(record) for record in on_host}
    found = await engine.networks.exposed.all(pids)
    only = call.flag("exposed")
    return call.json([_exposure(one) for one in found if one.is_outside or not only])


def _exposure(one: Exposure) -> dict[str, object]:
    return {
        "Protocol": one.protocol,
        "Address": one.address,
        "Port": one.port,
        "Container": one.container,
        "ContainerPort": one.target,
        "Way": one.way,
        "Reach": one.reach,
        "Why": one.why,
    }


ROUTES: tuple[Route, ...] = (
    Route("GET", "/berth/firewall", status),
    Route("GET", "/berth/firewall/diff", differences),
    Route("POST", "/berth/firewall/reload", reload),
    Route("GET", "/berth/networks/{id}/policy", policy),
    Route("GET", "/berth/ports", ports),
)
