"""The steps at the target: is the port published where it was asked for, and does something listen. Pure."""

from ipaddress import ip_address

from berth.networks.explain.finding import Fault, Found, ok
from berth.networks.explain.model import Facts, Listener


def published(facts: Facts) -> Found:
    """Judge whether a host's address and port lead to a container."""
    one = facts.published
    if one is not None:
        where = f"{one.host_ip}:{one.host_port}/{one.protocol}"
        return ok("published", f"{where} of the host leads to {one.container}, port {one.container_port}")
    if facts.target.kind != "host" or facts.protocol == "icmp" or not facts.other_publications:
        return None
    if any(_takes(one, facts) for one in facts.target.listeners):
        return None  # a program of the host has the port
    return _elsewhere(facts)


def _elsewhere(facts: Facts) -> Found:
    for other in facts.other_publications:
        what = f"{other.host_port}/{other.protocol}"
        if not other.live:
            cause = (
                f"port {what} of the host belongs to container {other.container}, which is {other.state}: "
                "nothing is published while it does not run"
            )
            return Fault("published", "published-stopped", cause, (f"berth start {other.container}",))
        if other.protocol != facts.protocol:
            cause = f"{other.container} publishes {what}, not {facts.port}/{facts.protocol}"
            mend = f"berth network trace {facts.source.name or 'host'} {_at(facts)} --proto {other.protocol}"
            return Fault("published", "wrong-protocol", cause, (mend,))
        cause = (
            f"{other.container} publishes port {what} on {other.host_ip} only, not on {facts.address}: "
            f"{'what is published on loopback answers the host alone' if _is_loopback(other.host_ip) else 'ask there'}"
        )
        mend = f"make {other.container} anew with -p {other.host_port}:{other.container_port}"
        return Fault("published", "published-elsewhere", cause, (mend,))
    return None


def _at(facts: Facts) -> str:
    return f"{facts.asked}:{facts.port}"


def _is_loopback(address: str) -> bool:
    return ip_address(address).is_loopback


def check(facts: Facts) -> Found:
    """Judge whether something at the target takes what was sent."""
    target = facts.target
    if facts.protocol == "icmp" or not facts.port or target.kind == "outside":
        return None
    port = facts.published.container_port if facts.published else facts.port
    name = target.name if target.kind == "container" else "the host"
    same = [one for one in target.listeners if one.protocol == facts.protocol and one.port == port]
    fitting = [one for one in same if _fits(one, facts)]
    if fitting:
        return ok("listener", f"{name} listens on {_shown(fitting[0])}")
    if same:
        return _wrong_address(facts, name, same)
    other = "udp" if facts.protocol == "tcp" else "tcp"
    if any(one.protocol == other and one.port == port for one in target.listeners):
        cause = f"{name} listens on {port}/{other}, not on {port}/{facts.protocol}"
        mend = f"berth network trace {facts.source.name or 'host'} {_at(facts)} --proto {other}"
        return Fault("listener", "wrong-protocol", cause, (mend,))
    theirs = sorted({one.port for one in target.listeners if _is_offered(one, facts)})
    if theirs:
        ports = ", ".join(f"{one}/{facts.protocol}" for one in theirs[:8])
        cause = f"nothing listens on {port}/{facts.protocol} in {name}; it listens on {ports}"
        if facts.published is not None:
            one = facts.published
            mend = f"make {one.container} anew with -p {one.host_port}:{theirs[0]}"
        else:
            mend = f"berth network trace {facts.source.name or 'host'} {facts.asked}:{theirs[0]}"
        return Fault("listener", "wrong-port", cause, (mend,))
    cause = f"nothing listens on {port}/{facts.protocol} in {name}, nor on any other port that can be reached"
    mends = (f"berth logs {target.name}", f"berth top {target.name}") if target.kind == "container" else ()
    return Fault("listener", "nothing-listens", cause, mends)


def _is_offered(one: Listener, facts: Facts) -> bool:
    return one.protocol == facts.protocol and not _is_loopback(one.address)


def _wrong_address(facts: Facts, name: str, same: list[Listener]) -> Fault:
    where = ", ".join(_shown(one) for one in same)
    if all(_is_loopback(one.address) for one in same):
        cause = f"{name} listens on {where} only: loopback answers {name} itself and nobody else"
        mend = f"have the program in {name} listen on 0.0.0.0:{same[0].port}"
        return Fault("listener", "listener-loopback", cause, (mend,))
    cause = f"{name} listens on {where} only, not on {facts.address}"
    return Fault("listener", "listener-elsewhere", cause, (f"have it listen on 0.0.0.0:{same[0].port}",))


def _takes(one: Listener, facts: Facts) -> bool:
    return one.protocol == facts.protocol and one.port == facts.port and _fits(one, facts)


def _fits(one: Listener, facts: Facts) -> bool:
    listens = ip_address(one.address)
    if listens.is_unspecified:
        return listens.version == 6 or ip_address(facts.address or "0.0.0.0").version == 4 or bool(facts.published)  # noqa: S104
    theirs = {text.partition("/")[0] for joined in facts.target.networks for text in joined.addresses}
    if facts.published is not None:
        return one.address in theirs
    return one.address == facts.address or (listens.is_loopback and ip_address(facts.address).is_loopback)


def _shown(one: Listener) -> str:
    return f"{f'[{one.address}]' if ':' in one.address else one.address}:{one.port}/{one.protocol}"
