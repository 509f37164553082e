"""Makes an image of what a container has changed (``docker commit``).

The layer is what ``docker diff`` lists: the writable layer without what the engine put there itself. A running
container is paused while it is packed, unless it is wished otherwise, and goes on whatever happens, also if the engine
is killed (the journal of holds is `berth.volumes.consistency`'s). One that does not run cannot be started meanwhile.
Must not: know how an image is stored.
"""

import json
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

import msgspec

from berth.base.aio import KeyedLocks, finish, in_thread
from berth.base.errors import Conflict
from berth.base.ids import ImageId, new_id
from berth.base.paths import Layout
from berth.containers.announce import Announce
from berth.containers.launch import ENGINES_OWN
from berth.containers.model import ContainerRecord
from berth.containers.quiet import Quieting
from berth.containers.service import Containers
from berth.containers.states import State
from berth.images import pack
from berth.images.changes import apply_changes
from berth.images.committing import Committed, WriteLayer
from berth.images.reference import Reference, parse_reference
from berth.kernel import layerdiff, process
from berth.volumes.consistency.journal import Entry, HoldJournal
from berth.volumes.consistency.model import FREEZE_LIMIT_S
from berth.wire.containers import ContainerConfig
from berth.wire.images import ImageConfig

#: How long packing may take, in seconds: tens of gigabytes on slow disks.
_PACK_LIMIT_S: Final = 6 * 3600.0


class NotCommittable(Conflict):
    """The container is on its way out."""

    def __init__(self, ident: str, how: str) -> None:
        super().__init__(f"You cannot commit container {ident} which is {how}")


class NotPausable(Conflict):
    """Its processes would not freeze."""

    def __init__(self, name: str) -> None:
        super().__init__(
            f"container {name} cannot be paused: its processes were not all frozen within {FREEZE_LIMIT_S:g} s "
            "(one may hang in the kernel). Stop it, or commit it as it runs: docker commit --pause=false"
        )


class Images(Protocol):
    """What is needed of images."""

    async def commit(
        self, parent_id: str, write_layer: WriteLayer, said: Committed, target: Reference | None = None
    ) -> ImageId:
        """Make an image of another and a layer."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What a client asks for; `config` in place of the container's own."""

    repository: str = ""
    tag: str = ""
    author: str = ""
    comment: str = ""
    changes: Sequence[str] = ()
    pause: bool = True
    config: ContainerConfig | None = None


class Commits:
    """Makes images of containers."""

    def __init__(
        self,
        *,
        layout: Layout,
        containers: Containers,
        images: Images,
        quieting: Quieting,
        journal: HoldJournal,
        turns: KeyedLocks,
        announce: Announce,
    ) -> None:
        self._layout = layout
        self._containers = containers
        self._images = images
        self._quieting = quieting
        self._journal = journal
        self._turns = turns
        self._announce = announce

    async def commit(self, ref: str, wish: Wish) -> ImageId:
        """Make an image; raises `NoSuchContainer`, `NotCommittable`, `InvalidReference`, `BadChange`."""
        record = self._containers.find(ref)
        if record.state in (State.DEAD, State.REMOVING):
            raise NotCommittable(record.id, "Dead" if record.state is State.DEAD else "being removed")
        target = _target(wish)
        config = image_config(wish.config or record.config, record.config, wish.changes)

        async def write(tar: Path) -> bool:
            async with self._held(record, pause=wish.pause):
                return await self._write(record, tar)

        said = Committed(
            config=config,
            created_by=" ".join(record.config.cmd or ()),
            author=wish.author,
            comment=wish.comment,
            container=record.id,
        )
        ident = await self._images.commit(record.image_id, write, said, target)
        named = {"imageRef": target.familiar} if target else {}
        self._announce(record, "commit", comment=wish.comment, imageID=ident, **named)
        return ident

    async def _write(self, record: ContainerRecord, tar: Path) -> bool:
        upper = str(self._layout.container(record.id) / "diff")
        changed = await in_thread(layerdiff.changes, upper, record.layers, ENGINES_OWN)
        if not changed:
            return False
        listed = tar.with_name("paths.json")
        paths = json.dumps([path.lstrip("/") for path, _ in changed])  # names need not be UTF-8
        await in_thread(listed.write_text, paths)
        argv = (sys.executable, "-I", "-S", pack.__file__, upper, str(tar), str(listed))
        await process.run(process.ending_with_us(argv), timeout_s=_PACK_LIMIT_S)
        return True

    @asynccontextmanager
    async def _held(self, record: ContainerRecord, *, pause: bool) -> AsyncIterator[None]:
        """Keep the container as it is."""
        async with AsyncExitStack() as held:
            if pause:
                # Another operation that has paused it must not let it go on meanwhile, nor we in the midst of that.
                await held.enter_async_context(self._turns.hold(record.id))
            state = self._containers.find(record.id).state
            if state is State.RUNNING and pause:
                await held.enter_async_context(self._paused(record))
            elif state not in (State.RUNNING, State.PAUSED, State.RESTARTING):
                await held.enter_async_context(self._containers.still([record.id]))
            yield

    @asynccontextmanager
    async def _paused(self, record: ContainerRecord) -> AsyncIterator[None]:
        hold = new_id()[:16]
        await in_thread(self._journal.write, hold, Entry(what="commit", paused=(record.id,)))
        try:
            try:
                await self._quieting.freeze(record.id, FREEZE_LIMIT_S)
            except TimeoutError:
                raise NotPausable(record.name) from None
            yield
        finally:
            await finish(self._let_go(hold, record.id))

    async def _let_go(self, hold: str, ident: str) -> None:
        await self._quieting.thaw(ident)
        await in_thread(self._journal.drop, hold)


def _target(wish: Wish) -> Reference | None:
    if not wish.repository:
        return None
    reference = parse_reference(wish.repository)
    return reference.with_tag(wish.tag) if wish.tag else reference.or_latest()


def image_config(wanted: ContainerConfig, own: ContainerConfig, changes: Sequence[str]) -> dict[str, Any]:
    """Return what an image keeps of a container's configuration, instructions carried out.

    Where a client sends a configuration, the container's own fills what it leaves out, as in moby's daemon/commit.go.
    """
    names = {field.encode_name for field in msgspec.structs.fields(ImageConfig)}
    mine = {key: value for key, value in msgspec.to_builtins(own).items() if key in names and value}
    if wanted is own:
        return apply_changes(mine, changes)
    given = {key: value for key, value in msgspec.to_builtins(wanted).items() if key in names and value}
    made = apply_changes(given, changes)
    for key in ("ExposedPorts", "Labels", "Volumes"):
        made[key] = (mine.get(key) or {}) | (made.get(key) or {})
    have = {item.partition("=")[0] for item in made.get("Env") or ()}
    made["Env"] = [
        *(made.get("Env") or ()),
        *(one for one in mine.get("Env") or () if one.partition("=")[0] not in have),
    ]
    if made.get("Entrypoint"):
        mine.pop("Cmd", None)
    return {key: value for key, value in (mine | {k: v for k, v in made.items() if v}).items() if value}
