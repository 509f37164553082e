"""The use cases of images; what handlers and containers call.

`catalogue` knows names, `storage` what lies on disk, `skopeo` copies; this module joins them, publishes events and
never lets an image go while a container is on it.
"""

import platform as machine
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from berth.base.aio import KeyedLocks, Tasks
from berth.base.clock import Clock, SystemClock
from berth.base.errors import InvalidArgument
from berth.base.ids import ImageId, is_full_id
from berth.base.paths import Layout
from berth.base.units import parse_duration_ns
from berth.events.bus import Bus
from berth.events.model import Event
from berth.images import present
from berth.images.archives import Archives
from berth.images.catalogue import Catalogue
from berth.images.committing import Committing
from berth.images.intake import Intake
from berth.images.manifest import Platform, machine_platform, parse_time_ns
from berth.images.model import ImageRecord, TagRecord
from berth.images.recipes.service import Recipes
from berth.images.reference import Reference, parse_reference
from berth.images.removal import plan_removal
from berth.images.skopeo import Skopeo
from berth.images.storage import Storage
from berth.images.transfers import Transfers
from berth.store.base import Records
from berth.wire.filters import Filters

#: Who is on an image: container id and whether it runs.
InUse = Callable[[ImageId], list[tuple[str, bool]]]


class Images:
    """All that can be done with images."""

    def __init__(
        self,
        layout: Layout,
        tags: Records[TagRecord],
        bus: Bus,
        in_use: InUse,
        *,
        clock: Clock | None = None,
        environment: Mapping[str, str] | None = None,
        insecure_registries: Collection[str] = (),
        mirrors: Sequence[str] = (),
    ) -> None:
        self._layout = layout
        self._bus = bus
        self._in_use = in_use
        self._clock = clock or SystemClock()
        self._storage = Storage(layout.images)
        self._catalogue = Catalogue(self._storage, tags, self._clock)
        skopeo = Skopeo(layout, environment=environment or {}, insecure_registries=insecure_registries, mirrors=mirrors)
        self._locks = KeyedLocks()
        self._tasks = Tasks()
        self.platform: Platform = machine_platform(machine.machine())
        intake = Intake(layout, self._storage, skopeo, self._locks, self._clock)
        self._transfers = Transfers(layout, self._catalogue, intake, self._tasks, self._publish, self.platform)
        self._archives = Archives(layout, self._catalogue, intake, self._clock, self._publish, self.platform)
        self._recipes = Recipes(
            layout, self._catalogue, intake, self._clock, self._tasks, self._publish, environment or {}, self._let_go
        )
        self.pull = self._transfers.pull
        self.pull_all = self._transfers.pull_all
        self.push = self._transfers.push
        self.distribution = self._transfers.distribution
        self.login = self._transfers.login
        self.load = self._archives.load
        self.save = self._archives.save
        self.import_ = self._archives.import_
        self.commit = Committing(layout, self._catalogue, intake, self._clock, self._publish).commit
        self.bootstrap = self._recipes.bootstrap
        self.recipes = self._recipes.names

    async def adopt(self) -> None:
        """Tidy up after an engine that was killed."""
        await self._storage.adopt()
        await self._catalogue.tidy()

    async def close(self) -> None:
        """Stop transfers and builds under way, and wait until the disk has what has arrived."""
        await self._tasks.close()
        await self._storage.close()

    # Looking

    def resolve(self, ref: str) -> ImageRecord:
        """Return the image that a name, identifier or prefix means; raises `ImageNotFound`, `InvalidReference`."""
        return self._catalogue.resolve(ref)

    def by_id(self, ident: str) -> ImageRecord | None:
        """Return the image with exactly this identifier, or None."""
        return self._catalogue.by_id(ident)

    def identify(self, ref: str) -> str:
        """Return the identifier of the image that a name, identifier or prefix means; raises `ImageNotFound`."""
        return self._catalogue.resolve(ref).id

    def lowers(self, image_id: str) -> tuple[str, ...]:
        """Return the directories of an image's layers, topmost first; raises `ImageNotFound`."""
        return self._catalogue.resolve(image_id).layers

    def all_ids(self) -> list[str]:
        """Return the identifiers of all images."""
        return list(self._storage.images)

    async def layers_size(self) -> int:
        """Return the bytes all layers take, shared ones counted once."""
        return self._storage.layer_bytes()

    def listing(
        self, filters: Filters, *, shared_size: bool = False, version: tuple[int, int] = (1, 44)
    ) -> list[dict[str, Any]]:
        """Return the list of images as the API shows it in a version, newest first."""
        filters.only(present.LIST_FILTERS)
        chosen = present.selected(self._catalogue.all(), filters, resolve=self.resolve, until_ns=self._until(filters))
        shared = self._shared_sizes() if shared_size else {}
        return [
            present.summary(image, parent=self._parent(image), shared_size=shared.get(image.id, -1), version=version)
            for image in chosen
        ]

    async def listing_with_usage(self) -> list[dict[str, Any]]:
        """Return the list with how many containers use each image and what it shares, for disk usage."""
        shared = self._shared_sizes()
        return [
            present.summary(image, containers=len(self._in_use(image.id)), shared_size=shared[image.id])
            for image in self._catalogue.all()
        ]

    def inspect(self, ref: str, version: tuple[int, int]) -> dict[str, Any]:
        """Return one image whole, in the shape of an API version."""
        image = self.resolve(ref)
        tagged = self._catalogue.last_tagged_ns(image.id)
        return present.inspect(image, version=version, last_tagged_ns=tagged, parent=self._parent(image))

    def history(self, ref: str) -> list[dict[str, Any]]:
        """Return how an image came to be, newest first."""
        image = self.resolve(ref)
        ancestors: list[ImageRecord] = []
        above: ImageRecord | None = image
        while above is not None and (above := self._catalogue.by_id(above.stored.parent)) is not None:
            ancestors.append(above)
        return present.history(image, ancestors)

    def _parent(self, image: ImageRecord) -> str:
        """Return the image it was made from here, if that is still here."""
        return image.stored.parent if image.stored.parent in self._storage.images else ""

    # Changing

    async def tag(self, ref: str, repository: str, tag: str = "") -> None:
        """Give an image a further name; raises `ImageNotFound`, `InvalidReference`."""
        image = self.resolve(ref)
        target = parse_reference(repository)
        if target.digest:
            raise InvalidArgument("refusing to create a tag with a digest reference")
        target = target.with_tag(tag) if tag else target.or_latest()
        async with self._locks.hold(image.id):
            self.resolve(image.id)  # not removed meanwhile
            await self._catalogue.put(target, image.id)
        self._publish("tag", image.id, target.familiar)

    async def remove(self, ref: str, *, force: bool = False) -> list[dict[str, str]]:
        """Take a name, or an image with all its names, away; return what went, as the API shows it."""
        while True:
            image = self.resolve(ref)
            async with self._locks.hold(image.id):
                if self.resolve(ref).id != image.id:
                    continue  # another image got the name while we waited
                names = self._catalogue.names(image.id)
                plan = plan_removal(
                    ref=ref,
                    named=None if _is_identifier(ref, image.id) else _exact(ref),
                    image_id=image.id,
                    names=names,
                    users=self._in_use(image.id),
                    force=force,
                )
                return await self._carry_out(image, plan.untag, delete=plan.delete)

    def prunable(self, filters: Filters, without: Collection[str] = ()) -> list[ImageRecord]:
        """Return the images that `prune` would delete, if the containers `without` were not there."""
        return [
            image for image in self._passing(filters) if all(ident in without for ident, _ in self._in_use(image.id))
        ]

    def _passing(self, filters: Filters) -> list[ImageRecord]:
        filters.only({"dangling", "label", "label!", "until"})
        until = self._until(filters)
        return [
            image
            for image in self._catalogue.all()
            if not _is_spared(image, filters)
            and (until is None or image.created_ns <= until)
            and filters.labels(image.config.labels)
            and filters.without_labels(image.config.labels)
        ]

    async def prune(self, filters: Filters) -> dict[str, Any]:
        """Delete images nobody uses: nameless ones, or with ``dangling=false`` all of them."""
        planned = self._passing(filters)
        before = self._storage.layer_bytes()
        deleted: list[dict[str, str]] = []
        for image in planned:
            async with self._locks.hold(image.id):
                now = self.by_id(image.id)
                if now is None or _is_spared(now, filters) or self._in_use(image.id):
                    continue
                deleted += await self._carry_out(image, self._catalogue.names(image.id), delete=True)
        self._bus.publish(
            Event(
                type="image",
                action="prune",
                actor_id="",
                attributes={"reclaimed": str(max(before - self._storage.layer_bytes(), 0))},
            )
        )
        return {"ImagesDeleted": deleted, "SpaceReclaimed": max(before - self._storage.layer_bytes(), 0)}

    async def _let_go(self, image: ImageRecord) -> None:
        """Delete an image unless it has a name or a container is on it."""
        async with self._locks.hold(image.id):
            if not self._catalogue.names(image.id) and not self._in_use(image.id):
                await self._delete(image)

    async def _carry_out(self, image: ImageRecord, untag: Sequence[Reference], *, delete: bool) -> list[dict[str, str]]:
        done: list[dict[str, str]] = []
        for name in untag:
            await self._catalogue.drop([name])
            done.append({"Untagged": name.familiar})
            self._publish("untag", image.id, image.id)
        if delete and not self._in_use(image.id):  # a container may have been begun meanwhile, by identifier
            gone = await self._delete(image)
            done += [{"Deleted": ident} for ident in gone]
            self._publish("delete", image.id, image.id)
        return done

    async def _delete(self, image: ImageRecord) -> list[str]:
        chain = present.chain_ids(image.stored.diff_ids)
        await self._storage.remove(image.id)
        kept = {ident for other in self._storage.images.values() for ident in present.chain_ids(other.diff_ids)}
        return [image.id, *(ident for ident in reversed(chain) if ident not in kept)]

    def _shared_sizes(self) -> dict[str, int]:
        users: dict[str, int] = {}
        images = self._storage.images
        for stored in images.values():
            for layer in stored.layer_chain:
                users[layer.diff_id] = users.get(layer.diff_id, 0) + 1
        return {
            ident: sum(layer.size for layer in stored.layer_chain if users[layer.diff_id] > 1)
            for ident, stored in images.items()
        }

    def _until(self, filters: Filters) -> int | None:
        values = filters.get("until")
        if not values:
            return None
        if len(values) > 1:
            raise InvalidArgument("more than one until filter specified")
        text = values[0]
        if text.isdecimal():
            return int(text) * 1_000_000_000
        return parse_time_ns(text) or self._clock.now_ns() - parse_duration_ns(text)

    def _publish(self, action: str, actor_id: str, name: str) -> None:
        image = self._catalogue.by_id(actor_id) or self._catalogue.resolve_or_none(actor_id)
        labels = dict(image.config.labels) if image is not None else {}
        self._bus.publish(Event(type="image", action=action, actor_id=actor_id, attributes=labels | {"name": name}))


def _is_spared(image: ImageRecord, filters: Filters) -> bool:
    """Tell whether a prune leaves an image alone for its names."""
    return filters.boolean("dangling", default=True) and bool(image.repo_tags or image.repo_digests)


def _is_identifier(ref: str, image_id: str) -> bool:
    bare = ref.removeprefix("sha256:")
    return bool(bare) and (is_full_id(bare) or image_id.removeprefix("sha256:").startswith(bare))


def _exact(ref: str) -> Reference:
    named = parse_reference(ref).or_latest()
    return named.with_digest(named.digest) if named.digest else named
