"""Networks in the kernel: made, unmade, and made equal to the records when an engine starts.

What is made is recorded in the same breath, so that an engine that is killed finds both or neither.
Must not: decide what a network is, or know containers but for the rules that lead to them.
"""

import logging
from collections.abc import Sequence

from berth.base.aio import in_thread
from berth.base.config import Config
from berth.base.errors import EngineError
from berth.base.paths import Layout
from berth.kernel import link, netns, nft
from berth.networks import forwarding
from berth.networks.drivers.base import NetworkDriver, Seen, SeenLink
from berth.networks.drivers.registry import REMOTE, driver_of
from berth.networks.firewall import ruleset
from berth.networks.firewall.ruleset import BridgePolicy
from berth.networks.linking import Linking
from berth.networks.model import LiveSandbox, NetworkRecord, alias_mark, bridge_name
from berth.networks.options import BRIDGE_NAME
from berth.networks.ports.publishing import forwards
from berth.networks.reaper import Reaper
from berth.networks.register import Register
from berth.plan.model import Planned
from berth.plan.run import Runner
from berth.plan.steps.link import RetireBridge
from berth.plan.steps.nft import NftTransaction
from berth.store.base import Records

log = logging.getLogger(__name__)


class Building:
    """The kernel's side of networks."""

    def __init__(
        self,
        *,
        layout: Layout,
        networks: Records[NetworkRecord],
        live: Records[LiveSandbox],
        runner: Runner,
        register: Register,
        linking: Linking,
        reaper: Reaper,
        config: Config,
    ) -> None:
        self._layout = layout
        self._networks = networks
        self._live = live
        self._runner = runner
        self._register = register
        self._linking = linking
        self._reaper = reaper
        self._config = config

    async def make(self, record: NetworkRecord) -> None:
        """Make a network and record it, or leave nothing of it."""
        if BRIDGE_NAME in record.options:  # a network of that bridge may just have been removed
            await self._reaper.flush()
        driver = driver_of(record)
        # What is named after an id just made is not there yet.
        is_new = record.bridge == bridge_name(record.id)
        seen = {} if is_new else await in_thread(_look, driver, record)
        record = driver.settled(self._layout, record, seen)
        plan = driver.plan_network(self._layout, record, seen)
        if driver.traits.foreign:
            plan += REMOTE.plan_first(record)
        table, policy = self._layout.nft_table, self.policy(record)
        if policy is not None:
            if record.enable_ipv6 or not forwarding.is_on():  # somebody may have switched it off since the start
                await in_thread(forwarding.switch_on, ipv6=record.enable_ipv6, allowed=self._config.ip_forward)
            rules = NftTransaction(ruleset.add_bridge(table, policy), ruleset.remove_bridge(table, policy))
            plan += (Planned(rules, f"what network {record.name} may do"),)
        async with self._runner.until_recorded(plan, record.id):
            await self._networks.put(record.id, record)
        self._register.add(record)

    def unmake(self, record: NetworkRecord) -> tuple[str, ...]:
        """Take a network's rules away and its links; return the bridges whose slow deletion is to come. Blocking."""
        driver = driver_of(record)
        policy = self.policy(record)
        if policy is not None:
            nft.host().run(ruleset.remove_bridge(self._layout.nft_table, policy))
        plan = driver.plan_unmake(self._layout, record, self._register.claimed())
        self._runner.run_blocking(plan)
        return tuple(planned.step.name for planned in plan if isinstance(planned.step, RetireBridge))

    def policy(self, record: NetworkRecord) -> BridgePolicy | None:
        """Return what a network's bridge may do, by its own options and the engine's settings; None for no bridge."""
        policy = driver_of(record).policy(record)
        return policy and policy._replace(direct=self._config.allow_direct_routing)

    def rebuild(self, alive: set[str]) -> None:
        """Make links and rules what the records say, with those that lead to containers `alive`. Blocking."""
        self._layout.namespaces.mkdir(parents=True, exist_ok=True)
        records = self._register.all()
        policies = {record.id: policy for record in records if (policy := self.policy(record))}
        six = any(record.enable_ipv6 for record in records if record.id in policies)
        forwarding.switch_on(ipv6=six, allowed=self._config.ip_forward)
        for record in records:
            driver = driver_of(record)
            try:
                self._runner.run_blocking(driver.plan_network(self._layout, record, _look(driver, record)))
            except EngineError as exc:  # a parent that is gone, say: the other networks come up all the same
                log.warning("network %s cannot be used: %s", record.name, exc)
        keep = [one for one in self._live.all() if one.container_id in alive]
        leads = [one for sandbox in keep for one in forwards(sandbox.endpoints, sandbox.published)]
        opened = ruleset.link(self._layout.nft_table, self._linking.opened(alive))
        nft.host().run(ruleset.whole(self._layout.nft_table, policies.values(), leads) + opened)
        link.reap(self._reaper.group)
        self._sweep(records)

    def _sweep(self, records: Sequence[NetworkRecord]) -> None:
        """Remove what carries our mark and belongs to no record."""
        known = {name for record in records for name in (*driver_of(record).owned_links(record), record.bridge)}
        ours = {end.host_link for sandbox in self._live.all() for end in sandbox.endpoints}
        mark, prefix = alias_mark(self._layout), self._layout.veth_prefix
        for one in link.links():
            if (one.alias.startswith(mark) and one.name not in known) or (
                one.name.startswith(prefix) and one.kind == "veth" and one.name not in ours
            ):
                log.warning("removing link %s: nothing of ours needs it", one.name)
                link.delete(one.name)
        pinned = {sandbox.netns_path for sandbox in self._live.all()}
        for path in self._layout.namespaces.iterdir():
            if str(path) not in pinned:
                log.warning("removing namespace %s: no container of ours needs it", path.name)
                netns.remove(str(path))

    def dissolve(self) -> None:
        """Remove every link of every network, and leave bridges of their owners as they were. Blocking."""
        for record in self._register.all():
            for name in driver_of(record).owned_links(record):
                link.delete(name)
            if record.adopted_bridge:
                link.leave(record.bridge, record.lent_addresses, record.led_loopback)


def _look(driver: NetworkDriver, record: NetworkRecord) -> Seen:
    found = link.look_up(driver.looks_at(record))
    return {
        name: SeenLink(one.kind, one.alias, link.addresses_of(one), link.leads_loopback(name))
        for name, one in found.items()
    }
