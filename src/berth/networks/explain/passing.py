"""The steps on the way: rules that dropped the probe, neighbours that did not answer. Pure."""

from berth.networks.explain.finding import Fault, Found, ok
from berth.networks.explain.model import Drop, Facts
from berth.networks.explain.path import is_outside, used


def rules(facts: Facts) -> Found:
    """Judge what firewalls did with the probe and its answer."""
    sent = facts.sent
    if sent is None:
        return None
    if not sent.drops:
        return ok("rules", f"{sent.rules_met} rules met, none drops it") if sent.reached else None
    drop = sent.drops[0]
    what = "the answer" if drop.is_answer else "the packet"
    chain = f"{drop.family} {drop.table} {drop.chain}"
    where = _where(drop, facts)
    if drop.is_ours:
        return _own(facts, drop, what, chain)
    inside = _inside(drop, facts)
    if not drop.handle:
        cause = f"chain {chain} {where} drops what none of its rules accepts, {what} too ({drop.text})"
        mend = f"{inside}nft insert rule {chain} {_accept(facts, drop)} accept"
        return Fault("rules", "rule", cause, (mend,))
    cause = f"the rule “{drop.text}” (handle {drop.handle}) of chain {chain} {where} drops {what}"
    return Fault("rules", "rule", cause, (f"{inside}nft delete rule {chain} handle {drop.handle}",))


def _own(facts: Facts, drop: Drop, what: str, chain: str) -> Fault:
    joined = used(facts)
    if joined is not None and joined.allowed_out is not None and is_outside(facts):
        allowed = f"only {', '.join(joined.allowed_out)}" if joined.allowed_out else "nothing"
        cause = f"network {joined.network} lets out {allowed} (rule “{drop.text}”)"
        wider = ",".join((*joined.allowed_out, facts.address))
        return Fault(
            "policy", "egress", cause, (f"berth network update {joined.network} --egress deny --allow {wider}",)
        )
    cause = f"our own policy drops {what} on the host: {drop.text or 'a rule'} (chain {chain})"
    return Fault("rules", "policy", cause, ("berth firewall status",))


def _where(drop: Drop, facts: Facts) -> str:
    if drop.place == "host":
        return "on the host"
    return f"inside {facts.source.name if drop.place == 'source' else facts.target.name}"


def _inside(drop: Drop, facts: Facts) -> str:
    namespace = {"source": facts.source.namespace, "target": facts.target.namespace}.get(drop.place, "")
    return f"nsenter --net={namespace} " if namespace else ""


def _accept(facts: Facts, drop: Drop) -> str:
    family = "ip6" if ":" in facts.address else "ip"
    direction = "saddr" if drop.is_answer else "daddr"
    port = f" {facts.protocol} {'sport' if drop.is_answer else 'dport'} {facts.port}" if facts.port else ""
    return f"{family} {direction} {facts.address}{port}"


def neighbours(facts: Facts) -> Found:
    """Judge whether somebody answered for the next address on the link."""
    sent, way = facts.sent, facts.way
    if sent is None or way is None:
        return None
    next_hop = way.gateway or facts.address
    if next_hop not in sent.missing:
        return None
    whom = f"gateway {next_hop}" if way.gateway else next_hop
    cause = f"nobody on {way.link} answers for {whom}: no host has that address"
    return Fault("neighbour", "no-neighbour", cause, ())
