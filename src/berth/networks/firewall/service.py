"""Watches over the engine's rules in the kernel: puts them back, lets them pass others', counts, tells.

The table is rebuilt from the copy that `kernel.nft` keeps of what was put there: no operation under way is lost.
Must not: decide what may pass (`ruleset` does) or where others leave a place (`foreign` does).
"""

import asyncio
import logging
import threading
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, Final, NamedTuple

from berth.base.aio import in_thread
from berth.base.paths import Layout
from berth.events.bus import Bus
from berth.events.model import Event
from berth.kernel import netns, nft
from berth.kernel.nftwatch import Change, Lost, Transaction, Watch
from berth.networks.firewall import compare, egress, ruleset, userchains
from berth.networks.firewall.compare import Difference
from berth.networks.firewall.passage import Passage
from berth.networks.model import NetworkRecord
from berth.networks.register import Register

log = logging.getLogger(__name__)

#: Seconds after which foreign chains are looked at though nothing was heard: the old iptables tells nobody.
LOOK_AGAIN_S: Final = 15.0
#: Least seconds between two looks: another tool may change its rules hundreds of times a second.
PAUSE_S: Final = 1.0
#: Seconds between hearing of a change and looking at it.
QUIET_S: Final = 0.01
#: The sets whose elements count what they drop → what that is.
DROPS: Final = {"closed": "unpublished", "internal": "internal", "denied": "egress"}


class Drops(NamedTuple):
    """What was dropped at a bridge for one reason, since the table was last written whole."""

    packets: int = 0
    bytes: int = 0


class Firewall:
    """The engine's rules as they are in the kernel."""

    def __init__(self, layout: Layout, register: Register, bus: Bus) -> None:
        self._table = layout.nft_table
        self._name = f"inet {layout.nft_table}"
        self._user = f"inet {userchains.table_of(layout.nft_table)}"
        self._register = register
        self._bus = bus
        self.passage = Passage(f"berth{layout.instance}", layout.nft_table)
        #: How often the table had to be put back, and why the last time.
        self.restorations = 0
        self.last_reason = ""
        #: Number of the transaction that last wrote the table whole.
        self._whole_since = 0
        #: Whether changes by others are heard of.
        self.is_watching = False
        #: When foreign chains were last looked at, by the monotonic clock.
        self._looked = 0.0
        #: Held while what stands beside the table is made or taken away.
        self._beside = threading.Lock()
        self._over = False

    # -- keeping

    def settle(self) -> None:
        """Make what stands beside the table: the owner's chains, our rule in other tools'. Blocking."""
        with self._beside:
            if not self._over:
                userchains.make(self._table)
                self.passage.keep(self._bridges())

    def dissolve(self) -> None:
        """Take away what stands beside the table, for good; rules of the owner's stay. Blocking."""
        with self._beside:
            self._over = True  # the watch, which hears of this too, is not to put it back
            self.passage.keep(())
            userchains.remove(self._table)

    def _bridges(self) -> list[str]:
        return [record.bridge for record in self._register.all() if record.bridge]

    async def watch(self) -> None:
        """Put back, for ever, what others remove, as soon as the kernel tells; run under `supervise`."""
        heard, loop = asyncio.Event(), asyncio.get_running_loop()
        watch, anchor = Watch(), _anchored(self._table)

        def listen() -> None:
            loop.add_reader(watch.fileno(), pause)

        def pause() -> None:
            # Nearly always it is a transaction of our own, under way in a thread: looked at now, it would be held up.
            loop.remove_reader(watch.fileno())
            loop.call_later(QUIET_S, heard.set)

        listen()
        try:
            await self._check()  # what was done before anybody listened
            self.is_watching = True
            next_look = time.monotonic() + LOOK_AGAIN_S
            while True:
                if await _within(heard, next_look - time.monotonic()):
                    heard.clear()
                    told = list(watch.read())
                    listen()
                    if await self._hear(told):
                        next_look = min(next_look, max(time.monotonic(), self._looked + PAUSE_S))
                if time.monotonic() >= next_look:
                    await in_thread(self.settle)
                    self._looked = time.monotonic()
                    next_look = self._looked + LOOK_AGAIN_S
        finally:
            self.is_watching = False
            loop.remove_reader(watch.fileno())
            watch.close()
            anchor.close()

    async def _hear(self, told: Sequence[Transaction | Lost]) -> bool:
        """Put back what was taken; tell whether chains of others have changed."""
        look, reasons = False, []
        for one in told:
            if isinstance(one, Lost):
                await self._check()
                look = True
                continue
            here = [change for change in one.changes if change.table == self._name and not _is_named(change)]
            if here and one.generation > self._whole_since and not await self._is_ours(one):
                reasons.append(f"{one.process} (pid {one.pid}) {_summary(here)}")
            look = look or any(_may_matter(change, self._name, self._user) for change in one.changes)
        if reasons:
            await self._put_back("; ".join(reasons))
        return look

    async def _is_ours(self, one: Transaction) -> bool:
        return nft.host().is_known_as_ours(one.generation) or await in_thread(nft.host().is_ours, one.generation)

    async def _check(self) -> None:
        if found := await in_thread(self._differences):
            await self._put_back(f"{len(found)} differences were found")

    async def _put_back(self, reason: str) -> None:
        began = time.monotonic()
        elements, self._whole_since = await in_thread(nft.host().restore)
        took_ms = (time.monotonic() - began) * 1e3
        self.restorations += 1
        self.last_reason = reason
        log.warning("table %s: %s; put back whole, with %d elements, in %.0f ms", self._name, reason, elements, took_ms)
        attributes = {"name": self._table, "reason": reason, "elements": str(elements)}
        self._bus.publish(Event(type="daemon", action="firewall-restored", actor_id=self._table, attributes=attributes))

    async def reload(self) -> int:
        """Write the table anew, whole, and look at foreign chains again; return how many elements it has."""
        elements, self._whole_since = await in_thread(nft.host().restore)
        await in_thread(self.settle)
        log.info("table %s: written anew with %d elements", self._name, elements)
        return elements

    # -- telling

    def _differences(self) -> list[Difference]:
        command = f"list table {self._name}"
        with nft.host().at_rest() as mirror:
            copy = mirror.tables.get(self._name)
            if copy is None:
                return []
            expected = copy.text(self._name)
            try:
                actual = nft.run_once(command)
            except nft.FirewallRefused:
                actual = ""
        found = compare.differences(netns.apart(_load_and_list, expected, command), actual)
        named = [f"set {name}" for name in ruleset.NAMED]
        return [one for one in found if one.kind == "missing" or one.where not in named]

    async def differences(self) -> list[Difference]:
        """Return what the kernel has not, or has and should not."""
        return await in_thread(self._differences)

    def counters(self) -> dict[str, dict[str, Drops]]:
        """Return what was dropped: bridge → reason (unpublished, internal, egress) → count. Blocking, cheap."""
        found: dict[str, dict[str, Drops]] = {}
        for where, reason in DROPS.items():
            for element in _elements(nft.listed(f"set {self._name} {where}")):
                counted = element.get("counter") or {}
                drops = Drops(counted.get("packets", 0), counted.get("bytes", 0))
                found.setdefault(str(element["val"]), {})[reason] = drops
        return found

    async def status(self) -> dict[str, Any]:
        """Return what is ours, what stands in the way, what was done about it, and what was dropped."""
        return await in_thread(self._status)

    def _status(self) -> dict[str, Any]:
        self.passage.keep(self._bridges())
        copy = nft.host().mirror.tables.get(self._name)
        names = {record.bridge: record.name for record in self._register.all() if record.bridge}
        return {
            "Table": self._name,
            "Watching": self.is_watching,
            "Elements": {where: len(pairs) for where, pairs in sorted(copy.elements.items())} if copy else {},
            "UserTable": self._user,
            "UserChains": sorted(userchains.CHAINS),
            "Restorations": self.restorations,
            "LastReason": self.last_reason,
            "Foreign": [
                {
                    "Chain": one.chain.where,
                    "Drops": one.chain.drops,
                    "Place": one.place.where if one.place else "",
                    "Command": one.command,
                }
                for one in self.passage.verdicts
            ],
            "Drops": {
                names.get(bridge, bridge): {reason: drops._asdict() for reason, drops in reasons.items()}
                for bridge, reasons in sorted(self.counters().items())
            },
        }

    async def policy(self, record: NetworkRecord) -> dict[str, Any]:
        """Return what a network may reach outside, and how often it was refused."""
        wanted = egress.parse(record.options)
        drops = (await in_thread(self.counters)).get(record.bridge, {})
        return {
            "Network": record.name,
            "Egress": "deny" if wanted.deny else "allow",
            "Allow": egress.entries(record.options),
            "Destinations": list(egress.destinations(wanted.allowed)),
            "Drops": {reason: count._asdict() for reason, count in drops.items()},
        }

    def warnings(self) -> list[str]:
        """Return what the machine's owner should do, as ``info`` shows it."""
        return [
            f"WARNING: chain {one.chain.where} ({one.chain.drops}) stops containers' traffic; run: {one.command}"
            for one in self.passage.verdicts
            if one.place is None
        ]


def _anchored(table: str) -> nft.Nft:
    """Hold on to address translation itself while rules are flushed; close what is returned to let go.

    With its last rule the kernel takes its translation off the packets' way, and packets of connections that were
    translated reach the host's own ports, which reset them. A table that belongs to this process (5.12) cannot be
    flushed by another, and goes with the process.
    """
    context = nft.Nft()
    name = f"inet {table.replace('berth', 'berth-anchor', 1)}"
    try:
        context.run(ruleset.anchor(name))
    except nft.FirewallRefused as refusal:
        log.info("table %s: %s: connections may break while others flush all rules", name, refusal)
    return context


async def _within(heard: asyncio.Event, seconds: float) -> bool:
    try:
        async with asyncio.timeout(max(seconds, 0)):
            await heard.wait()
    except TimeoutError:
        return False
    return True


def _is_named(change: Change) -> bool:
    """Tell whether it is the name server that fills its sets."""
    return change.kind == "element" and change.name in ruleset.NAMED


def _may_matter(change: Change, own: str, user: str) -> bool:
    """Tell whether a change may open or close a way through others' chains, or takes the owner's chains away."""
    return change.table == user or (change.kind in ("table", "chain", "rule") and change.table != own)


def _summary(changes: Iterable[Change]) -> str:
    """Say in words what was changed: the table if that, else kinds and how many."""
    counted = Counter((change.verb, change.kind) for change in changes)
    if ("delete", "table") in counted:
        return "deleted it"
    past = {"add": "added", "delete": "deleted"}
    return ", ".join(
        f"{past[verb]} {count} {kind}{'s' if count > 1 else ''}" for (verb, kind), count in counted.items()
    )


def _load_and_list(load: str, command: str) -> str:
    nft.run_once(load)
    return nft.run_once(command)


def _elements(rows: Iterable[dict[str, Any]]) -> Iterable[dict[str, Any]]:
    for row in rows:
        for one in row.get("set", {}).get("elem", ()):
            yield one["elem"]
