"""``/berth/networks``: what Docker has not: see, explain and change networks that are in use."""

import contextlib

import msgspec
from aiohttp import web

from berth.api.call import Call
from berth.api.routes import Route
from berth.base.errors import InvalidArgument, NotFound
from berth.networks.explain import tap as tapping
from berth.networks.explain.known import Subject
from berth.wire import pcap
from berth.wire.network_changes import NetworkUpdate


def _subjects(call: Call) -> dict[str, Subject]:
    return {ident: Subject(ident, name, state) for ident, name, state in call.engine.containers.states()}


async def list_networks(call: Call) -> web.StreamResponse:
    """GET /berth/networks: networks with members, links, counters, free addresses."""
    return call.json(await call.engine.networks.see.networks(_subjects(call).values()))


async def inspect(call: Call) -> web.StreamResponse:
    """GET /berth/networks/{id}: one of them, with its members' links and routes, and what was refused at it."""
    networks = call.engine.networks
    record = networks.get(call.path["id"])
    shown = await networks.see.network(record.id, _subjects(call).values())
    egress = await networks.firewall.policy(record)
    return call.json(shown | {key: egress[key] for key in ("Egress", "Allow", "Drops")})


async def trace(call: Call) -> web.StreamResponse:
    """GET /berth/networks/trace: whether ``from`` reaches ``to``, and if not, why and what mends it."""
    containers = call.engine.containers
    subjects = _subjects(call)

    def find(ref: str) -> Subject | None:
        try:
            return subjects[containers.find(ref).id]
        except NotFound:
            return None

    source_ref, target = call.text("from"), call.text("to")
    if not source_ref or not target:
        raise InvalidArgument("a trace needs both ends: from and to")
    source = None if source_ref == "host" else subjects[containers.find(source_ref).id]
    explain = call.engine.networks.explain
    facts, verdict = await explain.trace(source, target, call.text("proto"), subjects.values(), find)
    answer = {
        "From": facts.source.name or "host",
        "To": target,
        "Protocol": facts.protocol,
        "Address": facts.address,
        "Reached": verdict.reached,
        "Fault": verdict.fault,
        "Cause": verdict.cause,
        "Mend": verdict.mend,
        "Steps": [{"Name": one.name, "Mark": one.mark.value, "Text": one.text} for one in verdict.steps],
        "Facts": msgspec.to_builtins(facts),
    }
    return call.json(answer)


async def tap(call: Call) -> web.StreamResponse:
    """GET /berth/networks/tap: the packets of a container, as a capture file that grows."""
    engine = call.engine
    container = engine.containers.find(call.text("container"))
    namespace = engine.networks.namespace(container.id)
    count, snap = call.integer("count", 0) or 0, call.integer("snap", pcap.SNAP) or pcap.SNAP
    if count < 0 or not 64 <= snap <= pcap.SNAP:
        raise InvalidArgument(f"count is 0 or more, snap from 64 to {pcap.SNAP}")
    wish = tapping.Wish(call.text("link"), count, snap, tapping.wanted(call.text("filter")))

    def is_there() -> bool:
        return engine.networks.is_in(container.id, namespace)

    pieces = tapping.captured(namespace, wish, is_there)
    async with contextlib.aclosing(pieces):
        first = await anext(pieces)
        response = await call.stream("application/vnd.tcpdump.pcap")
        await response.write(first)
        async for piece in pieces:
            await response.write(piece)
    await response.write_eof()
    return response


async def update(call: Call) -> web.StreamResponse:
    """POST /berth/networks/{id}/update: change a network that is in use; its containers follow."""
    record = await call.engine.networks.change.update(call.path["id"], await call.body(NetworkUpdate))
    return call.json({"Id": record.id, "Name": record.name})


async def rename(call: Call) -> web.StreamResponse:
    """POST /berth/networks/{id}/rename: give it another name; containers that name it follow."""
    name = call.text("name")
    if not name:
        raise InvalidArgument("Neither old nor new names may be empty")
    await call.engine.networks.change.rename(call.path["id"], name)
    return call.empty()


ROUTES: tuple[Route, ...] = (
    Route("POST", "/berth/networks/{id}/update", update),
    Route("POST", "/berth/networks/{id}/rename", rename),
    Route("GET", "/berth/networks", list_networks),
    Route("GET", "/berth/networks/trace", trace),
    Route("GET", "/berth/networks/tap", tap, stream=True),
    Route("GET", "/berth/networks/{id}", inspect),
)
