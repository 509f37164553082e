"""The lines of Docker's progress streams, and how an error travels in one. Pure but for `in_band`."""

import logging
from collections.abc import AsyncGenerator
from contextlib import aclosing

from berth.base.errors import EngineError, Kind
from berth.base.units import human_size

log = logging.getLogger(__name__)

Message = dict[str, object]


def status(text: str, ident: str = "") -> Message:
    """Say what goes on, about a layer or in general."""
    return {"status": text, "id": ident} if ident else {"status": text}


def progress(text: str, ident: str, current: int, total: int) -> Message:
    """Say how far a layer is, in bytes; a `total` of 0 means nobody knows."""
    detail: dict[str, int] = {"current": current}
    if total > 0:
        detail["total"] = total
    return {"status": text, "progressDetail": detail, "progress": bar(current, total), "id": ident}


def layer_status(text: str, ident: str) -> Message:
    """Say that a layer has reached a state."""
    return {"status": text, "progressDetail": {}, "id": ident}


def stream(text: str) -> Message:
    """Say a line of output."""
    return {"stream": text}


def failure(text: str, code: int | None = None) -> Message:
    """Say that it failed, after the stream has begun."""
    detail: dict[str, object] = {"message": text}
    if code is not None:
        detail["code"] = code
    return {"errorDetail": detail, "error": text}


def bar(current: int, total: int, width: int = 50) -> str:
    """Draw what clients without a terminal print as it is."""
    if total <= 0:
        return human_size(current).rjust(8)
    done = min(max(current * width // total, 0), width)
    drawn = "=" * (done - 1) + ">" if 0 < done < width else "=" * done
    return f"[{drawn:<{width}}] {human_size(current).rjust(8)}/{human_size(total)}"


async def in_band(messages: AsyncGenerator[Message, None]) -> AsyncGenerator[Message, None]:
    """Let errors before the first message through, and send later ones as messages: the status is out by then."""
    begun = False
    try:
        async with aclosing(messages):
            async for message in messages:
                begun = True
                yield message
    except EngineError as exc:
        if not begun:
            raise
        if exc.kind is Kind.SYSTEM:
            log.warning("a streamed image operation failed: %s", exc)
        yield failure(str(exc))
