"""Facts → steps and a verdict: the first step of the path that fails, why, and the command that mends it. Pure.

What is merely unusual never counts as a fault on a path that answers: the probe has the last word, but for a paused
container, whose kernel takes connections that nobody serves.
"""

from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from berth.networks.explain import listening, named, passing
from berth.networks.explain.finding import Fault, Found, note, ok
from berth.networks.explain.model import End, Facts, Joined, Link, Mark, Step, Verdict
from berth.networks.explain.path import arrived, is_outside, shared, used


class _Check(NamedTuple):
    look: Callable[[Facts], Found]
    #: Counts even if the probe was answered.
    always: bool = False


def judge(facts: Facts) -> Verdict:
    """Walk the path and stop at the first step that fails."""
    steps: list[Step] = []
    came = arrived(facts)
    for check in CHECKS:
        found = check.look(facts)
        if isinstance(found, Fault):
            if came and not check.always and not found.decides:
                if found.worth_a_note:
                    steps.append(Step(found.step, Mark.NOTE, found.cause))
                continue
            steps.append(Step(found.step, Mark.FAIL, found.cause))
            return Verdict(False, tuple(steps), found.code, found.cause, found.mend)
        if found is not None:
            steps.append(found)
    return Verdict(True, tuple(steps))


# -- the ends ---------------------------------------------------------------------------------------------


def _source_state(facts: Facts) -> Found:
    return _state(facts.source, "source")


def _target_state(facts: Facts) -> Found:
    if facts.target.kind == "container" and facts.target.name == facts.source.name:
        return None
    waiting = next((one for one in facts.other_publications if not one.live), None)
    if facts.target.kind == "container" and facts.target.state != "running" and waiting and facts.name is None:
        return Fault(
            "target",
            "published-stopped",
            f"port {waiting.host_port}/{waiting.protocol} of the host belongs to container {waiting.container}, "
            f"which is {waiting.state}: nothing is published while it does not run",
            (f"berth start {waiting.container}",),
        )
    if facts.target.kind == "outside" and not facts.address:
        return None  # a name nobody knows yet
    if facts.target.kind == "outside" and not is_outside(facts):
        return note("target", f"no container has the address {facts.address}")
    return _state(facts.target, "target")


def _state(end: End, role: str) -> Found:
    if end.kind != "container":
        return ok(role, "the host itself" if end.kind == "host" else f"{end.name} is outside this host")
    if end.state == "running":
        return ok(role, f"{end.name} runs")
    if end.state == "paused":
        why = "it neither sends nor answers" if role == "source" else "its kernel takes packets, nobody serves them"
        return Fault(role, f"{role}-paused", f"{end.name} is paused: {why}", (f"berth unpause {end.name}",))
    return Fault(role, f"{role}-stopped", f"{end.name} does not run (it is {end.state})", (f"berth start {end.name}",))


def _source_network(facts: Facts) -> Found:
    if facts.target.name == facts.source.name and facts.target.kind == facts.source.kind:
        return None
    return _has_network(facts.source, "source", facts.target)


def _target_network(facts: Facts) -> Found:
    return _has_network(facts.target, "target", facts.source)


def _has_network(end: End, role: str, other: End) -> Found:
    if end.kind != "container" or end.mode == "host" or any(one.link for one in end.networks):
        return None
    wanted = next((one.network for one in other.networks if one.link), "NETWORK")
    return Fault(
        "network",
        f"{role}-no-network",
        f"{end.name} has a loopback link only: it is on network none",
        (f"berth network disconnect none {end.name}", f"berth network connect {wanted} {end.name}"),
    )


def _source_link(facts: Facts) -> Found:
    if facts.target.name == facts.source.name and facts.target.kind == facts.source.kind:
        return None
    joined = used(facts)
    return _link(facts.source, joined) if joined is not None else None


def _target_link(facts: Facts) -> Found:
    if facts.target.kind != "container" or facts.target.name == facts.source.name:
        return None
    common = shared(facts)
    joined = common[1] if common else next((one for one in facts.target.networks if _has(one, facts.address)), None)
    if facts.published is not None:
        joined = next((one for one in facts.target.networks if one.is_way_out), joined)
    return _link(facts.target, joined) if joined is not None else None


def _has(joined: Joined, address: str) -> bool:
    return address in {one.partition("/")[0] for one in joined.addresses}


def _link(end: End, joined: Joined) -> Found:
    if not joined.link:
        return None
    link = next((one for one in end.links if one.name == joined.link), None)
    again = (
        f"berth network disconnect {joined.network} {end.name}",
        f"berth network connect {joined.network} {end.name}",
    )
    what = f"{joined.link} of {end.name} (network {joined.network})"
    if link is None:
        return Fault("link", "link-missing", f"link {what} is gone", again)
    if not link.is_up:
        return Fault("link", "link-down", f"link {what} was brought down inside the container", again)
    if not link.passes:
        cause = f"link {what} has no carrier: its other end on the host, {joined.host_link}, is down or off the bridge"
        return Fault("link", "link-no-carrier", cause, (f"ip link set {joined.host_link} master {joined.bridge} up",))
    missing = [one for one in joined.addresses if one not in link.addresses]
    if missing:
        has = ", ".join(link.addresses) or "none"
        cause = f"link {what} has lost its address {missing[0]} (it has {has})"
        return Fault("link", "address-missing", cause, again)
    return ok("link", f"{link.name} of {end.name} is up with {', '.join(joined.addresses)}, MTU {link.mtu}")


# -- the network and the route ----------------------------------------------------------------------------


def _network(facts: Facts) -> Found:
    source, target = facts.source, facts.target
    if source.kind != "container" or source.mode == "host":
        return None
    if target.kind == "container" and target.name == source.name:
        return ok("network", f"{facts.address} is {source.name} itself")
    if target.kind != "container" or facts.published is not None or target.mode == "host":
        return None
    common = shared(facts)
    if common:
        here = common[0]
        return ok("network", f"both are on {here.network} ({', '.join(here.subnets)})")
    ours = _names(source.networks)
    theirs = _names(target.networks)
    connect = next((one.network for one in target.networks if one.has_names), "")
    mend = (f"berth network connect {connect} {source.name}",) if connect else ()
    if not mend:  # both ways lead through a network of their own: nobody is found by name on the default bridge
        ours_named = next((one.network for one in source.networks if one.has_names), "NETWORK")
        mend = (f"berth network connect {ours_named} {target.name}",)
    return Fault(
        "network",
        "wrong-network",
        f"they share no network: {source.name} is on {ours}, {target.name} is on {theirs}; "
        "containers of different networks do not reach each other",
        mend,
    )


def _names(networks: Sequence[Joined]) -> str:
    return ", ".join(one.network for one in networks) or "none"


def _internal(facts: Facts) -> Found:
    if not is_outside(facts) or facts.source.kind != "container" or facts.source.mode == "host":
        return None
    open_ones = [one for one in facts.source.networks if not one.internal]
    if open_ones or not facts.source.networks:
        return None
    return Fault(
        "policy",
        "internal",
        f"{facts.source.name} is on internal networks only ({_names(facts.source.networks)}): nothing leaves them",
        (
            f"berth network connect NETWORK {facts.source.name}",
            f"berth network update {facts.source.networks[0].network} --internal=false",
        ),
    )


def _route(facts: Facts) -> Found:
    way = facts.way
    if way is None or not facts.address:
        return None
    joined = used(facts)
    reconnect: tuple[str, ...] = ()
    if joined is not None:
        reconnect = (
            f"berth network disconnect {joined.network} {facts.source.name}",
            f"berth network connect {joined.network} {facts.source.name}",
        )
    if way.error:
        code, what = ("no-default-route", "default route") if is_outside(facts) else ("no-route", "route")
        cause = f"{facts.source.name or 'the host'} has no {what} to {facts.address}: {way.error}"
        return Fault("route", code, cause, reconnect)
    through = f"through {way.gateway} " if way.gateway else "directly "
    if joined is not None and joined.link and way.link not in (joined.link, "lo"):
        code = "default-route-conflict" if way.because.startswith("default") else "route-conflict"
        cause = (
            f"packets to {facts.address} leave {through}by {way.link} instead of {joined.link} "
            f"(network {joined.network}): the route “{way.because}” was not made by the engine and wins"
        )
        return Fault("route", code, cause, (_without(facts, way.because),), worth_a_note=True)
    if joined is not None and is_outside(facts) and joined.gateway and way.gateway != joined.gateway:
        cause = (
            f"the default route leads through {way.gateway or 'no gateway'}, the way out of network "
            f"{joined.network} is {joined.gateway}"
        )
        mend = (f"nsenter --net={facts.source.namespace} ip route replace default via {joined.gateway}",)
        return Fault("route", "default-route-conflict", cause, mend, worth_a_note=True)
    return ok("route", f"to {facts.address} {through}by {way.link}")


def _without(facts: Facts, route: str) -> str:
    inside = f"nsenter --net={facts.source.namespace} " if facts.source.namespace else ""
    return f"{inside}ip route del {route}"


def _icc(facts: Facts) -> Found:
    common = shared(facts)
    if common is None or common[0].icc or facts.target.name == facts.source.name or facts.published is not None:
        return None
    if facts.source.kind != "container" or facts.source.mode == "host":
        return None
    return Fault(
        "policy",
        "icc",
        f"network {common[0].network} was made with enable_icc=false: its containers do not reach each other",
        (f"berth network update {common[0].network} --icc=true",),
    )


def _forwarding(facts: Facts) -> Found:
    crosses = is_outside(facts) or (facts.published is not None and facts.source.kind == "container")
    if facts.forwarding or not crosses or facts.source.mode == "host" or facts.source.kind != "container":
        return None
    cause = "the host does not forward packets: net.ipv4.ip_forward is 0, something switched it off"
    return Fault("policy", "forwarding-off", cause, ("sysctl -w net.ipv4.ip_forward=1",))


# -- the probe ------------------------------------------------------------------------------------------------


def _mtu(facts: Facts) -> Found:
    sizes = facts.sizes
    if sizes is None or not sizes.passed or not sizes.tried:
        return None
    largest, tried = max(sizes.passed), max(sizes.tried)
    if largest >= tried:
        return ok("mtu", f"packets of {tried} bytes pass whole")
    if sizes.told:
        return note("mtu", f"packets of more than {largest} bytes are refused on the way, with word of it")
    narrow = _narrow(facts, tried)
    mend: tuple[str, ...] = ()
    joined = used(facts)
    network = joined.network if joined else ""
    cause = (
        f"packets of {tried} bytes vanish, of {largest} pass, and nobody says so: large answers hang"
        f"{f'; {narrow.name} of {facts.target.name} has MTU {narrow.mtu}' if narrow else ''}"
    )
    if narrow and facts.target.namespace:
        mend = (f"nsenter --net={facts.target.namespace} ip link set {narrow.name} mtu {tried}",)
    elif network:
        mend = (f"berth network update {network} --mtu {largest}",)
    return Fault("mtu", "mtu-hole", cause, mend)


def _narrow(facts: Facts, size: int) -> Link | None:
    common = shared(facts)
    name = common[1].link if common else ""
    return next((one for one in facts.target.links if one.name == name and one.mtu < size), None)


def _answer(facts: Facts) -> Found:
    sent = facts.sent
    if sent is None:
        return None
    what = _probe_name(facts)
    if arrived(facts):
        if sent.result == "answered":
            return ok("probe", f"{what} was answered in {sent.ms:.1f} ms")
        return note("probe", f"{what} arrived; a server of datagrams need not answer one it does not understand")
    if sent.result == "refused":
        if facts.target.kind == "outside":
            return Fault("probe", "refused", f"{facts.address} refuses: nothing listens on port {facts.port} there", ())
        return Fault("probe", "refused", f"{what} was refused, though something listens", ())
    if sent.result == "unreachable":
        return Fault("probe", "unreachable", f"no way to {facts.address}: {sent.reason}", ())
    if sent.result == "failed":
        return Fault("probe", "failed", f"{what} could not be sent: {sent.reason}", ())
    return Fault("probe", "silent", f"{what} was not answered; {_lost(facts)}", ())


def _probe_name(facts: Facts) -> str:
    kind = {"tcp": "a TCP connection", "udp": "a datagram", "icmp": "an echo request"}[facts.protocol]
    return f"{kind} to {_shown(facts.address)}{f':{facts.port}' if facts.port else ''}"


def _shown(address: str) -> str:
    return f"[{address}]" if ":" in address else address


def _lost(facts: Facts) -> str:
    reached = facts.sent.reached if facts.sent else ()
    if facts.target.kind == "outside":
        if any(one.startswith("host:left") or one == "source:left" for one in reached):
            return "it left this host: look for a firewall or a missing way back over there"
        return "it never left this host"
    if "target:arrived" in reached:
        return f"it came into {facts.target.name or 'the host'} and got no answer"
    last = reached[-1] if reached else "nowhere"
    return f"the last that was seen of it: {last.replace(':', ' ')}"


CHECKS: Final = (
    _Check(_source_state, always=True),
    _Check(_target_state, always=True),
    _Check(_source_network),
    _Check(_target_network),
    _Check(_source_link),
    _Check(named.check),
    _Check(_network),
    _Check(_target_link),
    _Check(_internal),
    _Check(_route),
    _Check(_icc),
    _Check(_forwarding),
    _Check(passing.rules),
    _Check(listening.published),
    _Check(passing.neighbours),
    _Check(listening.check),
    _Check(_answer),
    _Check(_mtu, always=True),
)
