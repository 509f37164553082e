"""Containers in another's namespace: how they come in, who owns it when the owner changes, when it goes.

Who is in a namespace is read off the records of what runs (`berth.networks.shared`), and off `_claimed`: those who
are about to be in it and have no record yet. Must not: open or close attachments.
"""

import contextlib
from collections.abc import Callable, Iterable, Iterator

import msgspec

from berth.base.aio import KeyedLocks, in_thread
from berth.base.paths import Layout
from berth.networks import sandboxes, shared
from berth.networks.errors import CannotJoin, NotRunning
from berth.networks.model import LiveSandbox, Tenant
from berth.networks.reaper import Reaper
from berth.store.base import Records


class Joining:
    """Shared namespaces."""

    def __init__(
        self,
        layout: Layout,
        tenants: Records[Tenant],
        live: Records[LiveSandbox],
        reaper: Reaper,
        locks: KeyedLocks,
        find: Callable[[str], Tenant | None],
    ) -> None:
        """Work on the records and under the locks of the containers' attachments; `find` looks one up by id or name."""
        self._layout = layout
        self._tenants = tenants
        self._live = live
        self._reaper = reaper
        self._locks = locks
        self._find = find
        #: Namespaces that someone is about to be in.
        self._claimed: list[str] = []

    async def join(self, tenant: Tenant) -> tuple[str, str]:
        """Put a container into another's namespace; return its path (empty for the host's) and whose files it has.

        Raises `NotRunning` if the owner does not run, as Docker does, though others may be in its namespace still.
        """
        ref = tenant.mode.partition(":")[2]
        owner = self._find(ref) or (self._find(tenant.joins) if tenant.joins else None)
        if owner is None:
            raise CannotJoin(f"No such container: {ref}")
        if owner.container_id == tenant.container_id:
            raise CannotJoin("cannot join own network namespace")
        live = self._live.get(owner.container_id)
        if live is None:
            raise NotRunning(owner.container_id)
        # one that is in a third's namespace itself: whatever becomes of it, the third is the owner
        mine = LiveSandbox(
            tenant.container_id,
            live.sandbox_id,
            live.netns_path,
            shared_with=live.shared_with or owner.container_id,
            shared_name=live.shared_name or owner.name,
        )
        with self.held(live.netns_path):
            theirs = self._layout.container(mine.shared_with)
            await in_thread(sandboxes.share_files, theirs, self._layout.container(tenant.container_id))
            await self._live.put(tenant.container_id, mine)
        return live.netns_path, mine.shared_with

    def waiting_for(self, tenant: Tenant) -> list[LiveSandbox]:
        """Return the containers left in the namespace that a starting container is to have again."""
        ident, name = tenant.container_id, tenant.name
        return shared.waiting_for(self._live.all(), ident, name, lambda one: self._tenants.get(one) is not None)

    def left_by(self, live: LiveSandbox) -> bool:
        """Tell whether others stay in a namespace when its owner ends."""
        return bool(shared.joiners(self._live.all(), live))

    async def take_files(self, container_id: str, left: Iterable[LiveSandbox]) -> None:
        """Let an owner made anew write to the files that those in its namespace see: they were its predecessor's."""
        for one in left:
            if one.shared_with != container_id:
                theirs = self._layout.container(one.container_id)
                await in_thread(sandboxes.share_files, theirs, self._layout.container(container_id))
                return

    async def hand_over(self, owner: Tenant, left: Iterable[LiveSandbox]) -> None:
        """Make a container, under its present name, the owner of the namespace that others are in."""
        for one in left:
            async with self._locks.hold(one.container_id):
                live, joiner = self._live.get(one.container_id), self._tenants.get(one.container_id)
                if live is None or joiner is None:
                    continue
                live = msgspec.structs.replace(live, shared_with=owner.container_id, shared_name=owner.name)
                await self._live.put(one.container_id, live)
                joiner = msgspec.structs.replace(joiner, mode=f"container:{owner.container_id}", joins=owner.name)
                await self._tenants.put(one.container_id, joiner)

    def joined(self, container_id: str) -> list[LiveSandbox]:
        """Return the containers in a container's namespace."""
        return [one for one in self._live.all() if one.shared_with == container_id]

    @contextlib.contextmanager
    def held(self, namespace: str) -> Iterator[None]:
        """Keep a namespace for someone who is about to be in it, and let it go if nobody is in it after all."""
        self._claimed.append(namespace)
        try:
            yield
        finally:
            self._claimed.remove(namespace)
            self.let_go(namespace)

    def let_go(self, namespace: str) -> None:
        """Remove a namespace if nobody is in it or about to be."""
        if namespace and namespace not in self._claimed and not shared.is_used(self._live.all(), namespace):
            self._reaper.put(namespaces=[namespace])
