"""Which networks and links a path uses, from the facts. Pure."""

from ipaddress import ip_address, ip_network

from berth.networks.explain.model import Facts, Joined


def shared(facts: Facts) -> tuple[Joined, Joined] | None:
    """Return the network both ends are on, as each has it: the one whose subnet holds the address first."""
    if facts.target.kind != "container":
        return None
    pairs = [
        (mine, theirs)
        for mine in facts.source.networks
        for theirs in facts.target.networks
        if mine.network_id == theirs.network_id and mine.link and theirs.link
    ]
    return min(pairs, key=lambda pair: not holds(pair[0], facts.address), default=None)


def holds(joined: Joined, address: str) -> bool:
    """Tell whether an address is of a network's subnets."""
    if not address:
        return False
    value = ip_address(address)
    return any(value in ip_network(one) for one in joined.subnets)


def used(facts: Facts) -> Joined | None:
    """Return the network by which the source should send: the address's own, else its way out."""
    if facts.source.kind != "container" or facts.source.mode == "host":
        return None
    direct = next((one for one in facts.source.networks if one.link and holds(one, facts.address)), None)
    if direct is not None:
        return direct
    common = shared(facts)
    if common is not None and not facts.address:
        return common[0]
    return next((one for one in facts.source.networks if one.is_way_out), None)


def is_outside(facts: Facts) -> bool:
    """Tell whether the target is beyond this host and the networks of the source."""
    return facts.target.kind == "outside" and not any(holds(one, facts.address) for one in facts.source.networks)


def arrived(facts: Facts) -> bool:
    """Tell whether the probe reached somebody who takes it."""
    sent = facts.sent
    if sent is None:
        return False
    if sent.result == "answered":
        return True
    if facts.protocol != "udp" or sent.result != "silent" or sent.drops:
        return False
    if facts.target.kind == "outside":
        return any(one in ("host:left", "source:left") for one in sent.reached)
    port = facts.published.container_port if facts.published else facts.port
    listens = any(one.protocol == "udp" and one.port == port for one in facts.target.listeners)
    return listens and "target:arrived" in sent.reached
