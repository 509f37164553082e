"""An image comes in and gets its names, though others prune meanwhile."""

from collections.abc import Awaitable, Callable, Sequence

from berth.base.aio import KeyedLocks
from berth.base.ids import ImageId
from berth.images.catalogue import Catalogue
from berth.images.reference import Reference

#: Tells of what became of an image: the action, its identifier, and what it was meant by.
Publish = Callable[[str, str, str], None]


class Naming:
    """Names for what comes in; `locks` are those under which images are removed."""

    def __init__(self, catalogue: Catalogue, locks: KeyedLocks, publish: Publish) -> None:
        self._catalogue = catalogue
        self._locks = locks
        self._publish = publish

    async def take_in(
        self, take: Callable[[], Awaitable[ImageId]], names: Sequence[Reference], *, action: str = ""
    ) -> ImageId:
        """Have an image taken in and give it its names, telling of both, of the first by `action` if there is one.

        One without a name may be pruned any moment: then it comes again.
        """
        while True:
            ident = await take()
            async with self._locks.hold(ident):
                if names and self._catalogue.by_id(ident) is None:
                    continue
                if action:
                    self._publish(action, ident, ident)
                for name in names:
                    await self._catalogue.put(name, ident)
                    self._publish("tag", ident, name.familiar)
                return ident
