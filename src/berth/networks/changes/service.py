"""The use case "change a network that is in use": its containers stay connected and follow.

All or nothing: one plan for bridge, containers, rules, and a note of what follows; then the records; then files, names,
the proxy, the event. Killed before the note, the change is undone; after it, the next engine writes it down.
While it runs nobody joins, leaves or starts.
"""

import logging
from collections.abc import Awaitable, Callable

import msgspec

from berth.base.aio import finish, in_thread
from berth.base.paths import Layout
from berth.networks.attachments import Attachments
from berth.networks.changes import notes, revise
from berth.networks.changes.follow import Follower
from berth.networks.changes.notes import Change
from berth.networks.changes.planning import Move, Policy, plan_change
from berth.networks.errors import NetworkNameTaken
from berth.networks.model import LiveSandbox, NetworkRecord, Tenant
from berth.networks.ports.publishing import publisher
from berth.networks.register import Register
from berth.plan.run import Runner
from berth.store.base import Records
from berth.wire.network_changes import NetworkUpdate

log = logging.getLogger(__name__)


class Changer:
    """Changes networks that are there."""

    def __init__(
        self,
        layout: Layout,
        networks: Records[NetworkRecord],
        register: Register,
        attachments: Attachments,
        runner: Runner,
        creating: set[str],
        settled: Callable[[NetworkRecord, NetworkRecord], Awaitable[None]],
        policy: Policy,
    ) -> None:
        """Names in `creating` are taken already; `settled` is told of each network, before and after its change.

        `policy` tells what a network's bridge may do.
        """
        self._layout = layout
        self._networks = networks
        self._register = register
        self._attachments = attachments
        self._runner = runner
        self._creating = creating
        self._settled = settled
        self._policy = policy

    async def update(self, ref: str, want: NetworkUpdate) -> NetworkRecord:
        """Change what a network is. Raises what `revise.revised` does, `PoolOverlaps` and what a plan raises."""
        async with self._attachments.sharing.alone():
            old = self._register.find(ref)
            new = revise.revised(old, want)
            if new != old:
                await finish(self._change(old, new))
        return new

    async def rename(self, ref: str, name: str) -> None:
        """Give a network another name. Raises `NetworkNameTaken`."""
        async with self._attachments.sharing.alone():
            old = self._register.find(ref)
            new = revise.renamed(old, name)
            if self._register.named(name) is not None or name in self._creating:
                raise NetworkNameTaken(name)
            self._creating.add(name)
            try:
                await finish(self._change(old, new))
            finally:
                self._creating.discard(name)

    async def resume(self) -> bool:
        """Write down what an engine that was killed had done; return whether there was anything."""
        changes = await in_thread(lambda: list(notes.left(self._layout.changes)))
        for change in changes:
            log.warning("network %s: writing down a change that an earlier engine made", change.new.name)
            if self._networks.get(change.new.id) is not None:
                await self._networks.put(change.new.id, change.new)
            await self._attachments.following.write_down(change.tenants, change.lives, anew=False)
            await self._attachments.following.readdress(change.tenants, change.lives)
            await self._forget(change)
        return bool(changes)

    async def _change(self, old: NetworkRecord, new: NetworkRecord) -> None:
        follower = Follower(old, new)
        tenants = [(one, follower.tenant(one)) for one in self._attachments.tenants_on(old)]
        running = {tenant.container_id: tenant for _, tenant in tenants}
        lives = [one for one in self._attachments.lives() if one.on(old.id) is not None]
        moves = [
            Move(
                running.get(live.container_id) or self._attachments.tenant(live.container_id),
                live,
                follower.live(live, lambda ident: _has_own_mac(running.get(ident), new.name)),
            )
            for live in lives
        ]
        claimed: list[LiveSandbox] = []
        self._register.claim_instead(old, new)
        try:
            moves = [self._with_ports(move, claimed) for move in moves]
            change = Change(old, new, tuple(tenants), tuple((move.before, move.after) for move in moves))
            await self._carry_out(change, moves)
        except BaseException:
            self._register.claim_instead(new, old)
            for live in claimed:
                self._attachments.release_ports(live)
            raise
        self._register.change(old, new, change.tenants, change.lives)
        try:
            await self._attachments.following.readdress(change.tenants, change.lives)
        finally:
            await self._forget(change)
        await self._attachments.following.follow([(move.tenant, move.before, move.after) for move in moves])
        await self._settled(old, new)

    async def _carry_out(self, change: Change, moves: list[Move]) -> None:
        plan = plan_change(self._layout.nft_table, change.old, change.new, moves, self._policy)
        undo = await self._runner.run((*plan, notes.planned(self._layout.changes, change)))
        try:
            await self._networks.put(change.new.id, change.new)
            await self._attachments.following.write_down(change.tenants, change.lives)
        except BaseException:
            await in_thread(self._runner.apply_all, undo)
            if self._networks.get(change.new.id) == change.new:
                await self._networks.put(change.old.id, change.old)
            await self._attachments.following.write_back(change.tenants, change.lives)
            raise

    async def _forget(self, change: Change) -> None:
        await in_thread(notes.drop, self._layout.changes, change)

    def _with_ports(self, move: Move, claimed: list[LiveSandbox]) -> Move:
        """Return the move with the ports published afterwards: none without a way out, those wanted with a new one."""
        after = move.after
        if publisher(after.endpoints) is None:
            after = msgspec.structs.replace(after, published=())
        elif not after.published and publisher(move.before.endpoints) is None:
            ports = self._attachments.claim_ports(move.tenant, after.endpoints)
            after = msgspec.structs.replace(after, published=ports)
            if ports:
                claimed.append(after)
        return move._replace(after=after)


def _has_own_mac(tenant: Tenant | None, network: str) -> bool:
    settings = tenant.endpoints.get(network) if tenant else None
    return bool(settings and settings.mac_address)
