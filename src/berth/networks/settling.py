"""Does what follows a change that stands, or the taking back of one, to its end.

Must not: be used for what a change may fail of.
"""

import logging
from collections.abc import Awaitable, Iterable

from berth.base.errors import EngineError

log = logging.getLogger(__name__)


async def settled(what: str, works: Iterable[Awaitable[object]]) -> None:
    """Do all of them, one after the other, though some fail: a failure is logged and keeps none of the others back.

    Name server and proxy are told all anew when they are back; what is not written is seen to at the next start.
    """
    for work in works:
        try:
            await work
        except (EngineError, OSError) as exc:
            log.warning("%s: %s", what, exc)
