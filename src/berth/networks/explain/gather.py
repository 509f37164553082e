"""Gathers the facts of one trace: looks into the namespaces, asks for the name, sends the probe. Blocking.

Nothing it does stays: the tables that mark the probe's packets go with it. Must not: judge.
"""

import contextlib
import secrets
from collections.abc import Sequence
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from berth.base.errors import EngineError
from berth.kernel import netview, nftrace, probe, sysctl
from berth.kernel.netview import View
from berth.kernel.nftrace import Seen, Watch
from berth.networks.dns.model import Upstream
from berth.networks.explain import resolve
from berth.networks.explain.known import Known, Subject
from berth.networks.explain.model import Drop, End, Facts, Link, Listener, Named, Publication, Sent, Sizes, Way
from berth.networks.explain.path import arrived
from berth.networks.hosts_files import ResolvConf, parse_resolv_conf

#: Seconds for a probe: time for one packet to be lost and sent again.
PROBE_S: Final = 1.3
#: Seconds for a datagram's answer, which need not come.
DATAGRAM_S: Final = 0.4
#: What may become of a name that gives an address to the source (or to us, who need none).
FOUND: Final = ("answered", "hosts", "records")
#: Seconds for echoes of many sizes.
SIZES_S: Final = 0.4
#: Sizes of packets in bytes that tunnels and odd links leave, beside the link's own.
SIZES: Final = (576, 1000, 1200, 1280, 1300, 1350, 1376, 1400, 1420, 1450, 1472, 1480, 1492, 1500)


class Question(NamedTuple):
    """What is asked: from where, to whom, and the files and servers of the source."""

    source: Subject | None
    #: Name or address, without the port.
    asked: str
    port: int
    protocol: str
    #: The container that is called so, if there is one.
    named: Subject | None
    hosts: Path
    resolv_conf: Path
    upstreams: tuple[Upstream, ...]
    #: Name of the engine's own table.
    table: str


def is_address(text: str) -> bool:
    """Tell whether a text is an address rather than a name."""
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


def gather(question: Question, known: Known) -> Facts:
    """Gather everything there is to know about one path."""
    source = known.end(question.source) if question.source else End("host")
    if source.state != "running":
        return _without_looking(question, known, source)
    here = netview.look(source.namespace)
    hosts_own = netview.look() if source.namespace else here
    source = _seen(source, here)
    name, address, target = _target(question, known, source, hosts_own)
    published, others = _published(question, known, target, address, hosts_own)
    if published is not None:
        subject = known.subject(published.container)
        target = known.end(subject) if subject is not None else target
    facts = Facts(
        source,
        target,
        question.asked,
        question.protocol,
        question.port,
        address,
        name,
        published=published,
        other_publications=others,
        forwarding=_forwards(),
    )
    if target.state == "running" and target.kind != "outside":
        facts = msgspec.structs.replace(facts, target=_seen(target, netview.look(target.namespace)))
    if not address:
        return facts
    way = netview.look(source.namespace, towards=address)
    facts = msgspec.structs.replace(facts, way=_way(way, address))
    if target.state != "running" or (name is not None and name.outcome not in FOUND):
        return facts  # a probe would go where no program of the source could send one
    sent = _send(question, facts)
    facts = msgspec.structs.replace(facts, sent=sent)
    if arrived(facts):
        facts = msgspec.structs.replace(facts, sizes=_sizes(facts))
    return facts


def _without_looking(question: Question, known: Known, source: End) -> Facts:
    target = known.end(question.named) if question.named else End("outside", question.asked)
    return Facts(source, target, question.asked, question.protocol, question.port)


def _seen(end: End, view: View) -> End:
    return msgspec.structs.replace(
        end,
        links=tuple(Link(one.name, one.is_up, one.passes, one.mtu, one.addresses) for one in view.links),
        listeners=tuple(Listener(one.protocol, one.address, one.port) for one in view.listeners),
    )


def _forwards() -> bool:
    try:
        return sysctl.read("net.ipv4.ip_forward") == "1"
    except sysctl.SysctlRefused:
        return True


def _way(view: View, address: str) -> Way:
    way = view.way
    if way is None or way.error:
        return Way(error=way.error if way else "unknown")
    value = ip_address(address)
    fitting = [
        one
        for one in view.routes
        if one.link == way.link
        and one.gateway == way.gateway
        and (not one.destination or value in ip_network(one.destination))
    ]
    best = max(fitting, key=lambda one: int((one.destination or "/0").rpartition("/")[2]), default=None)
    because = ""
    if best is not None:
        via = f" via {best.gateway}" if best.gateway else ""
        because = f"{best.destination or 'default'}{via} dev {best.link}"
    return Way(way.link, way.gateway, because=because)


# -- whom the target's name or address means ------------------------------------------------------------------


def _target(question: Question, known: Known, source: End, host: View) -> tuple[Named | None, str, End]:
    asked = question.asked
    if is_address(asked):
        return None, asked, _owner(asked, known, source, host)
    if asked == "host":
        return None, _hosts_address(source), End("host")
    subject = question.named
    target = known.end(subject) if subject else None
    if question.source is None:
        if target is not None:
            address = _address_of(target, source)
            return Named(asked, "records", (address,) if address else ()), address, target
        name = _asked(question, known, source)
    else:
        name = _asked(question, known, source)
    address = name.addresses[0] if name.addresses else ""
    if target is None and address:
        target = _owner(address, known, source, host)
    if target is not None and not address:
        if subject is not None and asked != subject.name and subject.id.startswith(asked) and len(asked) != 12:
            name = Named(asked, "records")  # an id: no program asks for that
        address = _address_of(target, source)
    return name, address, target or End("outside", asked)


def _asked(question: Question, known: Known, source: End) -> Named:
    with contextlib.suppress(OSError):
        found = resolve.from_hosts(question.hosts.read_text(errors="replace"), question.asked)
        if found:
            return Named(question.asked, "hosts", found)
    conf = ResolvConf()
    with contextlib.suppress(OSError):
        conf = parse_resolv_conf(question.resolv_conf.read_text(errors="replace"))
    meant = known.describe(Named(question.asked, "unknown"), source)
    is_ours = question.named is not None or bool(meant.elsewhere or meant.near)
    patience = resolve.OWN_PATIENCE_S if is_ours else resolve.PATIENCE_S
    name = resolve.ask(question.asked, conf, source.namespace, patience)
    if name.outcome == "answered":
        return name
    if name.outcome != "unknown" and not is_ours:
        upstreams = question.upstreams or tuple(Upstream(one) for one in conf.servers)
        name = msgspec.structs.replace(name, upstreams=resolve.alive(upstreams, question.asked, source.namespace))
    return msgspec.structs.replace(name, elsewhere=meant.elsewhere, near=meant.near)


def _hosts_address(source: End) -> str:
    """Return the host's address as the source would use it: its gateway."""
    gateways = [one.gateway for one in source.networks if one.is_way_out] + [one.gateway for one in source.networks]
    if not source.namespace:
        return "127.0.0.1"
    found = next((one for one in gateways if one), "")
    subnets = [subnet for one in source.networks for subnet in one.subnets if ":" not in subnet]
    return found or (str(next(ip_network(subnets[0]).hosts())) if subnets else "127.0.0.1")


def _address_of(target: End, source: End) -> str:
    """Return a container's address: on a shared network, else the one published ports lead to, else any."""
    mine = {one.network_id for one in source.networks if one.link}
    order = sorted(target.networks, key=lambda one: (one.network_id not in mine, not one.is_way_out))
    found = next((one.addresses[0] for one in order if one.addresses), "").partition("/")[0]
    return found or (_hosts_address(source) if target.mode == "host" else "")


def _owner(address: str, known: Known, source: End, host: View) -> End:
    if ip_address(address).is_loopback:
        return source
    subject = known.at(address, source)
    if subject is not None:
        return known.end(subject)
    if address in _local(host):
        return End("host")
    return End("outside", address)


def _local(host: View) -> set[str]:
    return {one.partition("/")[0] for link in host.links for one in link.addresses}


def _published(
    question: Question, known: Known, target: End, address: str, host: View
) -> tuple[Publication | None, tuple[Publication, ...]]:
    """Return the publication that an address and port of the host lead to, and those that nearly fit."""
    if question.protocol == "icmp" or not question.port:
        return None, ()
    everything = known.publications()
    if target.kind != "host" or address not in _local(host):
        return None, ()
    same = [one for one in everything if one.host_port == question.port]
    for one in same:
        everywhere = ip_address(one.host_ip).is_unspecified and ip_address(one.host_ip).version == 4
        if one.live and one.protocol == question.protocol and (everywhere or one.host_ip == address):
            return one, ()
    return None, tuple(sorted(same, key=lambda one: (not one.live, one.protocol != question.protocol)))


# -- the probe -------------------------------------------------------------------------------------------------


def _send(question: Question, facts: Facts) -> Sent:
    places = {"source": facts.source.namespace, "host": "", "target": facts.target.namespace}
    watches: dict[str, Watch] = {}
    table = f"berth_trace_{secrets.token_hex(4)}"
    try:
        sender = probe.Probe(facts.protocol, facts.address, facts.source.namespace)
    except OSError as exc:
        return Sent("failed", str(exc.strerror or exc))
    with sender:
        try:
            known: set[str] = set()
            for place, namespace in places.items():
                if namespace in known or (place != "host" and not namespace):
                    continue
                known.add(namespace)
                watches[place] = watch = Watch(table, sender.matches, namespace)
                watch.open()
            outcome = sender.send(facts.port, DATAGRAM_S if facts.protocol == "udp" else PROBE_S)
            events = {place: watch.seen() for place, watch in watches.items()}
            missing = netview.missing_neighbours(facts.source.namespace)
            return _sent(question, outcome, (sender, watches, events, places), tuple(sorted(missing)))
        except EngineError as exc:  # no tracing on this kernel: the probe alone still tells something
            outcome = sender.send(facts.port, PROBE_S)
            return Sent(outcome.result, outcome.reason or str(exc), outcome.ms)
        finally:
            for watch in watches.values():
                watch.close()


def _sent(
    question: Question,
    outcome: probe.Outcome,
    heard: tuple[probe.Probe, dict[str, Watch], dict[str, list[Seen]], dict[str, str]],
    missing: tuple[str, ...],
) -> Sent:
    sender, watches, events, places = heard
    drops: list[Drop] = []
    reached: list[str] = []
    met = 0
    for place in ("source", "host", "target"):
        answers: dict[int, bool] = {}
        for seen in events.get(place, ()):
            if seen.header:
                answers[seen.packet] = sender.is_answer(seen.header)
            is_answer = answers.get(seen.packet, False)
            if watches[place].is_ours(seen):
                reached.append(f"{place}:{seen.chain}{' (answer)' if is_answer else ''}")
                continue
            met += 1
            if seen.dropped:
                text = nftrace.rule_text(seen, places[place])
                ours = place == "host" and seen.family == "inet" and seen.table == question.table
                drops.append(
                    Drop(
                        place, seen.family, seen.table, seen.chain, seen.handle, text, is_answer=is_answer, is_ours=ours
                    )
                )
    order: Sequence[str] = [one for one in dict.fromkeys(reached) if "answer" not in one]
    order = [*order, *(one for one in dict.fromkeys(reached) if "answer" in one)]
    drops.sort(key=lambda one: one.is_answer)
    return Sent(outcome.result, outcome.reason, outcome.ms, tuple(drops), tuple(order), met, missing)


def _sizes(facts: Facts) -> Sizes | None:
    way, source = facts.way, facts.source
    if way is None or way.link in ("", "lo") or facts.published is not None:
        return None
    mtu = next((one.mtu for one in source.links if one.name == way.link), 0)
    tried = tuple(sorted({*(one for one in SIZES if one < mtu), mtu}))
    if mtu < SIZES[0] or mtu > 9000:
        return None
    try:
        found = probe.passing_sizes(facts.address, tried, source.namespace, SIZES_S)
    except OSError:
        return None
    return Sizes(tried, found.passed, found.told)
