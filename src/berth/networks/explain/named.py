"""The step of the name: what the source's resolver said, and what was meant. Pure."""

from berth.networks.explain.finding import Fault, Found, note, ok
from berth.networks.explain.model import Facts, Named
from berth.networks.explain.path import shared


def check(facts: Facts) -> Found:
    """Judge how the name of the target was resolved; nothing if an address was asked for."""
    name = facts.name
    if name is None:
        return None
    if name.outcome == "records":
        return note("name", f"{name.asked} is {facts.address}, from the engine's records: no resolver was asked")
    if name.outcome == "hosts":
        return _from_hosts(facts, name)
    if name.outcome == "answered":
        return ok("name", f"{name.asked} is {', '.join(name.addresses)} (asked of {name.server})")
    found = _unresolved(facts, name)
    return found._replace(decides=True) if isinstance(found, Fault) else found


def _from_hosts(facts: Facts, name: Named) -> Found:
    theirs = {one.partition("/")[0] for joined in facts.target.networks for one in joined.addresses}
    known_as = facts.target.kind == "container" and bool(theirs)
    if not known_as or set(name.addresses) & theirs or facts.target.mode == "host":
        return ok("name", f"{name.asked} is {', '.join(name.addresses)} (from /etc/hosts)")
    cause = (
        f"/etc/hosts of {facts.source.name} says {name.asked} is {', '.join(name.addresses)}, but container "
        f"{facts.target.name} has {', '.join(sorted(theirs))}: the entry is stale and goes before the name server"
    )
    mend = (f"make {facts.source.name} anew without --add-host {name.asked}:{name.addresses[0]}",)
    return Fault("name", "stale-hosts", cause, mend, worth_a_note=True)


def _unresolved(facts: Facts, name: Named) -> Found:
    source = facts.source
    if facts.target.kind == "container" and not facts.target.networks:
        return None  # the next steps say more
    if facts.target.kind == "container" and shared(facts) is None and facts.target.mode != "host":
        return None  # it has the name on networks where the source is not: the next step says so
    if name.elsewhere:
        who = "; ".join(f"{container} on {network}" for container, network in name.elsewhere)
        network = name.elsewhere[0][1]
        cause = f"{name.asked} is a name on another network only ({who}); {source.name} is not on it"
        return Fault("name", "name-on-another-network", cause, (f"berth network connect {network} {source.name}",))
    if facts.target.kind == "container" and not any(one.has_names for one in source.networks):
        cause = (
            f"on the default bridge containers have no names: {name.asked} is known there to nobody (its address "
            f"is {facts.address})"
        )
        mend = (
            "berth network create NETWORK",
            f"berth network connect NETWORK {source.name}",
            f"berth network connect NETWORK {facts.target.name}",
        )
        return Fault("name", "no-names-on-default", cause, mend)
    if name.near and facts.target.kind != "container":
        cause = f"nobody is called {name.asked}; did you mean {' or '.join(name.near[:3])}?"
        again = f"{name.near[0]}{f':{facts.port}' if facts.port else ''}"
        return Fault("name", "name-typo", cause, (f"berth network trace {source.name} {again}",))
    dead = [server for server, alive in name.upstreams if not alive]
    if name.outcome in ("failed", "silent") and name.upstreams and len(dead) == len(name.upstreams):
        cause = (
            f"{name.asked} is no name of ours, and nobody outside can be asked: "
            f"name server {', '.join(dead)} does not answer"
        )
        return Fault("name", "dns-upstream-dead", cause, (f"berth run --dns ADDRESS … (now {', '.join(dead)})",))
    if name.outcome == "silent":
        cause = f"the name server {name.server} does not answer"
        return Fault("name", "resolver-silent", cause, ("berth info",))
    cause = f"{name.server or 'the resolver'} knows no {name.asked}"
    return Fault("name", "name-unknown", cause, ("berth ps -a", "berth network ls"))
