"""The use case "why does A not reach B": snapshot of the records → facts → verdict. Changes nothing."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

from berth.base.aio import in_thread
from berth.base.errors import InvalidArgument
from berth.base.paths import Layout
from berth.base.units import MAX_PORT
from berth.networks.dns.model import Upstream
from berth.networks.explain.gather import Question, gather, is_address
from berth.networks.explain.judge import judge
from berth.networks.explain.known import Entry, Known, Subject
from berth.networks.explain.model import Facts, Verdict
from berth.networks.model import LiveSandbox, Tenant
from berth.networks.register import Register
from berth.store.base import Records

PROTOCOLS: Final = ("tcp", "udp", "icmp")


class Explainer:
    """Traces paths between containers, the host and outside."""

    def __init__(
        self,
        layout: Layout,
        tenants: Records[Tenant],
        live: Records[LiveSandbox],
        register: Register,
        upstreams: Callable[[Tenant, LiveSandbox], tuple[Upstream, ...]],
        *,
        names_on_default: bool = False,
    ) -> None:
        self._names_on_default = names_on_default
        self._layout = layout
        self._tenants = tenants
        self._live = live
        self._register = register
        self._upstreams = upstreams

    async def trace(
        self, source: Subject | None, target: str, protocol: str, containers: Iterable[Subject],
        find: Callable[[str], Subject | None],
    ) -> tuple[Facts, Verdict]:  # fmt: skip
        """Find out whether `source` (None is the host) reaches ``NAME[:PORT]``. Raises `InvalidArgument`."""
        asked, port = split_target(target)
        protocol = protocol or ("tcp" if port else "icmp")
        if protocol not in PROTOCOLS:
            raise InvalidArgument(f"invalid protocol {protocol!r}: it is one of {', '.join(PROTOCOLS)}")
        if protocol == "icmp":
            port = 0
        elif not port:
            raise InvalidArgument(f"{protocol} needs a port: {asked}:PORT")
        entries = [
            Entry(one, self._tenants.get(one.id) or Tenant(one.id, one.name, mode="none"), self._live.get(one.id))
            for one in containers
        ]
        known = Known(entries, self._register, names_on_default=self._names_on_default)
        question = self._question(source, (asked, port, protocol), find(asked), known)
        facts = await in_thread(gather, question, known)
        return facts, judge(facts)

    def _question(
        self, source: Subject | None, target: tuple[str, int, str], named: Subject | None, known: Known
    ) -> Question:
        hosts, resolv_conf = Path("/etc/hosts"), Path("/etc/resolv.conf")
        upstreams: tuple[Upstream, ...] = ()
        if source is not None:
            directory = self._layout.container(known.hosts_owner(source))
            hosts, resolv_conf = directory / "hosts", directory / "resolv.conf"
            live = self._live.get(known.hosts_owner(source))
            tenant = self._tenants.get(known.hosts_owner(source))
            if live is not None and tenant is not None and live.has_dns:
                upstreams = self._upstreams(tenant, live)
        return Question(source, *target, named, hosts, resolv_conf, upstreams, self._layout.nft_table)


def split_target(text: str) -> tuple[str, int]:
    """Split ``NAME[:PORT]`` or ``[IPV6]:PORT``; 0 is no port. Raises `InvalidArgument`."""
    if text.startswith("["):
        name, closed, rest = text[1:].partition("]")
        if not closed or not is_address(name) or (rest and not rest.startswith(":")):
            raise InvalidArgument(f"invalid target {text!r}: it is NAME[:PORT], ADDRESS[:PORT] or [IPV6]:PORT")
        port = rest[1:]
    elif text.count(":") > 1 and is_address(text):
        name, port = text, ""
    else:
        name, _, port = text.partition(":")
    if not name:
        raise InvalidArgument("no target: it is NAME[:PORT], ADDRESS[:PORT] or [IPV6]:PORT")
    if not port and not text.endswith(":"):
        return name, 0
    if not port.isascii() or not port.isdecimal() or not 0 < int(port) <= MAX_PORT:
        raise InvalidArgument(f"invalid port {port!r}: it is a number from 1 to {MAX_PORT}")
    return name, int(port)
