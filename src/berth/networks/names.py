"""What people want to know of names: why one is answered as it is, who asks what, how the servers outside do.

The daemon's half of ``berth dns``. Must not: decide answers (the name server does) or change anything.
"""

import asyncio
from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from typing import Any, Final

from berth.base.aio import in_thread
from berth.base.clock import rfc3339
from berth.base.errors import InvalidArgument
from berth.base.paths import Layout
from berth.networks import hosts_files
from berth.networks.dns import inquiry, reply, report
from berth.networks.dns.client import DnsClient
from berth.networks.dns.inquiry import Try
from berth.networks.dns.model import ADDRESS
from berth.networks.dns.reply import Reply
from berth.networks.dns.report import Asked, Outside, Sums
from berth.networks.errors import NotRunning
from berth.networks.model import LiveSandbox, Tenant
from berth.networks.render import dns_names
from berth.store.base import Records
from berth.wire.networks import EndpointSettings

#: Seconds between two looks for new queries, for who follows.
FOLLOW_S: Final = 0.2


class Names:
    """Answers questions about names."""

    def __init__(
        self, layout: Layout, tenants: Records[Tenant], live: Records[LiveSandbox], dns: DnsClient | None
    ) -> None:
        self._layout = layout
        self._tenants = tenants
        self._live = live
        self._dns = dns

    # -- query

    async def query(self, container_id: str, name: str, type_name: str, *, search: bool) -> dict[str, Any]:
        """Ask a running container's own servers from inside it, and say who answered and why."""
        live = self._live.get(container_id)
        if live is None:
            raise NotRunning(container_id)
        name, qtype = _question(name, type_name)
        owner = live.shared_with or container_id
        conf = await in_thread(self._conf, owner)
        tries = await in_thread(inquiry.inquire, live.netns_path, conf, name, qtype, search=search)
        said = await self._dns.recent(owner) if self._dns is not None else []
        shown = [_try(one, _line_of(one, said)) for one in tries]
        found = tries[-1] if tries and tries[-1].is_found else None
        return {
            "Name": name,
            "Type": reply.type_name(qtype),
            "From": self._name_of(container_id),
            "Servers": conf.servers,
            "Search": conf.search,
            "Options": conf.options,
            "Found": found is not None,
            "Answers": shown[-1]["Answers"] if found else [],
            "Tries": shown,
            "Hint": "" if found else self._hint(owner, name, conf),
        }

    def _conf(self, container_id: str) -> hosts_files.ResolvConf:
        path = self._layout.container(container_id) / "resolv.conf"
        try:
            text = path.read_text(errors="replace")
        except OSError:
            text = Path("/etc/resolv.conf").read_text(errors="replace")
        return hosts_files.parse_resolv_conf(text)

    def _hint(self, container_id: str, name: str, conf: hosts_files.ResolvConf) -> str:
        """Say where a name would be known, for a name that is not found."""
        live = self._live.get(container_id)
        mine = {end.network_id for end in live.endpoints} if live else set()
        asker = self._name_of(container_id)
        wanted = name.rstrip(".").lower()
        for tenant in self._tenants.all():
            for network, settings in tenant.endpoints.items():
                if wanted not in {one.lower() for one in dns_names(tenant, settings or EndpointSettings())}:
                    continue
                theirs = self._live.get(tenant.container_id)
                if theirs is None:
                    return f"container {tenant.name} has this name, but does not run: berth start {tenant.name}"
                end = next((one for one in theirs.endpoints if one.network_name == network), None)
                if end is not None and ADDRESS not in conf.servers:
                    return (
                        f"container {tenant.name} has this name on network {network}, but {asker} does not ask the "
                        f"name server at {ADDRESS}: only networks of your own have it"
                    )
                if end is not None and end.network_id not in mine:
                    return (
                        f"container {tenant.name} has this name on network {network}, which {asker} is not on: "
                        f"berth network connect {network} {asker}"
                    )
        return ""

    def _name_of(self, container_id: str) -> str:
        tenant = self._tenants.get(container_id)
        return tenant.name if tenant is not None and tenant.name else container_id[:12]

    # -- log

    async def log(
        self, container_ids: Iterable[str], *, follow: bool, tail: int
    ) -> AsyncIterator[list[dict[str, Any]]]:
        """Yield the last queries of these containers (of all that are served, if none), then new ones as they come."""
        wanted = list(container_ids)
        seen: dict[str, int] = {}
        lines = await self._new(wanted, seen)
        yield lines[-tail:] if tail >= 0 else lines
        while follow:
            await asyncio.sleep(FOLLOW_S)
            lines = await self._new(wanted, seen)
            if lines:
                yield lines

    async def _new(self, container_ids: list[str], seen: dict[str, int]) -> list[dict[str, Any]]:
        if self._dns is None:
            return []
        found: list[tuple[int, dict[str, Any]]] = []
        for ident in container_ids or sorted(await self._dns.serving()):
            for line in await self._dns.recent(ident, seen.get(ident, 0)):
                missed = line.number - seen.get(ident, line.number - 1) - 1
                seen[ident] = line.number
                found.append((line.at_ns, self._line(ident, line, missed)))
        return [shown for _, shown in sorted(found, key=lambda pair: pair[0])]

    def _line(self, container_id: str, line: Asked, missed: int) -> dict[str, Any]:
        return {
            "Time": rfc3339(line.at_ns),
            "From": self._name_of(container_id),
            "ContainerID": container_id,
            **_said(line),
            #: Queries before this one that came and went faster than anybody looked.
            "Missed": missed,
        }

    # -- stats

    async def stats(self) -> dict[str, Any]:
        """Return numbers by network and container, and the servers outside."""
        if self._dns is None:
            return {"Networks": [], "Containers": [], "Upstreams": []}
        numbers = await self._dns.numbers()
        networks: dict[str, list[tuple[str, Sums]]] = {}
        for one in numbers:
            live = self._live.get(one.container_id)
            for end in live.endpoints if live else ():
                networks.setdefault(end.network_name, []).append((end.network_name, one))
        return {
            "Networks": [
                {"Name": name, "Containers": len(rows), **_added(name, [row for _, row in rows])}
                for name, rows in sorted(networks.items())
            ],
            "Containers": [
                {"Name": self._name_of(one.container_id), "ID": one.container_id, **_added("", [one])}
                for one in numbers
            ],
            "Upstreams": [_server(one) for one in await self._dns.servers()],
        }


def _question(name: str, type_name: str) -> tuple[str, int]:
    """Read what is asked for. An address without a type is a reverse look-up."""
    if not name:
        raise InvalidArgument("name is required")
    try:
        reverse = inquiry.reverse_name(name)
    except ValueError:
        reverse = ""
    try:
        qtype = reply.type_number(type_name or ("PTR" if reverse else "A"))
        if qtype == reply.TYPES["PTR"] and reverse:
            name = reverse + "."
        inquiry.check(name)
    except ValueError as exc:
        raise InvalidArgument(str(exc)) from None
    return name, qtype


def _line_of(one: Try, said: list[Asked]) -> Asked | None:
    """Find what the name server wrote down about a query of ours."""
    if one.server != ADDRESS:
        return None
    same = (line for line in reversed(said) if line.ident == one.ident and line.name == one.name.lower())
    return next(same, None)


def _try(one: Try, line: Asked | None) -> dict[str, Any]:
    got = one.reply
    return {
        "Name": one.name,
        "Server": one.server,
        "Code": reply.code_name(got.code) if got else "",
        "Problem": one.problem,
        "TookMs": round(one.took_s * 1000, 2),
        "Answers": _answers(got) if got else [],
        "Said": _said(line) if line else None,
    }


def _answers(got: Reply) -> list[dict[str, Any]]:
    return [
        {"Name": part.name, "TTL": part.ttl, "Type": reply.type_name(part.rtype), "Data": reply.data_text(got, part)}
        for part in got.answers
    ]


def _said(line: Asked) -> dict[str, Any]:
    return {
        "Name": line.name,
        "Type": line.type,
        "Code": line.code,
        "Answers": list(line.records),
        "TTL": line.ttl,
        "TookMs": round(line.took_us / 1000, 2),
        "By": line.kind,
        "Network": line.network,
        "Entry": line.entry,
        "Holders": list(line.holders),
        "Upstream": line.upstream,
    }


def _added(network: str, rows: list[Sums]) -> dict[str, Any]:
    """Add containers up. The names answered are those of `network`, or of all."""
    names = sum(n for row in rows for of, n in row.local.items() if not network or of == network)
    cached, stale = sum(row.cached for row in rows), sum(row.stale for row in rows)
    forwarded, failed = sum(row.forwarded for row in rows), sum(row.failed for row in rows)
    refused = sum(row.refused + row.unfit for row in rows)
    classes = [sum(column) for column in zip(*(row.classes for row in rows), strict=True)]
    return {
        "Queries": sum(sum(row.local.values()) for row in rows) + cached + stale + forwarded + failed + refused,
        "Names": names,
        "Cached": cached,
        "Stale": stale,
        "Forwarded": forwarded,
        "Failed": failed,
        "Refused": refused,
        "HalfBelowMs": report.share_below_ms(classes, 0.5),
        "MostBelowMs": report.share_below_ms(classes, 0.99),
    }


def _server(one: Outside) -> dict[str, Any]:
    state = "dead" if one.dead_in == one.worlds else "dead for some" if one.dead_in else "well"
    return {
        "Address": one.address,
        "FromHost": one.from_host,
        "State": state,
        "Asked": one.asked,
        "Answered": one.answered,
        "Failed": one.failed,
        "Silent": one.unheard,
        "UsualMs": round(one.usual_us / 1000, 2),
        "Problem": one.why,
    }
