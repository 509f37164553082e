"""Takes images into the engine's store and finds out which image it was. Must not: know tags."""

from collections.abc import Callable, Sequence

from berth.base.aio import KeyedLocks
from berth.base.errors import SystemFault
from berth.base.ids import ImageId
from berth.base.paths import Layout
from berth.images.skopeo import Skopeo
from berth.images.storage import Storage

#: Registry of the names under which copies arrive; never resolved by anybody (RFC 6761, section 6.4).
_ARRIVALS = "berth.invalid"


class NotArrived(SystemFault):
    """skopeo reported success, but the store does not hold the image."""


class Intake:
    """The way into the store and out of it."""

    def __init__(self, layout: Layout, storage: Storage, skopeo: Skopeo, locks: KeyedLocks) -> None:
        self._layout = layout
        self.storage = storage
        self.skopeo = skopeo
        self.locks = locks

    async def take_in(
        self,
        source: str,
        *,
        options: Sequence[str] = (),
        slot: str = "",
        on_output: Callable[[bytes], None] | None = None,
    ) -> ImageId:
        """Copy `source` (a skopeo name) into the store and return its identifier.

        The store needs some name for what arrives; `slot` is one that is used again and again, so that names do not
        pile up there. Who uses the same slot waits for the other.
        """
        name = f"{_ARRIVALS}/{slot or 'made'}"
        async with self.locks.hold(f"arrival {name}"):
            await self.skopeo.copy(source, f"containers-storage:{name}:latest", options=options, on_output=on_output)
            ident = self.storage.look().names.get(f"{name}:latest")
        if ident is None:
            raise NotArrived(f"the image store does not hold what was copied from {source}")
        return ImageId(ident)
